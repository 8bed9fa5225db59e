# SPDX-License-Identifier: BSD-3-Clause
"""Trains a narrow F and G on generated pairs, and scores the blur that they transfer.

    python -m benchmarks.blur_transfer FOLDER --steps 1500

Table 1 of Tran et al. in small: a few kernels blur generated scenes by `blurops.basis_blur`; on
scenes that the networks have not seen, the blur of one pair is carried to another sharp image, and
compared with that image under the true kernel. Beside it stand the image as it is (the identity)
and under the mean of the kernels, what one gets without knowing which kernel it was.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from blurmodels.evaluation import psnr
from blurmodels.kernel_space import KernelWizard
from blurmodels.kernel_space.pairs import Crops, GeneratedPairs
from blurmodels.kernel_space.task import LossSettings, PairsTask, initialise
from blurmodels.training import Settings, train
from blurops import flip, linear_motion_kernel

# Length in pixels and angle in radians of the motions.
MOTIONS = ((31.0, 0.0), (31.0, math.pi / 2))
HELD_OUT_SEED = 77
SIZE = 31


class Kept:
    """The pairs of a source in memory."""

    def __init__(self, source: GeneratedPairs) -> None:
        self.record = source.record
        self._pairs = [source.read(index) for index in range(len(source))]

    def __len__(self) -> int:
        return len(self._pairs)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """The pair of that number."""
        return self._pairs[index]


def _padded(length: float, angle: float) -> Tensor:
    kernel = flip(linear_motion_kernel(length, angle).float())
    down, right = ((SIZE - side) // 2 for side in kernel.shape[-2:])
    return functional.pad(kernel, (right, right, down, down))


def motion_kernels() -> Tensor:
    """The kernels, (B, 31, 31)."""
    return torch.stack([_padded(*motion) for motion in MOTIONS])


@torch.inference_mode()
def scores(network: KernelWizard, kernels: Tensor, side: int, scenes: int) -> list[dict]:
    """For each kernel, mean PSNR to the truth of the transfer, the identity and the mean kernel."""
    data = GeneratedPairs(kernels, side, scenes, seed=HELD_OUT_SEED)
    images = [data.sharp(index) for index in range(scenes)]
    rows = []
    for number, kernel in enumerate(kernels):
        each = []
        for index, target in enumerate(images):
            source = images[index - 1]
            k = network.extract_kernel(source[None], data.under(source, kernel)[None])
            truth = data.under(target, kernel)
            found = (
                network.apply_blur(target[None], k)[0],
                target,
                data.under(target, kernels.mean(0)),
            )
            each.append([psnr(image.clamp(0, 1)[None], truth[None]) for image in found])
        means = torch.tensor(each).mean(0).tolist()
        rows.append(
            {"kernel": number, **dict(zip(("transfer", "identity", "mean"), means, strict=True))}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--kernel-dim", type=int, default=64)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--side", type=int, default=256)
    args = parser.parse_args()
    kernels = motion_kernels()
    network = KernelWizard(args.width, args.kernel_dim)
    initialise(network, 0)
    crops = Crops(Kept(GeneratedPairs(kernels, args.side, args.scenes)), args.side, turn=False)
    losses = LossSettings(reduction="mean")
    settings = Settings(
        args.steps, batch_size=1, learning_rate=1e-3, betas=(0.9, 0.99), decay="cosine",
        warmup=20, clip=1.0, checkpoint_every=max(1, args.steps // 4),
    )  # fmt: skip
    began = time.process_time()
    train(PairsTask(network, crops, losses), settings, args.folder)
    seconds = time.process_time() - began
    rows = scores(network.eval(), kernels, args.side, 8)
    print(json.dumps({"cpu_seconds": round(seconds, 1), "steps": args.steps}))
    for row in rows:
        print(json.dumps({name: round(value, 2) for name, value in row.items()}))


if __name__ == "__main__":
    main()
