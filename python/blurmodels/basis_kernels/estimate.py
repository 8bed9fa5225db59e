# SPDX-License-Identifier: BSD-3-Clause
"""From an image to its blur field, in blurops' conventions, for images of any size."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from blurmodels.basis_kernels.network import MIN_SIDE, TwoHeadsNetwork
from blurmodels.basis_kernels.photograph import check_photograph
from blurops.fields import BlurField

# How far beyond a tile its mixing coefficients look, rounded up to the coarsest level's grid:
# 191 pixels, and 223 where bilinear upsampling reads one neighbour more at each of five levels.
_MARGINS = {"transposed": 192, "bilinear": 224}
_GRID = 32

_HALVES = (torch.float16, torch.bfloat16)


def network_input(image: Tensor, gamma: float = 2.2) -> Tensor:
    """What the network wants to see of an image: `image ** gamma - 0.5`.

    Args:
        image: values of at least 0, nominally in [0, 1].
        gamma: linear light = image ** gamma; the paper has 2.2, and 1 for Köhler's images.
    """
    return image**gamma - 0.5


def estimate_field(
    image: Tensor,
    network: TwoHeadsNetwork,
    *,
    gamma: float = 2.2,
    tile: int | None = 1024,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
    compile: bool | str = False,  # noqa: A002
    progress: bool = False,
) -> BlurField:
    """Estimates how an image is blurred, by a network.

    The paper's conventions become those of blurops here and nowhere else. Input: `image ** gamma -
    0.5` (its code; the paper shifts nothing). Output: the published network's kernels are
    correlated and mixed after blurring, as ours are, with reflection at the border; so they stay as
    they are.

    Args:
        image: (1, C, H, W), C 1 or 3, values of at least 0, both sides at least 32; of the dtype
            and on the device of the network.
        network: with trained weights, see `TwoHeadsNetwork.from_pretrained`.
        gamma: linear light = image ** gamma.
        tile: images are worked through in tiles of so many pixels a side, a multiple of 32, and
            what lies around them; None takes the image whole. The result is the same to round-off.
        dtype: torch.bfloat16 or torch.float16 computes in that type where torch's autocast thinks
            it safe; sums and softmaxes stay in single precision.
        channels_last: lay the channels of a pixel side by side, which half types and GPUs like.
        compile: True compiles by `torch.compile`; a string names one of its backends.
        progress: show a progress bar on stderr.

    Returns:
        A BlurField: kernels (1, B, K, K), mixing (1, B, H, W), boundary "reflect", and the gamma.

    Raises:
        TypeError, ValueError: an argument is not as above.

    Example:
        >>> network = TwoHeadsNetwork(basis_size=3, width=4)
        >>> field = estimate_field(torch.rand(1, 3, 40, 48), network)
        >>> field.size, field.kernel_size, field.meta["gamma"]
        ((40, 48), 33, 2.2)
    """
    _check(image, network, gamma, tile, dtype)
    x = network_input(image, gamma)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), _computing_in(dtype, image.device):
        kernels, mixing = predict(network, x, tile=tile, compile=compile, progress=progress)
    # Tensors of inference mode could not be optimised any further.
    kernels, mixing = kernels.clone(), mixing.clone(memory_format=torch.contiguous_format)
    meta = {"boundary": "reflect", "gamma": float(gamma), "orientation": "correlation"}
    return BlurField(kernels, mixing, {**meta, "estimator": "basis_kernels"})


def predict(
    network: TwoHeadsNetwork,
    x: Tensor,
    *,
    tile: int | None = 1024,
    compile: bool | str = False,  # noqa: A002
    progress: bool = False,
) -> tuple[Tensor, Tensor]:
    """The network's output for a batch, tile by tile.

    The mixing coefficients at a pixel depend on a neighbourhood of 191 pixels (223 with bilinear
    upsampling), the kernels on the means of six maps over the whole image. So one sweep over the
    tiles gives the mixing, and adds up those maps over the tiles without their surroundings; then
    the means are decoded once.

    Args:
        network: the network.
        x: (N, C, H, W) network input.
        tile, compile, progress: as `estimate_field` takes them.

    Returns:
        kernels (N, B, K, K) and mixing (N, B, H, W).
    """

    def step(part: Tensor) -> tuple[Tensor, list[Tensor]]:
        skips, features = network.encode(part)
        return network.decode_mixing(skips, features), [*skips, features]

    run: Callable[[Tensor], tuple[Tensor, list[Tensor]]] = step
    if compile:
        run = torch.compile(step, **({"backend": compile} if isinstance(compile, str) else {}))
    height, width = x.shape[2:]
    margin = _MARGINS[network.architecture["upsampling"]]
    if tile is None or max(height, width) <= tile:
        tile = max(height, width) + _GRID
    spans = [(rows, columns) for rows in _spans(height, tile) for columns in _spans(width, tile)]
    totals: list[Tensor] | None = None
    mixing = None
    for rows, columns in tqdm(spans, unit="tile", disable=not progress):
        around = _around(rows, height, margin), _around(columns, width, margin)
        coefficients, maps = run(_cut(x, *around))
        inner = [_inner(span, outer) for span, outer in zip((rows, columns), around, strict=True)]
        if mixing is None:
            mixing = coefficients.new_empty((*coefficients.shape[:2], height, width))
        _cut(mixing, rows, columns).copy_(_cut(coefficients, *inner))
        sums = [_sum(part, inner, level) for level, part in enumerate(maps)]
        totals = sums if totals is None else [a + b for a, b in zip(totals, sums, strict=True)]
    means = [
        (total / ((height >> level) * (width >> level))).to(x.dtype)
        for level, total in enumerate(totals)
    ]
    return network.decode_kernels(means), mixing


def _spans(size: int, tile: int) -> list[tuple[int, int]]:
    """The parts of an axis; all begin on the grid of the coarsest level."""
    return [(start, min(start + tile, size)) for start in range(0, size, tile)]


def _around(span: tuple[int, int], size: int, margin: int) -> tuple[int, int]:
    """A part with what its result depends on; it begins and, inside the image, ends on the grid."""
    return max(0, span[0] - margin), min(size, span[1] + margin)


def _inner(span: tuple[int, int], outer: tuple[int, int]) -> tuple[int, int]:
    return span[0] - outer[0], span[1] - outer[0]


def _cut(x: Tensor, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
    return x[:, :, rows[0] : rows[1], columns[0] : columns[1]]


def _sum(x: Tensor, inner: Sequence[tuple[int, int]], level: int) -> Tensor:
    """(N, C) sums in float64 of a map, halved so often, over a tile without its surroundings."""
    return _cut(x, *(tuple(end >> level for end in span) for span in inner)).double().sum((2, 3))


@contextlib.contextmanager
def _computing_in(dtype: torch.dtype | None, device: torch.device) -> Iterator[None]:
    if dtype not in _HALVES:
        yield
        return
    with torch.autocast(device.type, dtype=dtype):
        yield


def _check(image: Any, network: Any, gamma: Any, tile: Any, dtype: Any) -> None:
    name = "estimate_field"
    check_photograph(name, image)
    if min(image.shape[2:]) < MIN_SIDE:
        raise ValueError(
            f"{name}: image must have sides of at least {MIN_SIDE} pixels,"
            f" got {image.shape[3]} x {image.shape[2]}"
        )
    if not isinstance(gamma, int | float) or not gamma > 0:
        raise ValueError(f"{name}: gamma must be positive, got {gamma!r}")
    if tile is not None and (not isinstance(tile, int) or tile < _GRID or tile % _GRID):
        raise ValueError(f"{name}: tile must be None or a multiple of {_GRID}, got {tile!r}")
    if dtype is not None and dtype not in (*_HALVES, image.dtype):
        raise TypeError(
            f"{name}: dtype must be None, torch.bfloat16 or torch.float16, got {dtype!r}"
        )
    weight = next(network.parameters())
    if (weight.dtype, weight.device) != (image.dtype, image.device):
        raise TypeError(
            f"{name}: image must be of the network's kind, {weight.dtype} on {weight.device},"
            f" got {image.dtype} on {image.device}"
        )
