# SPDX-License-Identifier: BSD-3-Clause
"""From which share of its kernel on bright pixels a blurred pixel should be left out of set U.

``Saturation(dilate=True)`` leaves a blurred pixel out when more than a quarter of its kernel lies
on set S. This restores the scenes of rl_quality.py with other shares, and prints mean PSNRs.

    python benchmarks/rl_lost_share.py         # a few minutes on two cores
"""

import argparse
from dataclasses import dataclass
from statistics import mean
from unittest.mock import patch

from rl_quality import GAMMA, SCENES, observation, quality
from tqdm import tqdm

import blurops
from blurops.ops.rl_step import formula

# The first is above 0 by the rounding of a blur: every touched pixel.
SHARES = (1e-5, 0.1, 0.25, 0.5)


@dataclass(frozen=True)
class Outcome:
    """Mean PSNR over the scenes for one share; share 1 is ``dilate=False``."""

    share: float
    interior: float
    border: float
    worst: str


def restore(share: float, size: int) -> Outcome:
    """All scenes with one share."""
    found = {}
    saturation = blurops.Saturation(dilate=share < 1)
    with patch.object(formula, "LOST_SHARE", share):
        for seed, name in enumerate(tqdm(SCENES, desc=f"share {share:g}")):
            observed, blur, truth = observation(name, seed, size, sigma=0.002)
            image = blurops.richardson_lucy(
                observed, blur, gamma=GAMMA, saturation=saturation
            ).image
            found[name] = quality(image, truth)
    worst = min(found, key=lambda name: found[name].interior)
    return Outcome(
        share,
        mean(q.interior for q in found.values()),
        mean(q.border for q in found.values()),
        f"{worst} {found[worst].interior:.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=192, help="side of the crops in pixels")
    options = parser.parse_args()
    print(
        "| left out from a share of | interior | border | worst interior |",
        "|---|---|---|---|",
        sep="\n",
    )
    for share in (*SHARES, 1.0):
        o = restore(share, options.size)
        label = {SHARES[0]: "any", 1.0: "never (`dilate=False`)"}.get(share, f"{share:g}")
        print(f"| {label} | {o.interior:.2f} | {o.border:.2f} | {o.worst} |", flush=True)


if __name__ == "__main__":
    main()
