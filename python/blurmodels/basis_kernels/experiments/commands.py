# SPDX-License-Identifier: BSD-3-Clause
"""``blurops evaluate basis_kernels``: the paper's tables, and its two experiments in small."""

import argparse
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from blurmodels import evaluate_command
from blurops.cli import options

_TABLES = ("1", "2", "3", "4")
_EXPERIMENTS = ("reblur", "ablation")
_PRESETS = ("carbajal2021", "carbajal2021-paper", "none")

_DESCRIPTION = """\
Print a table of the paper with our numbers below its own, for the datasets that you have; or run
one of its experiments in small, on generated scenes.

Datasets are folders below --data, as their archives unpack: Kohler, RealBlur, GoPro, DVD, CUHK. The
blurred input is always scored; --weights adds the network with Richardson-Lucy, --generator a
DeblurGAN generator, --restored images that any program has made.

Tables of the second version (--paper second): 1 Köhler, 2 RealBlur, 3 GoPro, 4 RealBlur-J against
the basis size. Of the first: 1 Köhler, GoPro, DVD and RealBlur-J, 2 Köhler without homography,
3 GoPro, 4 blur detection on CUHK."""

_EPILOG = """\
examples:
  blurops evaluate basis_kernels --table 2 --data datasets/ --weights W.safetensors
  blurops evaluate basis_kernels --table 3 --data datasets/ --generator DeblurGAN=net_G.pth
  blurops evaluate basis_kernels --paper first --table 4 --data datasets/ --weights W.safetensors
  blurops evaluate basis_kernels --experiment reblur
  blurops evaluate basis_kernels --experiment ablation"""


def register_evaluate(models: Any) -> None:
    """Adds the command."""
    parser = options.add_command(
        models,
        "basis_kernels",
        _run,
        help="tables and experiments of Carbajal et al.",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    what = parser.add_argument_group("what (one of these)").add_mutually_exclusive_group(
        required=True
    )
    what.add_argument("--table", choices=_TABLES, help="a table, on datasets")
    what.add_argument(
        "--experiment",
        choices=_EXPERIMENTS,
        help="on generated scenes: reblur, table 3's fine-tuning with and without the reblur loss;"
        " ablation, table 4's basis sizes and schedules",
    )
    _add_table(parser.add_argument_group("of a table"))
    _add_experiment(parser.add_argument_group("of an experiment"))
    evaluate_command.add_output(parser)


def _add_table(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--paper", choices=("second", "first"), default="second", help="version (default: second)"
    )
    group.add_argument("--data", metavar="DIR", help="the folder that holds the datasets")
    group.add_argument(
        "--weights",
        metavar="W",
        help="of the network that estimates the blur; of --experiment reblur too, which otherwise"
        " takes the true blur",
    )
    group.add_argument(
        "--preset",
        choices=_PRESETS,
        default=_PRESETS[0],
        help="of Richardson-Lucy (default: carbajal2021, what the authors' program runs)",
    )
    evaluate_command.add_rows(group, "GoPro/GOPR0384_11_00/000001.png")
    group.add_argument(
        "--limit", type=options.whole(1), metavar="N", help="only the first N images of a dataset"
    )
    group.add_argument("--names", metavar="F", help="of CUHK: a file with the split's names")
    group.add_argument(
        "--white",
        choices=("blurred", "sharp"),
        default="blurred",
        help="of CUHK: what white means in the masks (default: blurred)",
    )


def _add_experiment(group: argparse._ArgumentGroup) -> None:
    evaluate_command.add_seeds(group)
    group.add_argument(
        "--steps",
        type=options.whole(2, 10_000_000),
        metavar="N",
        help="of the first training phase; the others follow it (default: 600 for"
        " reblur, 400 for ablation)",
    )
    options.add_seed(group, "of the first run")


def _run(args: argparse.Namespace) -> None:
    evaluate_command.run(args, _table if args.table else _EXPERIMENT[args.experiment])


def _table(args: argparse.Namespace) -> tuple[list[Any], Any]:
    from blurmodels.basis_kernels.experiments import methods
    from blurmodels.basis_kernels.experiments.evaluate import evaluate_table

    if args.data is None:
        raise options.UsageError("evaluate: argument --table: needs --data DIR")
    rows = []
    if args.weights is not None:
        preset = None if args.preset == "none" else args.preset
        name = f"blurops, {Path(args.weights).name}"
        rows.append(methods.by_network(args.weights, preset, name))
    rows += [methods.by_generator(path, name) for name, path in args.generator]
    rows += [methods.from_files(path, name) for name, path in args.restored]
    evaluate_command.check_names(rows, [methods.UNTOUCHED])
    with tqdm(unit="image", disable=not options.show_progress(args)) as bar:
        table, scores = evaluate_table(
            args.paper,
            args.table,
            Path(args.data),
            rows,
            limit=args.limit,
            progress=evaluate_command.shown(bar),
            names=args.names,
            blurred_is_white=args.white == "blurred",
        )
    return [table], scores


def _reblur(args: argparse.Namespace) -> tuple[list[Any], Any]:
    from blurmodels.basis_kernels.experiments.blurring_to_deblur import Options, as_table, compare
    from blurmodels.basis_kernels.experiments.paper import TABLES
    from blurmodels.basis_kernels.network import TwoHeadsNetwork

    steps = {} if args.steps is None else {"pretrain_steps": args.steps}
    if args.steps is not None:
        steps["resume_steps"] = max(1, args.steps // 2)
    estimator = None
    if args.weights is not None:
        estimator = TwoHeadsNetwork.from_pretrained(args.weights)
    runs = [
        compare(
            Options(seed=seed, **steps),
            estimator=estimator,
            progress=options.show_progress(args),
        )
        for seed in evaluate_command.seeds(args)
    ]
    scores = [[result._asdict() for result in run] for run in runs]
    return [TABLES["second"]["3"], as_table(runs, Options(**steps))], scores


def _ablation(args: argparse.Namespace) -> tuple[list[Any], Any]:
    from blurmodels.basis_kernels.experiments.ablation import Options, ablate, as_table
    from blurmodels.basis_kernels.experiments.paper import TABLES

    steps = {} if args.steps is None else {"l2_steps": args.steps}
    runs = [
        ablate(Options(seed=seed, **steps), progress=options.show_progress(args))
        for seed in evaluate_command.seeds(args)
    ]
    scores = [[cell._asdict() for cell in run] for run in runs]
    return [TABLES["second"]["4"], as_table(runs, Options(**steps))], scores


_EXPERIMENT = {"reblur": _reblur, "ablation": _ablation}
