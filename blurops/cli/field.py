# SPDX-License-Identifier: BSD-3-Clause
"""``blurops field``: make a blur field for an image."""

import argparse
import math
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from blurops._atomic import check_output
from blurops._check import BOUNDARIES
from blurops.cli import _options as options
from blurops.fields import (
    BlurField,
    CameraMotion,
    MotionKernelField,
    camera_motion_field,
    camera_shake_field,
    plot_basis,
    plot_error_curve,
    plot_kernel_field,
    save_field,
)

_SUFFIX = ".safetensors"

_DESCRIPTION = """\
Make a blur field of IMAGE's size: a few basis kernels, and for each pixel how they are mixed.

Either the shake of a hand (--camera-shake): kernels drawn by the physiological tremor of a hand
that holds a camera, mixed by random maps. Or a motion of the camera during the exposure
(--rotation, --translation, --zoom, alone or together): the exact kernel of every pixel, reduced
to the best basis kernels, non-negative and mixed convexly."""

_EPILOG = """\
examples:
  blurops field photo.jpg --camera-shake --seed 7 -o shake.safetensors --picture shake.png
  blurops field photo.jpg --rotation 1.5,0,0 --translation=-6,2 -o turn.safetensors
  blurops field photo.jpg --zoom 1.04 -o zoom.safetensors --error-curve error-against-B.png

A list that starts with a minus sign needs the equals sign, as in --translation=-6,2."""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = options.add_command(
        commands,
        "field",
        run,
        help="make a blur field: camera shake or camera motion",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    options.add_photo(parser, "the photograph whose size the field gets")
    parser.add_argument(
        "-o", "--output", required=True, metavar="F", help=f"the field to write, {_SUFFIX}"
    )
    options.add_seed(parser, "which shake")
    options.add_basis(parser)
    parser.add_argument(
        "--boundary",
        choices=BOUNDARIES,
        default="reflect",
        help="what lies beyond the image's edge; with valid, nothing does, and the blurred image is"
        " K - 1 pixels smaller (default: reflect)",
    )
    _add_shake(parser.add_argument_group("camera shake"))
    _add_motion(parser.add_argument_group("camera motion"))
    pictures = parser.add_argument_group("pictures (.png, .pdf or .svg)")
    pictures.add_argument("--picture", metavar="P", help="the kernels drawn over IMAGE")
    pictures.add_argument("--basis-picture", metavar="P", help="the basis kernels and their maps")
    pictures.add_argument(
        "--error-curve",
        metavar="P",
        help="the error of B basis kernels against B, beside the bound of the singular values",
    )
    options.add_running(parser)


def _add_shake(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--camera-shake", action="store_true", help="blur as a hand-held camera")
    group.add_argument(
        "--mixing",
        choices=("smooth", "segments"),
        default="smooth",
        help="how the kernels are spread: smoothly, or in pieces with soft seams (default: smooth)",
    )
    group.add_argument(
        "--exposure",
        type=options.number(above=0),
        default=1.0,
        metavar="T",
        help="in seconds (default: 1)",
    )
    group.add_argument(
        "--strength",
        type=options.number(least=0),
        default=1.0,
        metavar="X",
        help="multiplies the hand's motion (default: 1)",
    )


def _add_motion(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--rotation",
        type=options.numbers("ROLL", "PITCH", "YAW"),
        metavar="ROLL,PITCH,YAW",
        help="turn during the exposure in degrees: roll clockwise, pitch up, yaw to the right",
    )
    group.add_argument(
        "--translation",
        type=options.numbers("X", "Y"),
        metavar="X,Y",
        help="shift of the view during the exposure in pixels, to the right and down",
    )
    group.add_argument(
        "--zoom",
        type=options.number(above=0),
        metavar="Z",
        help="size at the end of the exposure divided by that at its start",
    )
    group.add_argument(
        "--focal-length",
        type=options.number(above=0),
        metavar="PIXELS",
        help="focal length in pixels (default: IMAGE's longer side for motion, 1000 for shake)",
    )


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    moves = [args.rotation, args.translation, args.zoom]
    if args.camera_shake == any(move is not None for move in moves):
        raise options.UsageError(
            "field: give either --camera-shake or some of --rotation, --translation and --zoom"
        )
    if Path(args.output).suffix.lower() != _SUFFIX:
        raise ValueError(f"'{args.output}' must end in {_SUFFIX}")
    check_output(args.output)
    pictures = (args.picture, args.basis_picture, args.error_curve)
    kinds = {path: options.check_figure_output(path) for path in pictures if path is not None}
    photo = options.load_photo(args)
    height, width = photo.pixels.shape[2:]
    if args.boundary == "valid":
        height, width = height - args.kernel_size + 1, width - args.kernel_size + 1
        if min(height, width) < 1:
            raise ValueError(
                f"--kernel-size must be at most {min(photo.pixels.shape[2:])} for boundary valid"
                f" on '{args.image}', got {args.kernel_size}"
            )
    field, notes = (
        _shake(args, height, width) if args.camera_shake else _motion(args, height, width)
    )
    save_field(args.output, field.kernels, field.mixing, **field.meta)
    count, side = field.kernels.shape[1], field.kernel_size
    print(f"{args.output}: {width} x {height}, B = {count}, K = {side}{notes}")
    pixels = options.central(photo.pixels, (height, width))
    if args.picture:
        options.save_figure(plot_kernel_field(pixels, field), args.picture, kinds[args.picture])
    if args.basis_picture:
        options.save_figure(plot_basis(field), args.basis_picture, kinds[args.basis_picture])
    if args.error_curve:
        source = field if args.camera_shake else _kernel_field(args, height, width)
        figure, curve = plot_error_curve(source, seed=args.seed)
        options.save_figure(figure, args.error_curve, kinds[args.error_curve])
        for size, error, bound in zip(*curve, strict=True):
            print(f"  B = {size:3}: error {error:.4f}, bound {bound:.4f}")


def _shake(args: argparse.Namespace, height: int, width: int) -> tuple[BlurField, str]:
    field = camera_shake_field(
        height,
        width,
        basis_size=args.basis_size,
        kernel_size=args.kernel_size,
        seed=args.seed,
        mixing=args.mixing,
        exposure=args.exposure,
        strength=args.strength,
        boundary=args.boundary,
        **({} if args.focal_length is None else {"focal_length": args.focal_length}),
    )
    return field, f", camera shake with seed {args.seed}"


def _moves(args: argparse.Namespace) -> dict[str, Any]:
    """The motion in the library's units."""
    return {
        "rotation": tuple(math.radians(angle) for angle in args.rotation or (0.0, 0.0, 0.0)),
        "translation": args.translation or (0.0, 0.0),
        "zoom": 1.0 if args.zoom is None else args.zoom,
        "focal_length": args.focal_length,
    }


def _kernel_field(args: argparse.Namespace, height: int, width: int) -> MotionKernelField:
    return MotionKernelField(height, width, CameraMotion(**_moves(args)), args.kernel_size)


def _motion(args: argparse.Namespace, height: int, width: int) -> tuple[BlurField, str]:
    with tqdm(total=height, unit="row", disable=not options.show_progress(args)) as bar:
        field, errors = camera_motion_field(
            height,
            width,
            **_moves(args),
            basis_size=args.basis_size,
            kernel_size=args.kernel_size,
            boundary=args.boundary,
            seed=args.seed,
            progress=lambda done, _: bar.update(done - bar.n),
        )
    return field, f", relative error {errors.field_error:.4f} (bound {errors.svd_bound:.4f})"
