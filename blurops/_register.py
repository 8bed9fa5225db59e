# SPDX-License-Identifier: BSD-3-Clause
"""``declare()``: a schema, a shape rule, backends and gradient formulas become a torch op.

How a call travels: the public function -> the registered op -> :func:`_run` (checks, picks a
backend) -> the backend module beside the op's ``op.py``. Under ``torch.compile`` the shape rule
answers instead. The checks run inside the registered op, so ``torch.ops.blurops.*`` is as safe as
the public function.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from blurops import _check, _native

# Keeps the registrations alive for as long as the process imports blurops.
LIBRARY = torch.library.Library("blurops", "DEF")

_AUTOCAST_DEVICES = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}


@dataclass(frozen=True)
class Declaration:
    """What is known about one op; :data:`DECLARED` lists them all for the tests."""

    name: str
    shape: Callable[..., Sequence[int]]
    package: str
    backends: tuple[str, ...]
    names_backend: bool = False
    positional_defaults: tuple[Any, ...] = ()
    option_defaults: Mapping[str, Any] = field(default_factory=dict)
    values: Callable[..., None] | None = None

    def complete(self, args: tuple, options: dict) -> tuple[tuple, dict]:
        """The dispatcher leaves out arguments that equal their default; put them back."""
        missing = len(self.positional_defaults) - len(args)
        filled = args + self.positional_defaults[-missing:] if missing > 0 else args
        return filled, {**self.option_defaults, **options}

    def backend(self, name: str) -> ModuleType:
        """The module that implements this op for a backend; imported on first use."""
        return importlib.import_module(f"{self.package}.{name}")


DECLARED: dict[str, Declaration] = {}


def declare(
    schema: str,
    *,
    shape: Callable[..., Sequence[int]],
    package: str,
    backends: tuple[str, ...],
    backward: Callable[..., tuple] | None = None,
    autocast: torch.dtype | None = None,
    names_backend: bool = False,
    values: Callable[..., None] | None = None,
) -> Callable[..., Tensor]:
    """Register one op and return it.

    Args:
        schema: ``torch.library`` schema without the namespace; tensors positional, options
            keyword-only.
        shape: called with the op's arguments; checks them and returns the output's shape. It is the
            fake as well.
        package: the package that holds the backend modules, one function per op in each.
        backends: their names, in order of preference.
        backward: ``(grad, inputs, needs, options) -> gradients``, made of registered ops, so that
            it is itself differentiable. ``needs[i]`` says whether the gradient of positional input
            ``i`` is wanted.
        autocast: the dtype that inputs are cast to under autocast; ``None`` promotes them to their
            widest.
        names_backend: the functions of the backends take the ``backend`` that was asked for,
            because they call other ops.
        values: called as ``shape`` is, once that has passed; checks values where
            :func:`blurops._check.sees_values` lets it.
    """
    name = schema[: schema.index("(")]
    LIBRARY.define(schema)
    op = getattr(torch.ops.blurops, name).default
    positional = [a for a in op._schema.arguments if not a.kwarg_only]
    keyword = [a for a in op._schema.arguments if a.kwarg_only]
    declared = DECLARED[name] = Declaration(
        name=name,
        shape=shape,
        package=package,
        backends=backends,
        names_backend=names_backend,
        positional_defaults=tuple(a.default_value for a in positional),
        option_defaults={a.name: a.default_value for a in keyword},
        values=values,
    )

    def run(*args: Any, **options: Any) -> Tensor:
        args, options = declared.complete(args, options)
        return _run(declared, args, options)

    def fake(*args: Any, **options: Any) -> Tensor:
        args, options = declared.complete(args, options)
        return args[0].new_empty(tuple(shape(*args, **options)))

    LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"blurops::{name}", fake, lib=LIBRARY)
    if backward is not None:
        _register_gradient(name, backward, bool(keyword))
    _register_autocast(name, autocast)
    return getattr(torch.ops.blurops, name)


def _run(declared: Declaration, args: tuple, options: dict) -> Tensor:
    declared.shape(*args, **options)
    if declared.values is not None and _check.sees_values(args[0]):
        declared.values(*args, **options)
    find = _first_able if options.get("backend") is None else _asked_for
    module = find(declared, args, options)
    if not declared.names_backend:
        options.pop("backend", None)
    return getattr(module, declared.name)(*args, **options)


def _first_able(declared: Declaration, args: tuple, options: dict) -> ModuleType:
    for name in declared.backends:
        module = declared.backend(name)
        reason = module.supports(args, options)
        if reason is None:
            return module
        if name == "native":
            _native.warn_if_missing()
    raise NotImplementedError(f"{declared.name}: no backend can run this call: {reason}")


def _asked_for(declared: Declaration, args: tuple, options: dict) -> ModuleType:
    name = options["backend"]
    if name in declared.backends:
        module = declared.backend(name)
        reason = module.supports(args, options)
    else:
        reason = f"this version has no {name} implementation of {declared.name}"
    if reason is not None:
        raise NotImplementedError(
            f"{declared.name}: backend {name!r} cannot run this call: {reason}"
        )
    return module


def _register_gradient(name: str, formula: Callable[..., tuple], has_options: bool) -> None:
    def save(
        ctx: Any, inputs: tuple, output: Tensor, keyword_only_inputs: Mapping[str, Any]
    ) -> None:
        ctx.save_for_backward(*(a for a in inputs if isinstance(a, Tensor)))
        ctx.inputs = tuple(None if isinstance(a, Tensor) else a for a in inputs)
        ctx.is_tensor = tuple(isinstance(a, Tensor) for a in inputs)
        ctx.options = dict(keyword_only_inputs)

    def save_without_options(ctx: Any, inputs: tuple, output: Tensor) -> None:
        save(ctx, inputs, output, {})

    def backward(ctx: Any, grad: Tensor) -> tuple:
        tensors = iter(ctx.saved_tensors)
        inputs = tuple(
            next(tensors) if is_tensor else value
            for is_tensor, value in zip(ctx.is_tensor, ctx.inputs, strict=True)
        )
        return formula(grad, inputs, ctx.needs_input_grad, ctx.options)

    torch.library.register_autograd(
        f"blurops::{name}",
        backward,
        setup_context=save if has_options else save_without_options,
        lib=LIBRARY,
    )


def _register_autocast(name: str, dtype: torch.dtype | None) -> None:
    """Under autocast, networks hand over kernels and images of different dtypes: bring them to one.

    The ops accumulate in float32 whatever the storage, so nothing is gained by casting down.
    """
    op = getattr(torch.ops.blurops, name).default

    def make(key: str) -> Callable[..., Tensor]:
        excluded = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

        def cast_and_call(_keyset: Any, *args: Any, **options: Any) -> Tensor:
            with torch._C._ExcludeDispatchKeyGuard(excluded):
                return op(*_cast(args, dtype), **options)

        return cast_and_call

    for key in _AUTOCAST_DEVICES.values():
        LIBRARY.impl(name, make(key), key, with_keyset=True)


def _cast(args: tuple, dtype: torch.dtype | None) -> tuple:
    floating = [a for a in args if isinstance(a, Tensor) and a.is_floating_point()]
    if not floating or any(a.dtype == torch.float64 for a in floating):
        return args
    target = dtype
    for a in floating if dtype is None else ():
        target = a.dtype if target is None else torch.promote_types(target, a.dtype)
    return tuple(
        a.to(target) if isinstance(a, Tensor) and a.is_floating_point() else a for a in args
    )
