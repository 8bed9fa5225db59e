# SPDX-License-Identifier: BSD-3-Clause
"""`blurops train irc`."""

import argparse
from dataclasses import replace
from typing import Any

from blurmodels.train_command import SETTINGS, add_changes, add_folder, add_run, flag, given, run
from blurops.cli import options

_DESCRIPTION = """\
Train IRC-Net, which restores images whose motion is known, on generated scenes or photographs that
are blurred here. With --motion or --pipeline, train a whole blind pipeline instead, its estimator
of motion and its IRC-Net, by sharp images alone: by what is restored, and by what its motion makes
of the sharp image. `blurops deblur --model irc` then needs no motion field.

FOLDER gets the weights, a table of losses, and a state from which the same command goes on after
an interruption. To train on several GPUs:
  torchrun --nproc-per-node 4 -m blurops train irc FOLDER --device cuda"""

_EPILOG = """\
examples:
  blurops train irc out/ --recipe paper --device cuda
  blurops train irc out/ --recipe small --seed 1 --threads 1 --held-out 8
  blurops train irc out/ --recipe small --photographs VOCdevkit --steps 1500
  blurops train irc blind/ --motion motion/weights.safetensors --weights out/weights.safetensors"""

# Options that change the recipe: name, type, help.
_RECIPE = (
    ("stages", options.whole(1), "stages of ADMM"),
    ("inner", options.whole(1), "steps of compensation in each"),
    ("max_length", options.whole(3), "longest motion, odd"),
    ("size", options.whole(1), "side of the inverse filters, odd"),
    ("threshold", options.number(above=0), "of shrinking, at first"),
    ("penalty", options.number(above=0), "rho, at first"),
    ("reblur", options.number(least=0), "weight of what a pipeline's motion leaves unexplained"),
    ("patch", options.whole(8), "side of the blurred images"),
    ("batch_size", options.whole(1), "images of a step, all processes together"),
    ("epoch", options.whole(1), "scenes of an epoch"),
    ("epochs", options.number(above=0), "how many"),
    ("learning_rate", options.number(above=0), "of the optimiser"),
)


def register_train(models: Any) -> None:
    """Adds the command; what it needs is imported when it runs."""
    parser = options.add_command(
        models, "irc", _run, help="IRC-Net of Eboli et al., alone or in a blind pipeline",
        description=_DESCRIPTION, epilog=_EPILOG,
    )  # fmt: skip
    add_folder(parser, ("paper", "default", "small"))
    parser.add_argument_group("data").add_argument(
        "--photographs", metavar="DIR",
        help="folder of sharp photographs, or of PASCAL VOC 2012 (default: generated scenes)",
    )  # fmt: skip
    begin = parser.add_argument_group("where to begin")
    begin.add_argument(
        "--weights", metavar="W",
        help="weights of an IRC-Net to begin with; the network is theirs",
    )  # fmt: skip
    begin.add_argument(
        "--motion", metavar="M",
        help="weights of a Motion-Net, to be trained with the IRC-Net as a blind pipeline",
    )  # fmt: skip
    begin.add_argument(
        "--combine", choices=("filters", "outputs"),
        help="of --motion: restore once with filters mixed at each pixel, or four times"
        " (default: filters)",
    )  # fmt: skip
    begin.add_argument(
        "--pipeline", metavar="P", help="weights of a blind pipeline, to be trained as a whole"
    )
    add_changes(parser, _RECIPE)
    group = add_run(parser, "scenes, motions and noise")
    group.add_argument(
        "--held-out", type=options.whole(1), metavar="N",
        help="in the end, restore so many other generated scenes and print the PSNR before and"
        " after",
    )  # fmt: skip


