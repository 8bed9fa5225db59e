# SPDX-License-Identifier: BSD-3-Clause
"""``blurops evaluate kernel_space``: the paper's tables, and its experiments in small."""

import argparse
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from blurmodels import evaluate_command
from blurops.cli import options

_TABLES = ("1", "2", "3", "4", "5", "time")
_RESTORED = ("2", "4", "5")
_EXPERIMENTS = ("transfer", "swap", "augment")
_BLIND = ("encoded", "basis", "uniform")

_DESCRIPTION = """\
Print a table of the paper with our numbers below its own, for the datasets that you have; or run
one of its experiments in small, on generated scenes.

Datasets are folders below --data, as their archives unpack: Levin, REDS, GoPro, HIDE, FFHQ,
CelebA-HQ.

  1     blur transferred between images of GoPro, against Levin's kernels
  2     deblurring networks on REDS4 and GoPro
  3     kernels retrieved for the pairs of REDS4 and GoPro
  4     deblurring networks on faces under straight motions and the blur of REDS4 and GoPro
  5     deblurring on GoPro and HIDE, the supplement's
  time  seconds per image of 256 x 256 pixels

Tables 1 and 3 measure encoders of blur: explicit kernels by least squares are always there.
Tables 2, 4, 5 and time measure methods that restore; the blurred input is always scored."""

_EPILOG = """\
examples:
  blurops evaluate kernel_space --table 1 --data datasets/ --limit 20
  blurops evaluate kernel_space --table 5 --data datasets/ --restored SRN=out/ \\
      --lpips alexnet.pth --lpips alex.pth
  blurops evaluate kernel_space --experiment transfer
  blurops evaluate kernel_space --experiment swap
  blurops evaluate kernel_space --experiment augment --seeds 3"""


