# SPDX-License-Identifier: BSD-3-Clause
"""The planted bugs, one module per part of the project, each with a tuple ``MUTANTS``."""

import importlib
import pkgutil

from proof.engine import Mutant


def load() -> tuple[Mutant, ...]:
    """All mutants of all modules of this package, in the order of their names."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(
        mutant
        for name in modules
        for mutant in importlib.import_module(f"{__name__}.{name}").MUTANTS
    )
