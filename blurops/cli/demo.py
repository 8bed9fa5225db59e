# SPDX-License-Identifier: BSD-3-Clause
"""``blurops demo``: blur a photograph, restore it, and say how well that went."""

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from blurops import BasisBlur, Saturation, UniformBlur, richardson_lucy
from blurops._atomic import check_output
from blurops._json import write_report
from blurops.cli import _options as options
from blurops.cli._report import active_backend, peak_memory_mb, quality, versions
from blurops.cli._sheet import draw_sheet
from blurops.fields import (
    BlurField,
    camera_shake_field,
    linear_motion_kernel,
    observe,
    plot_basis,
    plot_kernel_field,
    save_field,
)
from blurops.images import write_image

GAMMA = 2.2
NOISE = 0.002  # standard deviation in linear light
# Specular highlights are clipped in any JPEG: what lies above 90 % of white is given back up to
# four times the light of white.
_BRIGHT, _HIGHLIGHT = 0.9, 4.0
# Found by eye on scikit-image's clock_motion.png: with 36 pixels the rim is round and the hands
# appear; 34 leaves it wide, 38 makes it narrow. The streaks are level.
_CLOCK_LENGTH, _CLOCK_ANGLE, _CLOCK_ITERATIONS, _CLOCK_TV = 36.0, 0.0, 100, 0.001

_DESCRIPTION = """\
Show the whole chain on a photograph that comes with scikit-image.

The photograph, with its highlights pushed past white, is blurred by the shake of a hand, a
different kernel at every pixel, and recorded by a sensor that saturates and is noisy. Then it is
restored, and compared with what it was. A second photograph, of a clock, was really blurred by
the camera's motion; nothing is known of it but a guess by eye of that motion."""

_EPILOG = """\
files in DIR:
  sheet.png            everything side by side
  sharp.png, blurred.png, restored.png
  kernel-field.png     the kernels over the photograph
  basis.png            the basis kernels and how they are mixed
  field.safetensors    the blur, for `blurops deblur DIR/blurred.png --field ...`
  clock-blurred.png, clock-restored.png
  report.json          PSNR and SSIM before and after, times, memory, versions

example:
  blurops demo -o out/"""


class _Restored(NamedTuple):
    image: Tensor
    iterations: int
    losses: tuple[float, ...]
    seconds: float


def register(commands: Any) -> None:
    """Adds the command."""
    parser = options.add_command(
        commands,
        "demo",
        run,
        help="blur and restore a photograph, with pictures and numbers",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "-o", "--output", default="out", metavar="DIR", help="folder for the results (default: out)"
    )
    options.add_seed(parser, "which shake and which noise")
    parser.add_argument(
        "--iterations",
        type=options.whole(1),
        default=30,
        metavar="N",
        help="of the restoration (default: 30)",
    )
    options.add_basis(parser)
    parser.add_argument(
        "--crop",
        type=options.whole(32),
        metavar="PIXELS",
        help="use a square of the middle of both photographs only, for a quick look",
    )
    options.add_running(parser)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    check_output(folder / "report.json")
    sharp = brighten_highlights(_photograph("coffee", args.crop) ** GAMMA)
    height, width = sharp.shape[2:]
    field = camera_shake_field(
        height, width, basis_size=args.basis_size, kernel_size=args.kernel_size, seed=args.seed
    )
    blurred = observe(
        sharp, field, noise=NOISE, saturation=Saturation(), gamma=GAMMA, seed=args.seed
    )
    memory_before = peak_memory_mb()
    operator = BasisBlur(field.kernels, field.mixing, boundary=field.boundary)
    result = _restore(blurred, operator, args, iterations=args.iterations, saturation=Saturation())
    memory = peak_memory_mb()
    pictures = [_display(sharp ** (1 / GAMMA)), _display(blurred), _display(result.image)]
    clock, clock_result = _clock(args)
    report = {
        **quality(*pictures),
        "compared": "the stored values (gamma 2.2) clipped to [0, 1], whole image",
        "seconds_per_iteration": round(result.seconds / result.iterations, 4),
        "peak_memory_mb": memory,
        "peak_memory_before_restoration_mb": memory_before,
        "peak_memory_is": "largest resident set of the process so far, Python and torch included",
        "backend": active_backend(),
        "threads": torch.get_num_threads(),
        **_settings(args, height, width),
        "iterations": result.iterations,
        "losses": list(result.losses),
        "clock": _clock_report(clock_result),
        "versions": versions(),
    }
    _write(folder, field, pictures, [clock, _display(clock_result.image)], report)
    _print_summary(folder, report)


def _settings(args: argparse.Namespace, height: int, width: int) -> dict[str, Any]:
    """What was blurred and how."""
    return {
        "photograph": "skimage.data.coffee",
        "width": width,
        "height": height,
        "basis_size": args.basis_size,
        "kernel_size": args.kernel_size,
        "seed": args.seed,
        "noise": NOISE,
        "gamma": GAMMA,
        "saturation": True,
    }


