# SPDX-License-Identifier: BSD-3-Clause
"""What this model adds to the command line.

`blurops deblur --model irc`, `blurops train irc`, `blurops motion`, `blurops train motion` and
`blurops evaluate irc`.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blurmodels.irc import motion_commands, train_command
from blurmodels.irc.motion_evaluate_command import register_evaluate
from blurops import load_motion_field, save_motion_field
from blurops.cli import options
from blurops.files import check_output, write_report

__all__ = [
    "TAKES_MOTION_FIELD",
    "add_deblur",
    "deblur",
    "register",
    "register_evaluate",
    "register_train",
]

TAKES_MOTION_FIELD = True

_NAME = "irc"
# Options of `blurops deblur` that speak to Richardson-Lucy.
_OTHERS = ("iterations", "tv", "saturation", "stop_tol", "preset", "boundary")


def register(commands: Any) -> None:
    """Adds `blurops motion`."""
    motion_commands.register(commands)


def register_train(models: Any) -> None:
    """Adds `blurops train irc` and `blurops train motion`."""
    train_command.register_train(models)
    motion_commands.register_train(models)


def add_deblur(group: argparse._ArgumentGroup) -> None:
    """Adds the options that `blurops deblur` has for this model only."""
    group.add_argument(
        "--combine", choices=("filters", "outputs"),
        help="restore once with filters mixed at each pixel, or four times (default: as trained)",
    )  # fmt: skip


@torch.no_grad()
def deblur(args: argparse.Namespace) -> None:
    """Runs `blurops deblur IMAGE --model irc`."""
    _check(args)
    if args.output is None:
        source = Path(args.image)
        args.output = f"{source.stem}-deblurred{source.suffix}"
    options.check_photo_output(args)
    beside = {
        kind: check_output(Path(args.output).with_name(f"{Path(args.output).stem}-{kind}"))
        for kind in ("motion.mat", "report.json")
    }
    photo = options.load_blind_photo(args)
    network, pipeline = _load(args)
    light = photo.pixels**args.gamma
    began = time.perf_counter()
    length, angle = _motion(args, light, pipeline, network.max_length)
    estimated = time.perf_counter()
    combine = args.combine or (pipeline.combine if pipeline is not None else "filters")
    image = network(light, length, angle, combine=combine)
    ended = time.perf_counter()
    report = {
        "image": args.image,
        "model": _NAME,
        "weights": args.weights,
        "motion_field": args.motion_field,
        "width": photo.pixels.shape[3],
        "height": photo.pixels.shape[2],
        "gamma": args.gamma,
        "combine": combine,
        "stages": network.stages,
        "inner": network.inner,
        "longest_motion": round(float(length.max()), 3),
        "seconds_estimating": round(estimated - began, 3),
        "seconds_restoring": round(ended - estimated, 3),
    }
    options.save_photo(args, image.clamp(min=0) ** (1 / args.gamma), photo)
    save_motion_field(beside["motion.mat"], length, angle)
    write_report(beside["report.json"], report)
    how = "known" if args.motion_field else f"estimated in {estimated - began:.1f} s"
    print(
        f"{args.output}: {report['width']} x {report['height']}, motion of up to"
        f" {report['longest_motion']:.1f} pixels, {how}, restored in {ended - estimated:.1f} s"
    )
    for path in beside.values():
        print(f"  {path.name}")


def _check(args: argparse.Namespace) -> None:
    if args.weights is None:
        raise options.UsageError(f"deblur: argument --model: {_NAME} needs --weights W")
    for name in _OTHERS:
        if getattr(args, name) is not None:
            option = "--" + name.replace("_", "-")
            raise options.UsageError(f"deblur: argument {option}: goes without --model {_NAME}")


def _load(args: argparse.Namespace) -> tuple[Any, Any]:
    """The IRC-Net, and the pipeline that it is part of, if the file holds one."""
    from blurmodels import checkpoints
    from blurmodels.irc import irc_net, joint

    kind = checkpoints.load(args.weights).model
    if kind == joint.BlindDeblurrer.name:
        pipeline = joint.BlindDeblurrer.from_pretrained(args.weights)
        return pipeline.network, pipeline
    network = irc_net.IRCNet.from_pretrained(args.weights)
    if args.motion_field is None:
        raise ValueError(
            f"weights '{args.weights}' must be of {joint.BlindDeblurrer.name}, which estimates"
            f" motion, unless --motion-field says it, got {irc_net.IRCNet.name}"
        )
    return network, None


def _motion(
    args: argparse.Namespace, light: Tensor, pipeline: Any, longest: int
) -> tuple[Tensor, Tensor]:
    """(1, H, W) lengths and angles, known or estimated."""
    if args.motion_field is None:
        return pipeline.motion(light)
    field = load_motion_field(args.motion_field)
    options.check_size(field.length, args.motion_field, tuple(light.shape[2:]), args.image)
    if float(field.length.max()) > longest:
        raise ValueError(
            f"motion field '{args.motion_field}' must have motions of at most {longest} pixels, the"
            f" longest of the bank of '{args.weights}', got {float(field.length.max()):g}"
        )
    return field.length, field.angle
