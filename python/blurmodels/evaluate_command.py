# SPDX-License-Identifier: BSD-3-Clause
"""What the commands below `blurops evaluate` have in common; light to import."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from blurops.cli import options
from blurops.files import check_output, write_report

# Tables to print, and scores to write.
Results = tuple[list[Any], Any]


def add_rows(group: argparse._ArgumentGroup, example: str) -> None:
    """Adds `--generator` and `--restored`; `example` is a restored file below DIR."""
    for name, metavar, text in (
        ("--generator", "NAME=FILE", "score a DeblurGAN generator with these weights"),
        ("--restored", "NAME=DIR", f"score images restored before, such as DIR/{example}"),
    ):
        group.add_argument(
            name,
            type=_labelled,
            action="append",
            default=[],
            metavar=metavar,
            help=f"{text}; may be given several times",
        )


def add_seeds(group: argparse._ArgumentGroup) -> None:
    """Adds `--seeds`, the number of runs."""
    group.add_argument(
        "--seeds", type=options.whole(1, 100), default=1, metavar="N", help="runs (default: 1)"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds `--output`, and the options that every command ends with."""
    parser.add_argument("-o", "--output", metavar="R", help="write all scores here, .json")
    options.add_running(parser)


def _labelled(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"must be NAME=PATH, got '{text}'")
    return name, path


def run(args: argparse.Namespace, make: Callable[[argparse.Namespace], Results]) -> None:
    """Makes tables and scores, prints the ones and writes the others, if they are to be."""
    if args.output is not None:
        if Path(args.output).suffix.lower() != ".json":
            raise ValueError(f"'{args.output}' must end in .json")
        check_output(args.output)
    tables, scores = make(args)
    from blurmodels.evaluation import show

    print("\n\n".join(show(table) for table in tables))
    if args.output is not None:
        write_report(args.output, scores)


def seeds(args: argparse.Namespace) -> Iterable[int]:
    """One for each run."""
    return range(args.seed, args.seed + args.seeds)


def check_names(rows: Sequence[Any], others: Sequence[Any]) -> None:
    """Raises unless every row has a name of its own."""
    names = [row.name for row in rows]
    taken = {row.name for row in others}
    if len({*names, *taken}) < len(names) + len(taken):
        raise options.UsageError(f"evaluate: rows must have names of their own, got {names}")


def shown(bar: Any) -> Callable[[str, int, int], None]:
    """What a table is done of, on a bar of tqdm's."""

    def progress(what: str, done: int, count: int) -> None:
        bar.set_description(what, refresh=False)
        bar.total, bar.n = count, done
        bar.refresh()

    return progress
