# SPDX-License-Identifier: BSD-3-Clause
"""``blurops blur``: what a moving camera would have taken."""

import argparse
from typing import Any

from blurops import Saturation, load_field
from blurops.cli import _options as options
from blurops.fields import observe

_DESCRIPTION = """\
Blur a photograph by a field of blur kernels, as a camera would record it:

    OUT = R(H IMAGE^gamma + noise)^(1/gamma)

H is the blur, R the response of a sensor that saturates (with --saturation; without it the values
pass unchanged and are cut off at white when the file is written)."""

_EPILOG = """\
example:
  blurops blur photo.jpg --field shake.safetensors --noise 0.002 --seed 1 -o blurred.png"""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = options.add_command(
        commands,
        "blur",
        run,
        help="blur an image by a blur field",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    options.add_photo(parser, "the sharp photograph")
    parser.add_argument(
        "--field", required=True, metavar="F", help="blur field of IMAGE's size (.safetensors)"
    )
    options.add_output(parser)
    options.add_gamma(parser)
    parser.add_argument(
        "--noise",
        type=options.number(least=0),
        default=0.0,
        metavar="SIGMA",
        help="standard deviation of white noise, in linear light with white at 1 (default: 0)",
    )
    parser.add_argument(
        "--saturation",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="pass the light through a sensor that saturates smoothly (default: no)",
    )
    options.add_seed(parser, "which noise")
    options.add_running(parser)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    options.check_photo_output(args)
    field = options.as_float32(load_field(args.field))
    photo = options.load_photo(args)
    height, width = photo.pixels.shape[2:]
    if field.boundary == "valid":
        kernel_height, kernel_width = field.kernels.shape[2:]
        height, width = height - kernel_height + 1, width - kernel_width + 1
    options.check_field_size(field, args.field, (height, width), args.image)
    blurred = observe(
        photo.pixels**args.gamma,
        field,
        noise=args.noise,
        saturation=Saturation() if args.saturation else None,
        gamma=args.gamma,
        seed=args.seed,
    )
    options.save_photo(args, blurred, photo)
    print(f"{args.output}: {width} x {height}, blurred by {args.field}")
