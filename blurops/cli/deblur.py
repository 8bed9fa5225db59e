# SPDX-License-Identifier: BSD-3-Clause
"""``blurops deblur``: take blur away that is known, or that a model estimates."""

import argparse
import math
import time
from typing import Any

import torch
from torch import Tensor

from blurops import (
    BasisBlur,
    MotionBlur,
    Operator,
    UniformBlur,
    flip,
    load_field,
    richardson_lucy,
)
from blurops._check import BOUNDARIES
from blurops.cli import _compensate, _models
from blurops.cli import _options as options
from blurops.fields import linear_motion_kernel, load_motion_field
from blurops.images import Image, read_image

PRESETS = ("carbajal2021", "carbajal2021-paper")

_DESCRIPTION = """\
Restore a blurred photograph whose blur is known, by Richardson-Lucy iterations in linear light or
by inverse filters with residual compensation (--method irc).

The blur is a field that differs from pixel to pixel (--field), a straight motion at each pixel
(--motion-field), one kernel for the whole image (--kernel), or a straight motion (--motion). Where
it is not known, a model estimates it from the photograph alone (--model).
Richardson-Lucy treats values near white as possibly saturated (--no-saturation trusts them
instead)."""

_EPILOG = """\
examples:
  blurops deblur blurred.png --field shake.safetensors -o restored.png
  blurops deblur photo.jpg --kernel psf.png --tv 0.005 -o sharp.jpg
  blurops deblur street.jpg --motion 15,30 --iterations 50 -o sharp.tif --bits 16
  blurops deblur moving.jpg --motion-field motion.mat --method irc -o sharp.png
  blurops deblur photo.jpg --model basis_kernels --weights W.safetensors -o sharp.png

More iterations give more detail, and more noise and ringing: with a noisy photograph take fewer,
or add --tv."""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = options.add_command(
        commands,
        "deblur",
        run,
        help="restore an image whose blur is known, or estimated by a model",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    options.add_photo(parser, "the blurred photograph")
    known = parser.add_argument_group("the blur (one of these)")
    # Beside a model that wants it told, it is allowed: `_check_blur` does what argparse cannot.
    blur = known.add_mutually_exclusive_group()
    blur.add_argument("--field", metavar="F", help="blur field of IMAGE's size (.safetensors)")
    known.add_argument(
        "--motion-field",
        metavar="F.mat",
        help="straight motion at each pixel of IMAGE: a MATLAB file with mfmap, (H, W, 2), pixels"
        " and degrees in the convention of Eboli et al."
        + _beside(" (also beside --model {}, which then estimates nothing)"),
    )
    blur.add_argument(
        "--kernel",
        metavar="K.png",
        help="gray image of the point-spread function, the trace of a point of light; odd sides,"
        " brightness proportional to light, any scale",
    )
    blur.add_argument(
        "--motion",
        type=options.numbers("LENGTH", "ANGLE"),
        metavar="L,A",
        help="straight motion, its length in pixels (1 is none) and its angle in degrees"
        " counter-clockwise from the right",
    )
    blur.add_argument(
        "--model",
        choices=sorted(_models.having("deblur")),
        metavar="M",
        help="estimate it from IMAGE; the options of each model are below"
        f" ({', '.join(sorted(_models.having('deblur'))) or 'none is installed'})",
    )
    parser.add_argument(
        "--orientation",
        choices=("psf", "correlation"),
        default="psf",
        help="of --kernel: a point-spread function, or one turned by 180 degrees already, as"
        " fields hold (default: psf)",
    )
    parser.add_argument(
        "--boundary",
        choices=BOUNDARIES,
        help="what lay beyond IMAGE's edge when it was blurred (default: as --field says, else"
        " reflect, or replicate for --method irc); valid assumes nothing and restores it too, of"
        " which IMAGE's part is kept",
    )
    options.add_output(parser, required=False)
    options.add_gamma(parser)
    _add_solver(parser.add_argument_group("the restoration"))
    parser.add_argument_group("models").add_argument(
        "--weights", metavar="W", help="the weights file of --model"
    )
    for name, add in _models.having("add_deblur").items():
        add(parser.add_argument_group(f"--model {name}"))
    options.add_running(parser)


def _add_solver(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--method",
        choices=("rl", "irc"),
        default="rl",
        help="Richardson-Lucy, or inverse filters with residual compensation inside ADMM, faster"
        " and without the treatment of saturation; not for --field (default: rl)",
    )
    group.add_argument(
        "--iterations",
        type=options.whole(0),
        metavar="N",
        help="at most so many (default: 30; stages of --method irc: 10)",
    )
    group.add_argument(
        "--tv",
        type=options.number(least=0),
        metavar="W",
        help="weight of total variation, which flattens noise; 0.001 to 0.02 is usual (default: 0)",
    )
    group.add_argument(
        "--saturation",
        action=argparse.BooleanOptionalAction,
        help="treat values near white as saturated (default: yes)",
    )
    group.add_argument(
        "--stop-tol",
        type=options.number(least=0),
        metavar="E",
        help="stop when the mean squared error of the reblurred result falls by less than E"
        " (default: never)",
    )
    group.add_argument(
        "--preset",
        choices=PRESETS,
        help="the published update, as its authors run it or as it is printed; needs reflect;"
        " --iterations, --tv, --saturation and --stop-tol override its own",
    )
    _compensate.add_options(group)


def _beside(text: str) -> str:
    """What to say of the models that take --motion-field, if there are any."""
    names = ", ".join(sorted(_models.having("TAKES_MOTION_FIELD")))
    return text.format(names) if names else ""


def _check_blur(args: argparse.Namespace) -> None:
    """Raises unless the blur is given in one way."""
    ways = ("field", "motion_field", "kernel", "motion", "model")
    given = [name for name in ways if getattr(args, name) is not None]
    options_of = {name: "--" + name.replace("_", "-") for name in ways}
    if not given:
        names = " ".join(options_of.values())
        raise options.UsageError(f"deblur: one of the arguments {names} is required")
    told = args.model is not None and args.model in _models.having("TAKES_MOTION_FIELD")
    if len(given) > 1 and not (told and given == ["motion_field", "model"]):
        first, second = (options_of[name] for name in given[:2])
        raise options.UsageError(f"deblur: argument {second}: not allowed with argument {first}")


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    _check_blur(args)
    if args.model is not None:
        if args.orientation != "psf" or args.method != "rl" or args.threshold is not None:
            raise options.UsageError(
                "deblur: argument --model: goes without --orientation, --method and --threshold"
            )
        _models.having("deblur")[args.model](args)
        return
    if args.weights is not None:
        raise options.UsageError("deblur: argument --weights: goes with --model only")
    if args.output is None:
        raise options.UsageError("deblur: the following arguments are required: -o/--output")
    options.check_photo_output(args)
    if args.motion is not None and args.motion[0] < 1:
        raise options.UsageError(
            f"deblur: argument --motion: LENGTH must be at least 1 pixel, got {args.motion[0]:g}"
        )
    if args.orientation != "psf" and args.kernel is None:
        raise options.UsageError("deblur: argument --orientation: goes with --kernel only")
    _compensate.check(args)
    photo = options.load_photo(args)
    operator = _operator(args, photo)
    began = time.perf_counter()
    if args.method == "irc":
        image, done = _compensate.restore(args, photo.pixels, operator)
    else:
        known = options.richardson_lucy_arguments(args)
        result = richardson_lucy(photo.pixels, operator, **known)
        image, done = result.image, f"{result.iterations} iterations"
    seconds = time.perf_counter() - began
    options.save_photo(args, options.central(image, photo.pixels.shape[2:]), photo)
    print(f"{args.output}: {done} in {seconds:.1f} s")


def _operator(args: argparse.Namespace, photo: Image) -> Operator:
    height, width = photo.pixels.shape[2:]
    usual = "replicate" if args.method == "irc" else "reflect"
    if args.motion_field is not None:
        motion = load_motion_field(args.motion_field)
        options.check_size(motion.length, args.motion_field, (height, width), args.image)
        if float(motion.length.max()) > max(height, width):
            raise ValueError(
                f"motion field '{args.motion_field}' must have motions of at most the"
                f" {max(height, width)} pixels of '{args.image}', got"
                f" {float(motion.length.max()):g}"
            )
        return MotionBlur(motion.length, motion.angle, boundary=args.boundary or usual)
    if args.field is not None:
        field = options.as_float32(load_field(args.field))
        options.check_field_size(field, args.field, (height, width), args.image)
        boundary = args.boundary or field.boundary
        return BasisBlur(field.kernels, field.mixing, boundary=boundary)
    kernel = _kernel(args, max(height, width))
    boundary = args.boundary or usual
    if args.preset is not None:  # whose update is defined for a basis of kernels, here one
        ones = torch.ones(1, 1, height, width)
        return BasisBlur(kernel[None, None], ones, boundary=boundary)
    return UniformBlur(kernel, boundary=boundary)


def _kernel(args: argparse.Namespace, longest: int) -> Tensor:
    """The (Kh, Kw) kernel of --kernel or --motion, in correlation orientation."""
    if args.motion is None:
        kernel = read_kernel(args.kernel, args.max_pixels)
        return flip(kernel) if args.orientation == "psf" else kernel
    length, angle = args.motion
    if length > longest:
        raise ValueError(
            f"--motion must be at most the {longest} pixels of '{args.image}', got {length:g}"
        )
    return linear_motion_kernel(length, math.radians(angle))


def read_kernel(path: str, max_pixels: int) -> Tensor:
    """Reads the picture of a kernel.

    Args:
        path: a gray image with odd sides; colour is fine where the channels are equal.
        max_pixels: as `read_image` takes it.

    Returns:
        (Kh, Kw) float32, non-negative with unit sum, oriented as in the picture.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no image, or no kernel.
    """
    pixels = read_image(path, max_pixels=max_pixels).pixels[0]
    height, width = pixels.shape[1:]
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(
            f"kernel '{path}' must have odd sides, so that it has a centre pixel,"
            f" got {width} x {height}"
        )
    # A gray picture that went through JPEG may differ by a level or two between its channels.
    if float((pixels - pixels.mean(0)).abs().max()) > 2 / 255:
        raise ValueError(f"kernel '{path}' must be gray, got a colour image")
    kernel = pixels.mean(0)
    if float(kernel.min()) < 0:
        raise ValueError(f"kernel '{path}' must not be negative, got {float(kernel.min()):g}")
    total = float(kernel.double().sum())
    if total == 0:
        raise ValueError(f"kernel '{path}' must not be black all over")
    return kernel / total
