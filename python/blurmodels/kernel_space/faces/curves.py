# SPDX-License-Identifier: BSD-3-Clause
"""Figure 6 of Tran et al.: how the search on a manifold converges, by the blur it believes in."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from tqdm import tqdm

from blurmodels.kernel_space.faces import operators
from blurmodels.kernel_space.faces.manifold import Found, Settings, deblur_face
from blurmodels.kernel_space.faces.operators import OperatorMaker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from blurmodels.kernel_space.faces.generator import FaceGenerator

UNIFORM, BICUBIC, ENCODED = "convolution, DIP", "bicubic downsampling", "encoded kernel"
# How much smaller a photograph of the generator's size is made for bicubic downsampling.
_SMALLER = 4


def compare_operators(
    image: Tensor,
    generator: "FaceGenerator",
    *,
    encoded: OperatorMaker | None = None,
    kernel_size: int = 31,
    warm_latent: Tensor | None = None,
    progress: bool = False,
    **options: Any,
) -> dict[str, Found]:
    """Deblurs a face by each kind of operator, all from the same point of the manifold.

    The three of the paper's figure 6: a convolution kernel under a deep prior, bicubic downsampling
    as in PULSE, and the encoded kernel. For the second, a photograph of the generator's own size is
    made smaller by 4 first.

    Args:
        image: (1, 1 or 3, S, S) in [0, 1].
        generator: as `deblur_face` takes it.
        encoded: `operators.encoded(F)`; left out without.
        kernel_size: of the convolution.
        warm_latent: of the encoded kernel.
        progress: show a progress bar for each on stderr.
        **options: further ones of `deblur_face`.

    Returns:
        What each has found, by its name.

    Raises:
        TypeError, ValueError: as `deblur_face`.
    """
    small = image
    if image.shape[2] == generator.size:
        # Bicubic interpolation overshoots at edges.
        small = operators.downsample(image, _SMALLER).clamp(0, 1)
    runs: list[tuple[str, Tensor, OperatorMaker, Tensor | None]] = [
        (UNIFORM, image, operators.uniform(kernel_size), None),
        (BICUBIC, small, operators.bicubic(), None),
    ]
    if encoded is not None:
        runs.append((ENCODED, image, encoded, warm_latent))
    if options.get("gaussian") is None:
        options["gaussian"] = generator.gaussian(progress=progress)
    found = {}
    for name, observed, operator, latent in runs:
        if progress:
            tqdm.write(name)
        found[name] = deblur_face(
            observed, generator, operator, warm_latent=latent, progress=progress, **options
        )
    return found


def plot_curves(image: Tensor, found: Mapping[str, Found], settings: Settings) -> "Figure":
    """Draws loss curves side by side, and below each the face that was found.

    Steps on the kernel have a gray ground. The thin curve is the weighted distance of the images
    alone, which can be compared between operators; the norms of their kernels cannot.

    Args:
        image: (1, 1 or 3, S, S) in [0, 1], the photograph, drawn at the left.
        found: by the operator's name.
        settings: of the runs.

    Returns:
        A matplotlib Figure; `figure.savefig(path)` writes it.
    """
    from matplotlib.figure import Figure

    count = len(found)
    figure = Figure(figsize=(3 + 3.6 * count, 6.4), dpi=110, layout="constrained")
    grid = figure.add_gridspec(2, 1 + count, width_ratios=[0.8] + [1] * count)
    _show(figure.add_subplot(grid[1, 0]), image, "photograph")
    first = None
    for column, (name, each) in enumerate(found.items(), 1):
        axes = figure.add_subplot(grid[0, column], sharey=first)
        first = first or axes
        _curve(axes, each, settings)
        axes.set_title(f"{name}\nleast loss {each.loss:.3g}")
        _show(figure.add_subplot(grid[1, column]), each.image, "found")
    if first is not None:
        first.set_ylabel("loss")
        first.legend(fontsize="small")
    return figure


def _curve(axes: "Axes", found: Found, settings: Settings) -> None:
    steps = range(len(found.losses))
    axes.semilogy(steps, found.losses, linewidth=1.2, label="loss")
    weighted = [settings.loss.l2 * error for error in found.errors]
    axes.semilogy(steps, weighted, linewidth=0.7, label=f"{settings.loss.l2:g} L2")
    both = settings.image_steps + settings.kernel_steps
    if len(found.losses) > settings.epochs * settings.image_steps:
        for begin in range(0, len(found.losses), both):
            axes.axvspan(begin + settings.image_steps, begin + both, color="0.9", linewidth=0)
    axes.set_xlabel("step")


def _show(axes: "Axes", picture: Tensor, caption: str) -> None:
    values = picture[0].clamp(0, 1).movedim(0, -1).cpu().numpy()
    axes.imshow(values if values.shape[-1] == 3 else values[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set_title(caption)
    axes.set_axis_off()
