# SPDX-License-Identifier: BSD-3-Clause
"""``blurops deblur --method irc``: inverse filters with residual compensation."""

import argparse
import os

from torch import Tensor

from blurops import Operator, admm_irc, difference_filters, inverse_blur
from blurops.cli import _options as options
from blurops.solvers.filter_cache import user_folder

# What only Richardson-Lucy knows: the option, and the name of its argument.
_OTHERS = {"--tv": "tv", "--saturation": "saturation", "--stop-tol": "stop_tol",
           "--preset": "preset"}  # fmt: skip

_STAGES, _THRESHOLD, _PENALTY = 10, 3e-3, 8.1e-3


def add_options(group: argparse._ArgumentGroup) -> None:
    """Adds what `--method irc` takes."""
    group.add_argument(
        "--threshold",
        type=options.number(above=0),
        metavar="T",
        help="of --method irc: differences between neighbouring pixels, in linear light, that"
        " count as noise; 0.001 to 0.03 is usual (default: 0.003)",
    )


def check(args: argparse.Namespace) -> None:
    """Raises where an option belongs to the other method."""
    if args.method == "rl":
        if args.threshold is not None:
            raise options.UsageError("deblur: argument --threshold: goes with --method irc only")
        return
    for option, name in _OTHERS.items():
        if getattr(args, name) is not None:
            raise options.UsageError(f"deblur: argument {option}: goes with --method rl only")
    if args.field is not None:
        raise options.UsageError(
            "deblur: argument --method: irc goes with --motion-field, --kernel and --motion"
        )


def restore(args: argparse.Namespace, pixels: Tensor, operator: Operator) -> tuple[Tensor, str]:
    """The restored image values, and what to say of it.

    Args:
        args: the command line.
        pixels: (1, C, H, W) image values, not negative.
        operator: the blur.
    """
    progress = options.show_progress(args)
    inverse = inverse_blur(
        operator, analysis=difference_filters(), penalty=_PENALTY, cache=_cache(),
        progress=progress,
    )  # fmt: skip
    threshold = _THRESHOLD if args.threshold is None else args.threshold
    result = admm_irc(
        pixels**args.gamma,
        operator,
        inverse,
        weight=threshold * _PENALTY,
        penalty=_PENALTY,
        stages=_STAGES if args.iterations is None else args.iterations,
        progress=progress,
    )
    done = f"{result.iterations} stages"
    if result.status == "diverged":
        done += " (diverged: this is the best of them)"
    return result.image.clamp(min=0) ** (1 / args.gamma), done


def _cache() -> str | bool:
    """Where inverse filters are kept; nowhere, if the user's folder cannot be written."""
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return str(folder) if os.access(folder, os.W_OK | os.X_OK) else False