def _clock_report(result: _Restored) -> dict[str, Any]:
    return {
        "photograph": "skimage.data clock_motion.png",
        "motion_length": _CLOCK_LENGTH,
        "motion_angle_degrees": _CLOCK_ANGLE,
        "iterations": result.iterations,
        "seconds_per_iteration": round(result.seconds / result.iterations, 4),
    }


def _photograph(name: str, crop: int | None) -> Tensor:
    """(1, C, H, W) float32 in [0, 1], of scikit-image's photographs."""
    import skimage.data
    import skimage.io

    if name == "coffee":
        pixels = skimage.data.coffee()
    else:
        # Shipped, but without a function of its own.
        pixels = skimage.io.imread(Path(skimage.data.__file__).with_name(f"{name}.png"))
    planes = np.moveaxis(np.atleast_3d(pixels), -1, 0)[None]
    photograph = torch.from_numpy(planes.astype(np.float32) / 255)
    if crop is not None:
        size = tuple(min(crop, side) for side in photograph.shape[2:])
        photograph = options.central(photograph, size).contiguous()
    return photograph


def brighten_highlights(linear: Tensor) -> Tensor:
    """Gives clipped highlights of a linear (N, C, H, W) image light beyond 1 again.

    Pixels are multiplied by up to four, smoothly from where their brightest channel exceeds 0.9.
    """
    peak = linear.amax(dim=1, keepdim=True)
    share = ((peak - _BRIGHT) / (1 - _BRIGHT)).clamp(0, 1)
    return linear * (1 + (_HIGHLIGHT - 1) * share**2)


def _display(values: Tensor) -> Tensor:
    return values.clamp(0, 1)


def _restore(blurred: Tensor, operator: Any, args: argparse.Namespace, **choices: Any) -> _Restored:
    began = time.perf_counter()
    result = richardson_lucy(
        blurred,
        operator,
        gamma=GAMMA,
        progress=options.show_progress(args),
        # Asked for the losses only: a callback makes the solver keep them.
        callback=lambda iteration, image, loss: None,
        **choices,
    )
    return _Restored(*result, time.perf_counter() - began)


def _clock(args: argparse.Namespace) -> tuple[Tensor, _Restored]:
    """The really blurred photograph, and its restoration."""
    blurred = _photograph("clock_motion", args.crop)
    kernel = linear_motion_kernel(_CLOCK_LENGTH, math.radians(_CLOCK_ANGLE))
    operator = UniformBlur(kernel, boundary="replicate")
    return blurred, _restore(blurred, operator, args, iterations=_CLOCK_ITERATIONS, tv=_CLOCK_TV)


def _write(
    folder: Path,
    field: BlurField,
    pictures: list[Tensor],
    clock: list[Tensor],
    report: dict[str, Any],
) -> None:
    sharp, blurred, restored = pictures
    write_image(folder / "sharp.png", sharp)
    # 16 bits, so that the file holds what was restored and not a coarser copy of it.
    write_image(folder / "blurred.png", blurred, bits=16)
    write_image(folder / "restored.png", restored)
    write_image(folder / "clock-blurred.png", clock[0])
    write_image(folder / "clock-restored.png", clock[1])
    save_field(folder / "field.safetensors", field.kernels, field.mixing, **field.meta)
    options.save_figure(plot_kernel_field(sharp, field), folder / "kernel-field.png", "png")
    options.save_figure(plot_basis(field), folder / "basis.png", "png")
    sheet = draw_sheet(pictures, clock, field, report)
    options.save_figure(sheet, folder / "sheet.png", "png")
    write_report(folder / "report.json", report)


def _print_summary(folder: Path, report: dict[str, Any]) -> None:
    gain = report["psnr_restored"] - report["psnr_blurred"]
    clock = report["clock"]
    print(
        f"photograph  {report['width']} x {report['height']}, hand shake with"
        f" B = {report['basis_size']}, K = {report['kernel_size']}, noise {NOISE}\n"
        f"blurred     PSNR {report['psnr_blurred']:.2f} dB, SSIM {report['ssim_blurred']:.3f}\n"
        f"restored    PSNR {report['psnr_restored']:.2f} dB, SSIM {report['ssim_restored']:.3f}"
        f" ({gain:+.2f} dB)\n"
        f"speed       {report['iterations']} iterations of"
        f" {report['seconds_per_iteration']:.2f} s on {report['threads']} threads"
        f" ({report['backend']}), peak memory {report['peak_memory_mb']:.0f} MB\n"
        f"clock       really blurred, {clock['motion_length']:g} pixels by eye,"
        f" {clock['iterations']} iterations\n"
        f"see         {os.path.join(folder, 'sheet.png')}, {os.path.join(folder, 'report.json')}"
    )
