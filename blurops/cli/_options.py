# SPDX-License-Identifier: BSD-3-Clause
"""What several commands have in common: options, and photographs in and out."""

import argparse
import math
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blurops import Saturation
from blurops._atomic import check_output, replacing
from blurops.fields import BlurField
from blurops.images import MAX_PIXELS, Image, check_suffix, read_image, write_image

FORMATTER = argparse.RawDescriptionHelpFormatter

_FIGURE_SUFFIXES = (".png", ".pdf", ".svg")


class UsageError(Exception):
    """A command line that argparse cannot see to be wrong; ends like one that it can."""


def number(above: float = -math.inf, least: float = -math.inf) -> Callable[[str], float]:
    """An argparse type: a finite number greater than `above` and at least `least`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"must be a number, got '{text}'")
        if value <= above:
            raise argparse.ArgumentTypeError(f"must be greater than {above:g}, got {text}")
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least:g}, got {text}")
        return value

    return parse


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argparse type: a whole number from `least` to `most`; 2e8 and 200_000_000 are the same."""

    def parse(text: str) -> int:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not value.is_integer():
            raise argparse.ArgumentTypeError(f"must be a whole number, got '{text}'")
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f"must be at most {most}, got {text}")
        # Through int where it can be, which is exact beyond 2**53.
        return int(text) if text.lstrip("+-").isdigit() else int(value)

    return parse


def numbers(*names: str) -> Callable[[str], tuple[float, ...]]:
    """An argparse type: as many finite numbers as there are names, with commas between."""

    def parse(text: str) -> tuple[float, ...]:
        parts = text.split(",")
        if len(parts) != len(names):
            raise argparse.ArgumentTypeError(f"must be {','.join(names)}, got '{text}'")
        return tuple(number()(part) for part in parts)

    return parse


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], **texts: str
) -> argparse.ArgumentParser:
    """Adds a command; `add_running` ends its options."""
    parser = commands.add_parser(name, formatter_class=FORMATTER, **texts)
    parser.set_defaults(run=run)
    return parser


def add_running(parser: argparse.ArgumentParser) -> None:
    """Adds the options that all commands take."""
    common = parser.add_argument_group("running")
    common.add_argument(
        "--threads", type=whole(1, 4096), metavar="N", help="threads to compute with (default: all)"
    )
    common.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show a progress bar on stderr (default: if it is a terminal)",
    )
    common.add_argument(
        "--debug", action="store_true", help="after a failure, show where in the program it was"
    )


