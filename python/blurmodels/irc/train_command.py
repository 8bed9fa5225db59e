# SPDX-License-Identifier: BSD-3-Clause
"""`blurops train irc`."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    parser.add_argument("folder", metavar="FOLDER", help="where to write; made if need be")
    parser.add_argument(
        "--recipe", choices=("paper", "default", "small"), default="default",
        help="network, data and schedule; the options below change parts of it",
    )  # fmt: skip
    begin = parser.add_argument_group("where to begin")
    begin.add_argument(
        "--weights", metavar="W",
        help="weights of an IRC-Net to begin with; the network is theirs",
    )  # fmt: skip
    begin.add_argument(
        "--pipeline", metavar="P", help="weights of a blind pipeline, to be trained as a whole"
    )
    recipe = parser.add_argument_group("changes of the recipe")
    for name, kind, text in _RECIPE:
        recipe.add_argument(_flag(name), type=kind, metavar="N", help=text)
    run = parser.add_argument_group("the run")
    run.add_argument("--steps", type=options.whole(1), metavar="N", help="instead of the epochs'")
    run.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    for name, text in (
        ("checkpoint_every", "steps between checkpoints (default: 500)"),
        ("log_every", "steps between rows of the table (default: 10)"),
        ("workers", "processes that make data (default: 0, none)"),
    ):
        run.add_argument(_flag(name), type=options.whole(0), metavar="N", help=text)
    run.add_argument(
        "--held-out", type=options.whole(1), metavar="N",
        help="in the end, restore so many other scenes and print the PSNR before and after",
    )  # fmt: skip
    run.add_argument("--tensorboard", action="store_true", help="scalars and pictures for it")
    run.add_argument(
        "--fresh", action="store_true", help="refuse a FOLDER that holds a training already"
    )
    options.add_seed(run, "scenes, motions and noise")
    options.add_running(parser)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _given(args: argparse.Namespace, names: Any) -> dict[str, Any]:
    found = {name: getattr(args, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _run(args: argparse.Namespace) -> None:
    from blurmodels.irc import recipes
    from blurmodels.irc.task import held_out_psnr
    from blurmodels.training import train

    recipe = replace(recipes.RECIPES[args.recipe], **_given(args, [n for n, _, _ in _RECIPE]))
    network, recipe = _network(args, recipe)
    names = ("steps", "checkpoint_every", "log_every", "workers")
    settings = recipes.settings_of(recipe, seed=args.seed, **_given(args, names))
    task = recipes.task_of(recipe, network, seed=args.seed)
    if args.held_out:
        # Seeds of training are never negative, and hardly ever as large as this.
        others = recipes.samples_of(recipe, seed=args.seed + 2**40, patch=2 * recipe.patch)
        before = held_out_psnr(network, others, args.held_out)
    last: dict[str, float] = {}
    path = train(
        task, settings, Path(args.folder), resume=not args.fresh, tensorboard=args.tensorboard,
        device=args.device, progress=options.show_progress(args),
        on_step=lambda step, losses: last.update(losses),
    )  # fmt: skip
    text = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
    print(f"{path}: {settings.steps} steps{': ' + text if text else ', all done before'}")
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
    refused = known & set(_given(args, [n for n, _, _ in _RECIPE]))
    if refused:
        name = _flag(min(refused))
        raise options.UsageError(f"train: argument {name}: goes without --weights and --pipeline")
    longest = min(network.max_length, args.max_length or network.max_length)
    return whole, replace(recipe, max_length=longest)
