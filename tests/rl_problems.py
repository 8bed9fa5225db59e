# SPDX-License-Identifier: BSD-3-Clause
"""Small Richardson-Lucy problems, and the update on every path."""

import functools
import math

import torch

import blurops
from blurops import Saturation
from blurops.ops.basis_blur.shapes import blurred_size
from blurops.testing import Shape
from tests.backends import options

DOUBLE = torch.float64
SATURATIONS = {
    "linear": None,
    "one set": Saturation(a=9.0, threshold=math.inf),
    "two sets": Saturation(a=9.0, threshold=0.7),
    "hard sets": Saturation(a=9.0, level=0.9, threshold=0.6, erode=False, smooth=False),
    "soft z": Saturation(a=9.0, threshold=0.7, dilate=False),
}


def problem(boundary="reflect", *, seed=0, count=1, channels=2, size=(4, 5), dtype=DOUBLE):
    """Random estimate, observation, kernels and mixing; kernels sum to about 1, some taps are 0."""
    torch.manual_seed(seed)
    shape = (size[0] - 2, size[1] - 2) if boundary == "valid" else size
    kernels = torch.rand(1, 2, 3, 3, dtype=DOUBLE) / 4.5
    kernels[0, 1, 2] = 0
    mixing = torch.rand(count, 2, *shape, dtype=DOUBLE)
    estimate = 0.1 + torch.rand(count, channels, *size, dtype=DOUBLE)
    observed = torch.rand(count, channels, *shape, dtype=DOUBLE)
    return tuple(t.to(dtype) for t in (estimate, observed, kernels, mixing))


def on(path):
    """``rl_step`` on a path of :mod:`tests.backends`."""
    return functools.partial(blurops.rl_step, **options(path))


SENSORS = {
    **SATURATIONS,
    "sharp bend": Saturation(),
    "only eroded": Saturation(a=20.0, threshold=0.8, smooth=False),
    "only smoothed": Saturation(a=20.0, threshold=0.8, erode=False, dilate=False),
}
# Rows that end within, at and beyond a vector and a block of rows; one pixel; more channels than
# the family takes at a time; shared and batched fields.
LAYOUTS = (
    Shape(2, 3, 17, 37, 3, 5, 3, kernels_shared=False),
    Shape(2, 1, 32, 16, 2, 3, 5, mixing_shared=False),
    Shape(1, 4, 35, 70, 2, 3, 3),
    Shape(3, 2, 5, 6, 1, 1, 1, kernels_shared=False, mixing_shared=False),
    Shape(1, 1, 1, 1, 1, 1, 1),
)
REFERENCE = {"backend": "reference", "method": "direct"}


def sample(shape, boundary, dtype, seed=0):
    """Images with dark, black and bright pixels; column sums and a mask with every broadcast."""
    generator = torch.Generator().manual_seed(seed)

    def random(*size):
        return torch.rand(size, generator=generator, dtype=DOUBLE)

    n, c, h, w, b, kh, kw = shape[:7]
    blurred = blurred_size((h, w), (kh, kw), boundary)
    kernels = random(1 if shape.kernels_shared else n, b, kh, kw) * 2 / (b * kh * kw)
    mixing = random(1 if shape.mixing_shared else n, b, *blurred) * 2
    estimate = 1.6 * random(n, c, h, w) ** 2 * (random(n, c, h, w) > 0.05)
    # A whole dark region, so that some data are clean.
    estimate[..., w // 2 :] *= 0.3
    tensors = [estimate, random(n, c, *blurred), kernels, mixing]
    mask = random(n if seed % 2 else 1, c if seed % 3 else 1, *blurred)
    sums = 0.5 + random(n if seed % 2 else 1, 1, h, w)
    sums[..., 0, 0] = 0  # a pixel that no data see
    return [t.to(dtype) for t in (*tensors, sums, mask)]


def call(step, tensors, given, masked, **keywords):
    *first, sums, mask = tensors
    if given:
        keywords["column_sums"] = sums
    if masked:
        keywords["mask"] = mask
    return step(*first, **keywords)