def _run(args: argparse.Namespace) -> None:
    from blurmodels.datasets import photographs
    from blurmodels.irc import recipes
    from blurmodels.irc.task import held_out_scores

    blind = args.motion is not None or args.pipeline is not None
    table = recipes.JOINT if blind else recipes.RECIPES
    recipe = replace(table[args.recipe], **given(args, _RECIPE))
    network, recipe = _network(args, recipe)
    settings = recipes.settings_of(recipe, seed=args.seed, **given(args, SETTINGS))
    files = () if args.photographs is None else photographs(args.photographs)
    task = recipes.task_of(recipe, network, photographs=files, seed=args.seed)
    if args.held_out:
        # Seeds of training are never negative, and hardly ever as large as this.
        others = recipes.samples_of(recipe, seed=args.seed + 2**40, patch=2 * recipe.patch)
        before = held_out_scores(network, others, args.held_out)
    run(args, task, settings)
    if args.held_out:
        after = held_out_scores(network.to("cpu").eval(), others, args.held_out)
        print(f"  held out: {before.psnr:.2f} dB before, {after.psnr:.2f} dB after")
        if blind:
            print(
                f"  squared error of the motion: {before.motion:.2f} pixels^2 before,"
                f" {after.motion:.2f} after"
            )


def _network(args: argparse.Namespace, recipe: Any) -> tuple[Any, Any]:
    """What is trained, and the recipe with the network's own settings."""
    from blurmodels.irc import recipes
    from blurmodels.irc.joint import BlindDeblurrer

    _check(args)
    if args.pipeline is not None:
        whole = BlindDeblurrer.from_pretrained(args.pipeline)
        network, recipe = whole.network, _within(args.pipeline, whole.network, args, recipe)
    else:
        # First what is quickly read: it may be of another network.
        estimator = _estimator(args)
        network, recipe = _restorer(args, recipe)
        if estimator is None:
            return network, recipe
        whole = recipes.pipeline_of(recipe, estimator, network, combine=args.combine or "filters")
    if hasattr(whole.estimator, "recompute"):
        whole.estimator.recompute = True
    return whole, recipe


def _check(args: argparse.Namespace) -> None:
    if args.pipeline is not None:
        for name in ("weights", "motion"):
            if getattr(args, name) is not None:
                raise options.UsageError(f"train: argument --pipeline: goes without --{name}")
    if args.combine is not None and args.motion is None:
        raise options.UsageError("train: argument --combine: goes with --motion only")
    if args.reblur is not None and args.motion is None and args.pipeline is None:
        raise options.UsageError("train: argument --reblur: goes with --motion and --pipeline only")
    known = {"stages", "inner", "size", "threshold", "penalty"}
    refused = known & set(given(args, _RECIPE))
    if refused and (args.weights is not None or args.pipeline is not None):
        name = flag(min(refused))
        raise options.UsageError(f"train: argument {name}: goes without --weights and --pipeline")


def _estimator(args: argparse.Namespace) -> Any:
    """The Motion-Net to begin with, if there is one."""
    from blurmodels.irc.motion_net import MotionNet

    return None if args.motion is None else MotionNet.from_pretrained(args.motion)


def _restorer(args: argparse.Namespace, recipe: Any) -> tuple[Any, Any]:
    """The IRC-Net to begin with, and the recipe for it."""
    from blurmodels.irc import recipes
    from blurmodels.irc.irc_net import IRCNet

    if args.weights is None:
        return recipes.network_of(recipe, progress=options.show_progress(args)), recipe
    network = IRCNet.from_pretrained(args.weights)
    return network, _within(args.weights, network, args, recipe)


def _within(path: str, network: Any, args: argparse.Namespace, recipe: Any) -> Any:
    """The recipe with motions that the bank of a file's network has."""
    longest = network.max_length
    if args.max_length is not None and args.max_length > longest:
        raise ValueError(
            f"train: max_length must be at most {longest} pixels, the longest motion of the bank"
            f" of '{path}', got {args.max_length}"
        )
    return replace(recipe, max_length=min(longest, recipe.max_length))
