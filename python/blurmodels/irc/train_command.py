# SPDX-License-Identifier: BSD-3-Clause
"""`blurops train irc`."""

import argparse
from dataclasses import replace
from typing import Any

from blurmodels.train_command import SETTINGS, add_changes, add_folder, add_run, flag, given, run
from blurops.cli import options

_DESCRIPTION = """\
Train IRC-Net, which restores images whose motion is known, on generated scenes. With --pipeline,
train a whole blind pipeline instead, its estimator of motion and its IRC-Net, by the restored
images alone.

FOLDER gets the weights, a table of losses, and a state from which the same command goes on after
an interruption. To train on several GPUs:
  torchrun --nproc-per-node 4 -m blurops train irc FOLDER --device cuda"""

_EPILOG = """\
examples:
  blurops train irc out/ --recipe paper --device cuda
  blurops train irc out/ --recipe small --seed 1 --threads 1 --held-out 8"""

# Options that change the recipe: name, type, help.
_RECIPE = (
    ("stages", options.whole(1), "stages of ADMM"),
    ("inner", options.whole(1), "steps of compensation in each"),
    ("max_length", options.whole(3), "longest motion, odd"),
    ("size", options.whole(1), "side of the inverse filters, odd"),
    ("threshold", options.number(above=0), "of shrinking, at first"),
    ("penalty", options.number(above=0), "rho, at first"),
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
    begin = parser.add_argument_group("where to begin")
    begin.add_argument(
        "--weights", metavar="W",
        help="weights of an IRC-Net to begin with; the network is theirs",
    )  # fmt: skip
    begin.add_argument(
        "--pipeline", metavar="P", help="weights of a blind pipeline, to be trained as a whole"
    )
    add_changes(parser, _RECIPE)
    group = add_run(parser, "scenes, motions and noise")
    group.add_argument(
        "--held-out", type=options.whole(1), metavar="N",
        help="in the end, restore so many other scenes and print the PSNR before and after",
    )  # fmt: skip


def _run(args: argparse.Namespace) -> None:
    from blurmodels.irc import recipes
    from blurmodels.irc.task import held_out_psnr

    recipe = replace(recipes.RECIPES[args.recipe], **given(args, _RECIPE))
    network, recipe = _network(args, recipe)
    settings = recipes.settings_of(recipe, seed=args.seed, **given(args, SETTINGS))
    task = recipes.task_of(recipe, network, seed=args.seed)
    if args.held_out:
        # Seeds of training are never negative, and hardly ever as large as this.
        others = recipes.samples_of(recipe, seed=args.seed + 2**40, patch=2 * recipe.patch)
        before = held_out_psnr(network, others, args.held_out)
    run(args, task, settings)
    if args.held_out:
        after = held_out_psnr(network.to("cpu").eval(), others, args.held_out)
        print(f"  held out: {before:.2f} dB before, {after:.2f} dB after")


def _network(args: argparse.Namespace, recipe: Any) -> tuple[Any, Any]:
    """What is trained, and the recipe with the network's own settings."""
    from blurmodels.irc import recipes
    from blurmodels.irc.irc_net import IRCNet
    from blurmodels.irc.joint import BlindDeblurrer

    if args.weights is None and args.pipeline is None:
        return recipes.network_of(recipe, progress=options.show_progress(args)), recipe
    if args.weights is not None and args.pipeline is not None:
        raise options.UsageError("train: argument --pipeline: goes without --weights")
    if args.pipeline is not None:
        whole = BlindDeblurrer.from_pretrained(args.pipeline)
        network = whole.network
    else:
        whole = network = IRCNet.from_pretrained(args.weights)
    known = {"stages", "inner", "size", "threshold", "penalty"}
    refused = known & set(given(args, _RECIPE))
    if refused:
        name = flag(min(refused))
        raise options.UsageError(f"train: argument {name}: goes without --weights and --pipeline")
    longest = min(network.max_length, args.max_length or network.max_length)
    return whole, replace(recipe, max_length=longest)
