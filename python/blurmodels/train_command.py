# SPDX-License-Identifier: BSD-3-Clause
"""What the commands below `blurops train` have in common; light to import."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from blurops.cli import options

# Options of the run that are fields of `blurmodels.training.Settings`.
SETTINGS = ("steps", "precision", "checkpoint_every", "log_every", "workers")


def add_folder(
    parser: argparse.ArgumentParser, recipes: Sequence[str], default: str = "default"
) -> None:
    """Adds FOLDER and `--recipe`."""
    parser.add_argument("folder", metavar="FOLDER", help="where to write; made if need be")
    parser.add_argument(
        "--recipe", choices=recipes, default=default,
        help="network, data and schedule; the options below change parts of it"
        f" (default: {default})",
    )  # fmt: skip


def add_changes(
    parser: argparse.ArgumentParser, changes: Iterable[tuple[str, Any, str]]
) -> argparse._ArgumentGroup:
    """Adds a group of options that change the recipe: name, type or choices, help; returns it."""
    group = parser.add_argument_group("changes of the recipe")
    for name, kind, text in changes:
        how = {"choices": kind} if isinstance(kind, tuple) else {"type": kind, "metavar": "N"}
        group.add_argument(flag(name), help=text, **how)
    return group


def add_run(parser: argparse.ArgumentParser, seed: str) -> argparse._ArgumentGroup:
    """Adds the group of options of the run, and returns it; `seed` says what is drawn by it."""
    run = parser.add_argument_group("the run")
    run.add_argument("--steps", type=options.whole(1), metavar="N", help="instead of the recipe's")
    run.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    run.add_argument("--precision", choices=("float32", "bfloat16", "float16"))
    for name, text in (
        ("checkpoint_every", "steps between checkpoints (default: the recipe's)"),
        ("log_every", "steps between rows of the table (default: 10)"),
        ("workers", "processes that make data (default: 0, none)"),
    ):
        run.add_argument(flag(name), type=options.whole(0), metavar="N", help=text)
    run.add_argument("--tensorboard", action="store_true", help="scalars and pictures for it")
    run.add_argument(
        "--fresh", action="store_true", help="refuse a FOLDER that holds a training already"
    )
    options.add_seed(run, seed)
    options.add_running(parser)
    return run


def flag(name: str) -> str:
    """The option that sets an argument."""
    return "--" + name.replace("_", "-")


def given(args: argparse.Namespace, names: Iterable[str | tuple]) -> dict[str, Any]:
    """Those of the arguments, named or the first of a table's rows, that the command line has."""
    plain = [each if isinstance(each, str) else each[0] for each in names]
    found = {name: getattr(args, name) for name in plain}
    return {name: value for name, value in found.items() if value is not None}


def run(args: argparse.Namespace, task: Any, settings: Any) -> Path:
    """Trains, prints the last losses, and returns where the weights are."""
    from blurmodels.training import train

    last: dict[str, float] = {}
    path = train(
        task, settings, Path(args.folder), resume=not args.fresh, tensorboard=args.tensorboard,
        device=args.device, progress=options.show_progress(args),
        on_step=lambda step, losses: last.update(losses),
    )  # fmt: skip
    text = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
    print(f"{path}: {settings.steps} steps{': ' + text if text else ', all done before'}")
    return path
