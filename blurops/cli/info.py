# SPDX-License-Identifier: BSD-3-Clause
"""``blurops info``: what this installation can do."""

import argparse
import os
import platform
from typing import Any

import torch

import blurops
from blurops import _native
from blurops.cli import _options as options

_DESCRIPTION = """\
Say which versions are installed and which backends compute, and of the others why not. Please
send its output with a report of a problem."""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = options.add_command(
        commands,
        "info",
        run,
        help="versions and active backends",
        description=_DESCRIPTION,
        epilog="example:\n  blurops info",
    )
    options.add_running(parser)


def run(args: argparse.Namespace) -> None:
    """Runs the command."""
    for name, value in describe():
        print(f"{name + ':':<12} {value}")


def describe() -> list[tuple[str, str]]:
    """The lines of the report, as (name, value)."""
    lines = [
        ("blurops", blurops.__version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("torch", torch.__version__),
        ("cpu", f"{os.cpu_count()} logical cores, {_instructions()}"),
        ("threads", str(torch.get_num_threads())),
        ("gpu", _gpu()),
        ("cuda half", _cuda_half()),
    ]
    for name, reason in blurops.backends().items():
        state = "active" if reason is None else f"not active: {' '.join(reason.split())}"
        lines.append((name, state))
    return lines


def _instructions() -> str:
    """Which CPU instructions torch and the native module use."""
    torch_uses = f"torch uses {torch.backends.cpu.get_cpu_capability()}"
    module = _native.module()
    return torch_uses if module is None else f"native uses {module.isa().upper()}, {torch_uses}"


def _gpu() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch for CUDA {torch.version.cuda}"
    return "none" if torch.version.cuda else "none, and this torch is built without CUDA"


def _cuda_half() -> str:
    """Whether the native module was built with its CUDA kernels, and whether they can run."""
    module = _native.module()
    if module is None:
        return "not built: there is no native module"
    status = module.cuda_status()
    if status is None:
        return "not built: no CUDA compiler was found"
    available, text = status
    return f"built, {'runs on' if available else 'cannot run:'} {text}"
