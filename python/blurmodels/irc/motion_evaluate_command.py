# SPDX-License-Identifier: BSD-3-Clause
"""`blurops evaluate irc`."""

import argparse
from typing import Any

from blurops.cli import options
from blurops.files import check_output, replacing

_DESCRIPTION = """\
Print a table of Eboli et al. with our row below its own: 2, errors of the motion (weights of a
Motion-Net); 3, restoration with known motion (of an IRC-Net); 4 and 5, with unknown motion, on
Bahat's and on Köhler's set (of a blind pipeline).

Tables 2 and 3 take photographs of --voc before a turning and shifting camera, or generated scenes;
so does 4 without --data. 5 needs --data."""

_EPILOG = """\
examples:
  blurops evaluate irc --table 2 --weights motion.safetensors --voc VOCdevkit --count 300
  blurops evaluate irc --table 3 --weights irc.safetensors --count 4 --size 160,120
  blurops evaluate irc --table 5 --weights pipeline.safetensors --data Kohler"""


def register_evaluate(models: Any) -> None:
    """Adds the command; what it needs is imported when it runs."""
    parser = options.add_command(
        models, "irc", _run, help="tables of Eboli et al.", description=_DESCRIPTION,
        epilog=_EPILOG,
    )  # fmt: skip
    parser.add_argument("--table", type=int, choices=(2, 3, 4, 5), required=True, help="which")
    parser.add_argument("--weights", required=True, metavar="W", help="of the network it scores")
    parser.add_argument("--data", metavar="DIR", help="Bahat's (table 4) or Köhler's set (5)")
    parser.add_argument("--voc", metavar="DIR", help="folder of PASCAL VOC 2012 (tables 2, 3, 4)")
    parser.add_argument(
        "--count", type=options.whole(1), metavar="N",
        help="images, of each level (default: 8; all of --data)",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=options.numbers("WIDTH", "HEIGHT"), default=(500, 375),
        metavar="WIDTH,HEIGHT", help="of the images that are made (default: 500,375)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="T", help="write the table here too")
    options.add_seed(parser, "scenes, motions and noise")
    options.add_running(parser)


def _run(args: argparse.Namespace) -> None:
    from blurmodels.evaluation import show

    if args.data is None and args.table == 5:
        raise options.UsageError("evaluate: argument --table: 5 needs --data DIR")
    if args.data is not None and args.table < 4:
        raise options.UsageError("evaluate: argument --data: goes with tables 4 and 5 only")
    if not all(side.is_integer() and side >= 16 for side in args.size):
        raise options.UsageError("evaluate: argument --size: must be whole numbers of at least 16")
    if args.output is not None:
        check_output(args.output)
    text = show(_table(args)) + "\n"
    if args.output is not None:
        with replacing(args.output) as file:
            file.write(text.encode())
    print(text, end="")


def _table(args: argparse.Namespace) -> Any:
    from blurmodels.irc import BlindDeblurrer, IRCNet, MotionNet, motion_evaluate

    size = (int(args.size[1]), int(args.size[0]))
    scenes = _scenes(args)
    made = {"count": args.count or 8, "size": size, "seed": args.seed}
    if args.table == 2:
        network = MotionNet.from_pretrained(args.weights)
        return motion_evaluate.motion_table(network, scenes, **made)
    if args.table == 3:
        restorer = IRCNet.from_pretrained(args.weights)
        longest = min(motion_evaluate.LEVELS["severe"], restorer.max_length)
        return motion_evaluate.known_motion_table(restorer, scenes, max_length=longest, **made)
    pipeline = BlindDeblurrer.from_pretrained(args.weights)
    if args.table == 4:
        if args.data is not None:
            made["count"] = args.count
        return motion_evaluate.blind_table(pipeline, args.data, scenes, **made)
    return motion_evaluate.kohler_table(pipeline, args.data, args.count)


def _scenes(args: argparse.Namespace) -> Any:
    from blurmodels.datasets import voc
    from blurmodels.irc.motion_data import Photographs
    from blurmodels.scenes import DeadLeaves

    if args.voc is not None:
        return Photographs(voc(args.voc), seed=args.seed)
    # Scenes of training have small seeds.
    return DeadLeaves(objects=0, seed=args.seed + 2**40)
