# SPDX-License-Identifier: BSD-3-Clause
"""What trained weights are worth on generated scenes and on photographs that they have not seen.

    python -m benchmarks.held_out WEIGHTS [--recipe starter] [--count 16] [--side 160]
        [--bank SIZE SEED]

Blurs scenes and crops of scikit-image's photographs by kernels of the recipe's kind, but of another
bank, and prints the kernel losses of the estimates beside those of the best fixed kernel and of no
blur, and the PSNR before and after thirty Richardson-Lucy iterations with the estimated and with
the true blur.
"""

import argparse
from dataclasses import replace

import numpy as np
import skimage.data
import torch
from torch import Tensor

import blurops
from blurmodels.basis_kernels import TwoHeadsNetwork
from blurmodels.basis_kernels.data import Samples, blur_batch
from blurmodels.basis_kernels.estimate import network_input
from blurmodels.basis_kernels.held_out import held_out
from blurmodels.basis_kernels.recipes import RECIPES, samples_of
from blurmodels.scenes import DeadLeaves, Scene

UNSEEN = 1_000_003  # a seed that nobody trains with by accident


class Photographs:
    """Crops of the photographs that come with scikit-image, of one part each."""

    names = ("astronaut", "coffee", "chelsea", "rocket")

    def __init__(self) -> None:
        self.images = [np.asarray(getattr(skimage.data, name)()) for name in self.names]

    def __len__(self) -> int:
        return len(self.images)

    def scene(self, index: int, height: int, width: int) -> Scene:
        """A crop near the middle, moved a little from one round to the next."""
        image = self.images[index % len(self)]
        turn = index // len(self)
        top = (image.shape[0] - height) // 2 + (turn * 37) % 60 - 30
        left = (image.shape[1] - width) // 2 + (turn * 53) % 60 - 30
        crop = torch.from_numpy(image[top : top + height, left : left + width, :3].copy())
        return Scene(crop.permute(2, 0, 1).float() / 255, torch.ones(1, height, width))


def psnr(image: Tensor, truth: Tensor) -> float:
    """In decibels, of values in [0, 1]."""
    return float(-10 * (image.clamp(0, 1) - truth.clamp(0, 1)).square().mean().log10())


@torch.no_grad()
def restorations(network: TwoHeadsNetwork, samples: Samples, count: int) -> list[list[float]]:
    """For each sample the PSNR as recorded, restored with the estimate, and with the truth."""
    found, gamma = [], samples.settings.gamma
    for index in range(count):
        batch = blur_batch([samples[index]], samples.settings)
        border = samples.bank.kernel_size // 2
        truth = batch.sharp[..., border:-border, border:-border].clamp(0, 1) ** (1 / gamma)
        row = [psnr(batch.observed, truth)]
        for field in (
            network(network_input(batch.observed, gamma)), (batch.kernels, batch.mixing)
        ):  # fmt: skip
            restored = blurops.richardson_lucy(
                batch.observed, blurops.BasisBlur(*field), gamma=gamma, tv=0.002
            )
            row.append(psnr(restored.image, truth))
        found.append(row)
    return found


def main() -> None:
    """Score, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("weights")
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="starter")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument(
        "--bank", type=int, nargs=2, metavar=("SIZE", "SEED"),
        help="kernels of that bank, learned from or not, instead of unseen ones",
    )  # fmt: skip
    options = parser.parse_args()
    network = TwoHeadsNetwork.from_pretrained(options.weights)
    recipe = replace(RECIPES[options.recipe], patch=options.side)
    leaves = DeadLeaves(objects=recipe.objects, seed=UNSEEN)
    for name, scenes in (("generated scenes", leaves), ("photographs", Photographs())):
        samples = samples_of(recipe, scenes, seed=UNSEEN)
        if options.bank:
            size, seed = options.bank
            samples.bank = samples_of(replace(recipe, kernels=size), scenes, seed=seed).bank
        score = held_out(network, samples, range(options.count))
        rows = torch.tensor(restorations(network, samples, options.count))
        print(f"{name}, {options.count} of {options.side} x {options.side}")
        for label, kind in (("estimate", "kernel"), ("best fixed", "fixed"), ("no blur", "sharp")):
            l2, l1 = (getattr(score, f"{kind}_{norm}") for norm in ("l2", "l1"))
            print(f"  {label:12} kernel loss L2 {l2:.4f}  L1 {l1:.4f}")
        mean, gain = rows.mean(0), rows[:, 1] - rows[:, 0]
        print(
            f"  PSNR recorded {mean[0]:.2f}, restored with the estimate {mean[1]:.2f}, with the"
            f" truth {mean[2]:.2f} dB; the estimate helps {int((gain > 0).sum())} of {len(gain)}"
        )


if __name__ == "__main__":
    main()
