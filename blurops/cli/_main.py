# SPDX-License-Identifier: BSD-3-Clause
"""Parses the command line, runs one command, and turns every failure into one line on stderr."""

import argparse
import contextlib
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import NoReturn

import torch

import blurops
from blurops.cli import _models, blur, deblur, demo, field, info
from blurops.cli._options import UsageError

_FAILURE, _USAGE, _INTERRUPTED = 1, 2, 130

_DESCRIPTION = """\
Blur photographs differently at every pixel, and take such blur away again.

A blur field (a .safetensors file) says how each pixel is blurred: a few basis kernels, and how
much of each every pixel takes. `blurops field` makes one, `blurops blur` applies it, and
`blurops deblur` undoes it. `blurops demo` shows all three on a photograph."""

_EPILOG = """\
examples:
  blurops demo -o out/
  blurops field photo.jpg --camera-shake --seed 7 -o shake.safetensors
  blurops blur photo.jpg --field shake.safetensors --noise 0.002 -o blurred.png
  blurops deblur blurred.png --field shake.safetensors -o restored.png
  blurops deblur street.jpg --motion 15,30 -o sharp.jpg

Each command has its own --help."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage that would push them off the screen."""

    def error(self, message: str) -> NoReturn:
        self.exit(_USAGE, f"blurops: {message} (see '{self.prog} --help')\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each command sets `run`."""
    parser = _Parser(
        prog="blurops",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"blurops {blurops.__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True
    )
    for module in (demo, deblur, blur, field, _models, info):
        module.register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after ``blurops``; those of the process by default.

    Returns:
        The exit status: 0, 1 after a failure, 2 after a wrong command line, 130 when interrupted.
    """
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as end:  # argparse has printed its help, the version, or one line
        return int(end.code or 0)
    try:
        with _one_line_warnings(), _threads(args.threads):
            args.run(args)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("blurops: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except UsageError as error:
        print(f"blurops: {error} (see 'blurops {args.command} --help')", file=sys.stderr)
        return _USAGE
    except BrokenPipeError:
        # The reader of our output is gone (`blurops info | head -1`). What is still buffered has
        # nowhere to go, and Python would complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILURE
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        print(f"blurops: {describe(error)}", file=sys.stderr)
        return _FAILURE
    return 0


def describe(error: Exception) -> str:
    """One line that says what went wrong, for the person at the keyboard."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        reason = error.strerror or text or type(error).__name__
        return f"{error.filename}: {reason}" if error.filename is not None else reason
    if isinstance(error, MemoryError) or "not enough memory" in text:
        return "not enough memory for an image of this size"
    if isinstance(error, ValueError | TypeError | NotImplementedError):
        # The library's errors open with the function's name, which the user has not called.
        return re.sub(r"^[A-Za-z_][\w.]*: ", "", text)
    return f"internal error, run again with --debug to see where: {type(error).__name__}: {text}"


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Prints warnings as one line each, without the source line that Python adds."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"blurops: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for category in (UserWarning, RuntimeWarning):
            warnings.simplefilter("default", category)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Computes with that many threads."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
