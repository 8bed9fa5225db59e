# SPDX-License-Identifier: BSD-3-Clause
"""What the model packages below `blurmodels` add to the command line.

blurops does not import them; their parsers are asked for when the command line is. A package takes
part by a module `commands`, light to import, with any of these functions:

- ``register(commands)`` adds commands of its own, such as ``blurops detect``;
- ``register_train(models)`` and ``register_evaluate(models)`` add one command, named after the
  package, below ``blurops train`` and ``blurops evaluate``;
- ``deblur(args)`` carries out ``blurops deblur IMAGE --model PACKAGE``, and ``add_deblur(group)``
  adds the options that only this model has. ``--weights`` is there already. Where no ``-o`` is
  given, the model chooses a name. ``TAKES_MOTION_FIELD``, where there is one, says that
  ``--motion-field`` may stand beside it.

`blurops.cli.options` has what they need to look and to behave like the other commands.
"""

import importlib
import importlib.util
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from blurops.cli import _options as options

_ROOT = "blurmodels"

_GROUPS = {
    "train": ("train a model's network", "Train the network of a model."),
    "evaluate": ("measure a model on data", "Measure a model on data, as its paper does."),
}


@cache
def models() -> dict[str, ModuleType]:
    """The `commands` module of each package that has one, by the package's name."""
    if importlib.util.find_spec(_ROOT) is None:
        return {}
    folder = importlib.import_module(_ROOT).__path__
    names = sorted(found.name for found in pkgutil.iter_modules(folder) if found.ispkg)
    modules = {name: f"{_ROOT}.{name}.commands" for name in names}
    return {
        name: importlib.import_module(module)
        for name, module in modules.items()
        if importlib.util.find_spec(module) is not None
    }


def having(function: str) -> dict[str, Any]:
    """What each package that has it calls so, by the package's name."""
    return {
        name: getattr(module, function)
        for name, module in models().items()
        if hasattr(module, function)
    }


def register(commands: Any) -> None:
    """Adds the commands of all packages."""
    for add in having("register").values():
        add(commands)
    for group, (text, description) in _GROUPS.items():
        members = having(f"register_{group}")
        if not members:
            continue
        parser = commands.add_parser(
            group,
            help=text,
            description=description,
            epilog=f"example:\n  blurops {group} {min(members)} --help",
            formatter_class=options.FORMATTER,
        )
        below = parser.add_subparsers(title="models", dest="model", metavar="MODEL", required=True)
        for add in members.values():
            add(below)
