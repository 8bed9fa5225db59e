# SPDX-License-Identifier: BSD-3-Clause
"""The pictures of blind-kernel-space.md and kernel-space.md, from scikit-image's photographs.

    python -m benchmarks.kernel_space_pictures blind     # two minutes of one core
    python -m benchmarks.kernel_space_pictures transfer

`blind` shows scenes of `benchmarks.blind_kernel_space`: blurred, fitted, sharp, and kernels at four
places. `transfer` carries the blur of a pair of photographs over to a third one, as section 3.4 of
Tran et al., with explicit kernels on a grid, fitted by least squares, in place of their networks.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import skimage.data
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from benchmarks import blind_kernel_space as scenes
from blurmodels.evaluation import psnr
from blurmodels.kernel_space import fit_operator
from blurmodels.kernel_space.experiments.methods import by_least_squares
from blurops.fields import BlurField, camera_shake_field, observe

FOLDER = Path(__file__).parent.parent / "docs" / "images"
BLIND, TRANSFER = (0, 6, 7), ("coffee", "chelsea")
# Of the pair and the target, and of the blur between them.
_SIDE, _KERNEL, _SEED = 256, 21, 3


def _show(axes: Axes, image: Tensor, title: str) -> None:
    pixels = image[0].clamp(0, 1).movedim(0, 2).squeeze(2).numpy()
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.axis("off")


def _kernels(field: BlurField) -> Tensor:
    """(1, 1, H, W): those at four places, each by its own maximum, as a point of light's trace."""
    height, width = field.mixing.shape[2:]
    rows = torch.tensor([height // 4, height // 4, 3 * height // 4, 3 * height // 4])
    columns = torch.tensor([width // 4, 3 * width // 4, width // 4, 3 * width // 4])
    four = field.kernels_at(rows, columns).flip((1, 2))
    four = four / four.amax((1, 2), keepdim=True)
    framed = functional.pad(four, (1, 1, 1, 1), value=1.0)
    upper, lower = (torch.cat([framed[i], framed[i + 1]], dim=1) for i in (0, 2))
    return torch.cat([upper, lower])[None, None]


def blind(numbers: Sequence[int] = BLIND, **options: int) -> Figure:
    """Scenes that were fitted without weights; `options` are those of `fit_operator`."""
    figure = Figure(figsize=(9, 1.9 * len(numbers)), dpi=100, layout="constrained")
    for row, number in zip(figure.subplots(len(numbers), 5, squeeze=False), numbers, strict=True):
        name, sharp, field, observed = scenes.scene(number)
        kind = "uniform" if field.kernels.shape[1] == 1 else "basis"
        found = fit_operator(
            observed, operator=kind, gamma=scenes.GAMMA, kernel_size=scenes.KERNEL, **options
        ).field
        restored = scenes.restore(observed, found)
        _show(row[0], observed, f"{number} {name}, blurred")
        _show(row[1], restored, "restored by the fit")
        _show(row[2], sharp, "sharp")
        _show(row[3], _kernels(found), "kernels, fitted")
        _show(row[4], _kernels(field), "kernels, true")
    return figure


def _photograph(name: str) -> Tensor:
    """(1, 3, 256, 256), the middle of a photograph."""
    pixels = torch.from_numpy(np.moveaxis(getattr(skimage.data, name)() / 255.0, 2, 0)).float()
    side = min(pixels.shape[1:])
    top, left = ((length - side) // 2 for length in pixels.shape[1:])
    middle = pixels[None, :, top : top + side, left : left + side]
    return functional.interpolate(middle, [_SIDE, _SIDE], mode="bilinear", antialias=True)


def transfer(names: Sequence[str] = TRANSFER, *, grid: int = 3) -> Figure:
    """The blur of the first photograph's pair on the second one, beside its true blur."""
    sharp, target = (_photograph(name) for name in names)
    field = camera_shake_field(_SIDE, _SIDE, basis_size=6, kernel_size=_KERNEL, seed=_SEED)
    blurred, truth = (observe(image, field, noise=0.0).clamp(0, 1) for image in (sharp, target))
    made = by_least_squares(_KERNEL, grid).transfer(target, sharp, blurred)
    figure = Figure(figsize=(9, 2.1), dpi=100, layout="constrained")
    axes = figure.subplots(1, 5)
    _show(axes[0], sharp, "x")
    _show(axes[1], blurred, "y")
    _show(axes[2], target, "x'")
    _show(axes[3], made, f"blur of (x, y) on x': {psnr(made, truth):.1f} dB")
    _show(axes[4], truth, f"true blur; x' itself: {psnr(target, truth):.1f} dB")
    return figure


PICTURES: dict[str, tuple[Callable[[], Figure], str]] = {
    "blind": (blind, "blind-kernel-space.jpg"),
    "transfer": (transfer, "kernel-space-transfer.jpg"),
}


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", choices=tuple(PICTURES))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    make, name = PICTURES[args.picture]
    output = args.output or FOLDER / name
    make().savefig(output, pil_kwargs={"quality": 88})
    print(output)


if __name__ == "__main__":
    main()
