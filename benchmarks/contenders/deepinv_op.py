# SPDX-License-Identifier: BSD-3-Clause
"""deepinv's product_convolution2d, an optional package: `pip install --no-deps deepinv`."""

import importlib
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Callable

from torch import Tensor

import blurops
from benchmarks.contenders.base import Call, Contender, fastest
from benchmarks.inputs import Inputs

_FOLDERS = ("deepinv", "deepinv.physics", "deepinv.physics.functional", "deepinv.utils")


def version() -> str | None:
    """The installed version, or ``None``."""
    try:
        return importlib.metadata.version("deepinv")
    except importlib.metadata.PackageNotFoundError:
        return None


def load() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """The operator and its adjoint.

    ``import deepinv`` pulls in torchvision, which needs the very torch it was built for. Where it
    does not load, the three files that hold the operator are imported without the packages around
    them; they need torch alone.
    """
    try:
        functional = importlib.import_module("deepinv.physics.functional")
    except (ImportError, RuntimeError):
        functional = _load_alone()
    return functional.product_convolution2d, functional.product_convolution2d_adjoint


def _load_alone() -> types.ModuleType:
    for name in [name for name in sys.modules if name.split(".")[0] == "deepinv"]:
        del sys.modules[name]
    spec = importlib.util.find_spec("deepinv")
    if spec is None:
        raise ModuleNotFoundError("pip install --no-deps deepinv takes it in")
    (root,) = spec.submodule_search_locations
    for name in _FOLDERS:
        package = types.ModuleType(name)
        package.__path__ = ["/".join([root, *name.split(".")[1:]])]
        sys.modules[name] = package
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, package)
    functional = sys.modules["deepinv.physics.functional"]
    for part in ("convolution", "multiplier", "product_convolution"):
        module = importlib.import_module(f"deepinv.physics.functional.{part}")
        functional.__dict__.update(
            {name: value for name, value in vars(module).items() if callable(value)}
        )
    return functional


def _prepared(inputs: Inputs, image: Tensor, which: int) -> Call:
    operator = load()[which]
    # True convolution there, correlation here.
    kernels, mixing = blurops.flip(inputs.kernels)[:, None], inputs.mixing[:, None]

    def call(use_fft: bool) -> list[Tensor]:
        options = {"padding": "reflect", "use_fft": use_fft, "mask_first": False}
        return [operator(image, mixing, kernels, **options)]

    choices = [True, False] if inputs.case.kernel < 17 else [True]
    return fastest(inputs.case.size, [lambda fft=fft: lambda: call(fft) for fft in choices])


CONTENDER = Contender(
    name="deepinv",
    about="deepinv's product_convolution2d and its adjoint, by FFT or (K < 17) the faster of FFT "
    "and direct.",
    members={
        "forward": lambda inputs: _prepared(inputs, inputs.image, 0),
        "adjoint": lambda inputs: _prepared(inputs, inputs.grad, 1),
    },
    kind="peer",
    planes=lambda case: 16.0,
)