def register_evaluate(models: Any) -> None:
    """Adds the command."""
    parser = options.add_command(
        models,
        "kernel_space",
        _run,
        help="tables and experiments of Tran et al.",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    what = parser.add_argument_group("what (one of these)").add_mutually_exclusive_group(
        required=True
    )
    what.add_argument("--table", choices=_TABLES, help="a table")
    what.add_argument(
        "--experiment",
        choices=_EXPERIMENTS,
        help="on generated scenes: transfer, table 1, for which narrow F and G are trained; swap,"
        " table 2's blur-swapped dataset; augment, table 4's straight motions against encoded blur",
    )
    _add_table(parser.add_argument_group("of a table"))
    _add_experiment(parser.add_argument_group("of an experiment"))
    evaluate_command.add_output(parser)


def _add_table(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--data", metavar="DIR", help="the folder that holds the datasets")
    group.add_argument(
        "--weights",
        metavar="W",
        help="of F and G: an encoder for tables 1, 3 and 4 and the experiments, and for --blind"
        " encoded",
    )
    group.add_argument(
        "--blind",
        choices=_BLIND,
        action="append",
        default=[],
        help="score blind deblurring by this package, as `blurops deblur --model kernel_space`; may"
        " be given several times",
    )
    evaluate_command.add_rows(group, "GOPRO/GOPR0384_11_00/000001.png")
    group.add_argument(
        "--lpips",
        action="append",
        default=[],
        metavar="FILE",
        help="score LPIPS too, with the weights in these files: torchvision's AlexNet or VGG16, and"
        " the linear layers; given once for each",
    )
    group.add_argument(
        "--kernel-size",
        type=_odd,
        default=33,
        metavar="K",
        help="of the kernels that least squares fit (default: 33)",
    )
    group.add_argument(
        "--grid",
        type=options.whole(1, 16),
        metavar="G",
        help="G x G of them over the image (default: 1 in table 1, whose blur is uniform, else 3)",
    )
    group.add_argument(
        "--faces",
        choices=("ffhq", "celeba_hq"),
        default="ffhq",
        help="what table 4 blurs (default: ffhq)",
    )
    group.add_argument(
        "--crop",
        type=options.whole(64),
        metavar="N",
        help="only the middle N x N of each image (default: 256, but whole images in tables 2, 5)",
    )
    group.add_argument(
        "--limit",
        type=options.whole(1),
        metavar="N",
        help="only N images of a dataset, at random (default: 500 in tables 1, 4, 5, all in 2, 3)",
    )


def _add_experiment(group: argparse._ArgumentGroup) -> None:
    evaluate_command.add_seeds(group)
    group.add_argument(
        "--steps",
        type=options.whole(1, 10_000_000),
        metavar="N",
        help="of each training (default: 600, of transfer 3600)",
    )
    options.add_seed(group, "of the first run, or of the images that --limit draws")


def _odd(text: str) -> int:
    value = options.whole(1, 127)(text)
    if value % 2 == 0:
        raise argparse.ArgumentTypeError(f"must be odd, got {text}")
    return value


def _run(args: argparse.Namespace) -> None:
    evaluate_command.run(args, _table if args.table else _EXPERIMENT[args.experiment])


def _table(args: argparse.Namespace) -> tuple[list[Any], Any]:
    from blurmodels.kernel_space.experiments import evaluate
    from blurmodels.kernel_space.experiments.columns import Source

    if args.table == "time":
        rows = _methods(args, compute_only=True)
        if not rows:
            raise options.UsageError("evaluate: --table time: needs --blind or --generator")
        table, scores = evaluate.times(rows, repeats=3)
        return [table], scores
    if args.data is None:
        raise options.UsageError("evaluate: argument --table: needs --data DIR")
    if not Path(args.data).is_dir():
        raise FileNotFoundError(2, "no such folder of datasets", args.data)
    source = Source(Path(args.data), args.limit, args.crop, args.faces, args.seed)
    encoders = _encoders(args)
    with tqdm(unit="image", disable=not options.show_progress(args)) as bar:
        if args.table in _RESTORED:
            table, scores = evaluate.restorations(
                args.table,
                source,
                _methods(args),
                encoder=encoders[0],
                lpips=_distance(args),
                progress=evaluate_command.shown(bar),
            )
        else:
            run = evaluate.transfers if args.table == "1" else evaluate.retrievals
            table, scores = run(source, encoders, progress=evaluate_command.shown(bar))
    return [table], scores


def _encoders(args: argparse.Namespace) -> list[Any]:
    """That of the weights, if there are any, then least squares."""
    from blurmodels.kernel_space.experiments import methods

    grid = args.grid or (1 if args.table == "1" else 3)
    return [*_encoded(args), methods.by_least_squares(args.kernel_size, grid)]


def _encoded(args: argparse.Namespace) -> list[Any]:
    """The encoder of the weights, if there are any."""
    from blurmodels.kernel_space.experiments import methods

    if args.weights is None:
        return []
    networks = methods.load_networks(args.weights)
    return [methods.by_networks(networks, f"blurops, {Path(args.weights).name}")]


def _methods(args: argparse.Namespace, *, compute_only: bool = False) -> list[Any]:
    """What restores; images restored before have no time."""
    from blurmodels.kernel_space.experiments import methods

    networks = None
    if "encoded" in args.blind:
        if args.weights is None:
            raise options.UsageError("evaluate: argument --blind encoded: needs --weights W")
        networks = methods.load_networks(args.weights)
    rows = [methods.by_blind(operator, networks) for operator in args.blind]
    rows += [methods.by_generator(path, name) for name, path in args.generator]
    if not compute_only:
        rows += [methods.from_files(path, name) for name, path in args.restored]
    evaluate_command.check_names(rows, [methods.UNTOUCHED])
    return rows


def _distance(args: argparse.Namespace) -> Any:
    if not args.lpips:
        return None
    from blurmodels.kernel_space.experiments.lpips import LPIPS

    return LPIPS(args.lpips)


def _experiment(args: argparse.Namespace, module: Any, number: str) -> tuple[list[Any], Any]:
    from blurmodels.kernel_space.experiments.paper import TABLES
    from blurmodels.kernel_space.experiments.small import Options

    steps = {} if args.steps is None else {"steps": args.steps}
    encoder = next(iter(_encoded(args)), None)
    runs = [
        module.compare(
            Options(seed=seed, **steps), encoder=encoder, progress=options.show_progress(args)
        )
        for seed in evaluate_command.seeds(args)
    ]
    return [TABLES[number], module.as_table(runs, Options(**steps))], runs


def _swap(args: argparse.Namespace) -> tuple[list[Any], Any]:
    from blurmodels.kernel_space.experiments import swapping

    tables, runs = _experiment(args, swapping, "2")
    return tables, [run._asdict() for run in runs]


def _augment(args: argparse.Namespace) -> tuple[list[Any], Any]:
    from blurmodels.kernel_space.experiments import augmentation

    return _experiment(args, augmentation, "4")


def _transfer(args: argparse.Namespace) -> tuple[list[Any], Any]:
    from blurmodels.kernel_space.experiments import transfer
    from blurmodels.kernel_space.experiments.paper import TABLES

    if args.weights is not None:
        raise options.UsageError(
            "evaluate: argument --weights: goes without --experiment transfer, which trains its own"
        )
    steps = {} if args.steps is None else {"steps": args.steps}
    runs = [
        transfer.compare(transfer.Options(seed=seed, **steps), progress=options.show_progress(args))
        for seed in evaluate_command.seeds(args)
    ]
    return [TABLES["1"], transfer.as_table(runs, transfer.Options(**steps))], runs


_EXPERIMENT = {"transfer": _transfer, "swap": _swap, "augment": _augment}