def add_photo(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds the IMAGE argument and the limit of its size."""
    parser.add_argument("image", metavar="IMAGE", help=f"{text}: PNG, JPEG or TIFF")
    parser.add_argument(
        "--max-pixels",
        type=whole(1),
        default=MAX_PIXELS,
        metavar="N",
        help="refuse images of more pixels, before decoding them (default: 1e8)",
    )


def add_output(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds the output photograph and how it is stored."""
    parser.add_argument(
        "-o",
        "--output",
        required=required,
        metavar="OUT",
        help="the image to write, .png, .jpg or .tif; EXIF, ICC profile and transparency of IMAGE"
        " are kept",
    )
    parser.add_argument(
        "--bits",
        type=int,
        choices=(8, 16, 32),
        help="bits a sample in OUT: 8, 16 (PNG, TIFF) or 32 (float TIFF; default: as IMAGE)",
    )
    parser.add_argument(
        "--quality", type=whole(1, 100), default=95, metavar="Q", help="of a JPEG (default: 95)"
    )


def add_gamma(parser: argparse.ArgumentParser) -> None:
    """Adds the exponent between stored values and linear light."""
    parser.add_argument(
        "--gamma",
        type=number(above=0),
        default=2.2,
        metavar="G",
        help="linear light = image value ** G; 1 for linear images (default: 2.2)",
    )


def add_seed(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds the seed of everything random."""
    parser.add_argument(
        "--seed",
        type=whole(0, 2**63 - 1),
        default=0,
        metavar="S",
        help=f"{text}; the same seed gives the same result (default: 0)",
    )


def add_basis(parser: argparse.ArgumentParser) -> None:
    """Adds the number and the size of basis kernels."""
    parser.add_argument(
        "--basis-size",
        type=whole(1, 4096),
        default=25,
        metavar="B",
        help="number of basis kernels (default: 25)",
    )
    parser.add_argument(
        "--kernel-size",
        type=whole(1, 4095),
        default=33,
        metavar="K",
        help="their side in pixels, odd (default: 33)",
    )


def show_progress(args: argparse.Namespace) -> bool:
    """Whether a progress bar is wanted."""
    return sys.stderr.isatty() if args.progress is None else args.progress


def check_photo_output(args: argparse.Namespace) -> None:
    """Raises before any work is done if the output photograph cannot be written."""
    check_suffix(args.output, args.bits)
    check_output(args.output)


def check_figure_output(path: str) -> str:
    """Returns the format of a picture to be drawn; raises if it cannot be written there."""
    suffix = Path(path).suffix.lower()
    if suffix not in _FIGURE_SUFFIXES:
        choices = ", ".join(_FIGURE_SUFFIXES)
        raise ValueError(f"'{path}' must end in one of {choices}, got {suffix or 'no suffix'}")
    check_output(path)
    return suffix[1:]


def load_photo(args: argparse.Namespace) -> Image:
    """Reads IMAGE; light below 0, which float files may hold, becomes 0."""
    photo = read_image(args.image, max_pixels=args.max_pixels)
    below = int((photo.pixels < 0).sum())
    if below:
        warnings.warn(f"{args.image}: {below} values below 0 are taken as 0", stacklevel=2)
        photo = replace(photo, pixels=photo.pixels.clamp(min=0))
    return photo


def load_blind_photo(args: argparse.Namespace) -> Image:
    """Reads IMAGE for a model, which sees gray or colours.

    Raises:
        ValueError: it is gray with transparency. Of colours, transparency is carried along.
    """
    photo = load_photo(args)
    if photo.alpha is not None and photo.pixels.shape[1] == 1:
        raise ValueError(
            f"image '{args.image}' must be gray without transparency, or RGB, for a model,"
            " got gray with transparency"
        )
    return photo


def save_photo(args: argparse.Namespace, pixels: Tensor, photo: Image) -> None:
    """Writes OUT like IMAGE; of a smaller result the same middle of the transparency is kept."""
    if photo.alpha is not None:
        photo = replace(photo, alpha=central(photo.alpha, pixels.shape[2:]))
    write_image(args.output, pixels, like=photo, bits=args.bits, quality=args.quality)


def central(image: Tensor, size: tuple[int, ...]) -> Tensor:
    """The (H, W) middle of an image."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape[2:], size, strict=True))
    return image[:, :, top : top + size[0], left : left + size[1]]


def check_field_size(field: BlurField, name: str, size: tuple[int, int], image: str) -> None:
    """Raises unless the field is for blurred images of that (H, W)."""
    check_size(field.mixing, name, size, image)


def check_size(maps: Tensor, name: str, size: tuple[int, int], image: str) -> None:
    """Raises unless (..., H, W) maps of a file have that (H, W)."""
    (have_h, have_w), (want_h, want_w) = maps.shape[-2:], size
    if (have_h, have_w) != (want_h, want_w):
        raise ValueError(
            f"field '{name}' must be {want_w} x {want_h} pixels, the size of '{image}',"
            f" got {have_w} x {have_h}"
        )


def save_figure(figure: Any, path: str | os.PathLike[str], kind: str) -> None:
    """Writes a matplotlib figure, whole or not at all."""
    with replacing(path) as file:
        figure.savefig(file, format=kind)


def as_float32(field: BlurField) -> BlurField:
    """The field in the precision that photographs are computed in."""
    return field if field.kernels.dtype == torch.float32 else field.to(torch.float32)


def richardson_lucy_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What the options of `blurops deblur` say to `richardson_lucy`."""
    arguments = {
        "iterations": args.iterations,
        "tv": args.tv,
        "gamma": args.gamma,
        "stop_tol": args.stop_tol,
        "preset": args.preset,
        "progress": show_progress(args),
    }
    if args.saturation is None and args.preset is not None:
        return arguments
    if args.saturation is False:
        return arguments | {"variant": "basic"}
    # The presets have a Saturation of their own, and only need to be told to use it.
    return arguments | ({"variant": "combined"} if args.preset else {"saturation": Saturation()})
