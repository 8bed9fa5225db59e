# SPDX-License-Identifier: BSD-3-Clause
"""`blurops train kernel_space`."""

import argparse
from typing import Any

from blurmodels.train_command import SETTINGS, add_changes, add_folder, add_run, given, run
from blurops.cli import options

_DESCRIPTION = """\
Train F and G of Tran et al. on sharp and blurry images in pairs, by the schedule of one of the
authors' option files. Several sources are mixed, each repeated as --repeat says.

FOLDER gets the weights, a table of losses, and a state from which the same command goes on after
an interruption. To train on several GPUs:
  torchrun --nproc-per-node 4 -m blurops train kernel_space FOLDER --device cuda ..."""

_EPILOG = """\
examples:
  blurops train kernel_space out/ --recipe reds --reds REDS/ --device cuda
  blurops train kernel_space out/ --recipe mix --reds REDS/ --gopro GOPRO/
  blurops train kernel_space out/ --pairs sharp/ blurry/ --width 16 --batch-size 4 --steps 20000"""


# Options that change the recipe: name, type, help.
_RECIPE = (
    ("width", options.whole(1), "channels of the features (default: 64)"),
    ("kernel_dim", options.whole(1), "channels of k (default: 512)"),
    ("batch_size", options.whole(1), "pairs of a step, all processes together"),
    ("learning_rate", options.number(above=0), "of Adam"),
    ("clip", options.number(above=0), "largest norm of the gradient (default: none)"),
)
_NETWORK = ("width", "kernel_dim")

# REDS and GoPro in the authors' option file.
_MIX = [1, 10]


def register_train(models: Any) -> None:
    """Adds the command; what it needs is imported when it runs."""
    parser = options.add_command(
        models, "kernel_space", _run, help="F and G of Tran et al.", description=_DESCRIPTION,
        epilog=_EPILOG,
    )  # fmt: skip
    add_folder(parser, ("reds", "gopro", "gopro-vae", "mix"), "reds")
    data = parser.add_argument_group("data (one at least)")
    data.add_argument("--reds", metavar="DIR", help="REDS, without the clips of REDS4")
    data.add_argument("--gopro", metavar="DIR", help="GoPro, its training half")
    data.add_argument(
        "--pairs", nargs=2, metavar=("SHARP", "BLURRY"), help="folders with the same file names"
    )
    data.add_argument(
        "--lmdb", nargs=2, metavar=("SHARP", "BLURRY"), help="the authors' LMDB databases"
    )
    data.add_argument(
        "--repeat", type=_repeats, metavar="N,N",
        help="how often each source counts, in this order (default: once; 1,10 with --recipe mix)",
    )  # fmt: skip
    data.add_argument("--side", type=options.whole(129), default=256, help="of the crops")
    recipe = add_changes(parser, _RECIPE)
    recipe.add_argument(
        "--start", metavar="W", help="weights to begin with; those of other shapes are left out"
    )
    recipe.add_argument("--mean-loss", action="store_true", help="means and epsilon squared")
    add_run(parser, "initial weights and crops")


def _run(args: argparse.Namespace) -> None:
    from blurmodels.kernel_space.network import KernelWizard
    from blurmodels.kernel_space.pairs import Crops
    from blurmodels.kernel_space.task import (
        LossSettings,
        PairsTask,
        initialise,
        settings_of,
        start_from,
    )  # fmt: skip

    crops = Crops(_source(args), args.side, seed=args.seed)
    sizes = given(args, _NETWORK)
    network = KernelWizard(**sizes, vae=args.recipe == "gopro-vae")
    initialise(network, args.seed)
    if args.start is not None:
        start_from(network, args.start)
    names = ("batch_size", "learning_rate", "clip", *SETTINGS)
    settings = settings_of(args.recipe, seed=args.seed, **given(args, names))
    losses = LossSettings(squared=True, reduction="mean") if args.mean_loss else LossSettings()
    run(args, PairsTask(network, crops, losses), settings)


def _source(args: argparse.Namespace) -> Any:
    from blurmodels import datasets
    from blurmodels.kernel_space.pairs import FilePairs, Mixed

    sources: list[Any] = []
    if args.reds is not None:
        sources.append(FilePairs(datasets.reds(args.reds)))
    if args.gopro is not None:
        # Blur without gamma, as in the authors' option files.
        sources.append(FilePairs(datasets.gopro(args.gopro, split="train")))
    if args.pairs is not None:
        sources.append(FilePairs(datasets.two_folders(*args.pairs)))
    if args.lmdb is not None:
        sources.append(datasets.LMDBPairs(*args.lmdb, without=datasets.REDS4))
    if not sources:
        raise options.UsageError(
            "train: one of --reds, --gopro, --pairs and --lmdb must say what to learn from"
        )
    both = args.reds is not None and args.gopro is not None and len(sources) == len(_MIX)
    usual = _MIX if args.recipe == "mix" and both else [1] * len(sources)
    repeat = args.repeat or usual
    if len(repeat) != len(sources):
        raise options.UsageError(
            f"train: argument --repeat: must have a number for each of {len(sources)} sources,"
            f" got {len(repeat)}"
        )
    return Mixed(sources, repeat)


def _repeats(text: str) -> list[int]:
    return [options.whole(1)(part) for part in text.split(",")]
