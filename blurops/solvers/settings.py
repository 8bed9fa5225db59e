# SPDX-License-Identifier: BSD-3-Clause
"""The choices Richardson-Lucy is made of, and the presets that fill them."""

from dataclasses import dataclass, replace
from typing import Any

from blurops import _check
from blurops.ops.rl_step import Saturation

_CHOICES = {
    "variant": ("basic", "function", "masked", "combined"),
    "adjoint": ("exact", "authors"),
    "combine": ("linear", "pixel"),
    "tv_form": ("forward", "sobel8"),
    "loss_form": ("response", "clamped"),
}


@dataclass(frozen=True)
class Settings:
    """Every choice, made. The names are those of :func:`blurops.richardson_lucy`'s arguments."""

    iterations: int = 30
    saturation: Saturation | None = None
    tv: float = 0.0
    stop_tol: float | None = None
    variant: str | None = None
    adjoint: str = "exact"
    normalise: bool = True
    combine: str = "linear"
    tv_form: str = "forward"
    loss_form: str = "response"


DEFAULT = Settings()

PRESETS = {
    # What the authors' command line runs.
    "carbajal2021": Settings(
        saturation=Saturation(dilate=False),
        tv=1e-3,
        stop_tol=1e-6,
        variant="combined",
        adjoint="authors",
        normalise=False,
        combine="pixel",
        tv_form="sobel8",
        loss_form="clamped",
    ),
    # Eqs. 9-14 as printed: the adjoint is exact, the column sums are missing, z is binary, the sets
    # are smoothed and not eroded. The paper gives no weight for TV: this one is the authors' own
    # 1e-3 times the factor of 8 in their divergence.
    "carbajal2021-paper": Settings(
        saturation=Saturation(erode=False),
        tv=8e-3,
        stop_tol=0.0,
        variant="combined",
        normalise=False,
    ),
}

# The authors' code stops one variant early and runs the others to the end.
_STOPPED_BY_AUTHORS = "combined"


def resolve(function: str, preset: str | None, **given: Any) -> Settings:
    """Fill the arguments left ``None`` from the preset, or from the defaults."""
    if preset is not None:
        _check.choice(function, "preset", preset, tuple(PRESETS))
    explicit = {name: value for name, value in given.items() if value is not None}
    for name, choices in _CHOICES.items():
        if name in explicit:
            _check.choice(function, name, explicit[name], choices)
    settings = replace(PRESETS[preset] if preset else DEFAULT, **explicit)
    if settings.variant is None:
        variant = "basic" if settings.saturation is None else "combined"
        settings = replace(settings, variant=variant)
    if settings.variant == "basic" and "saturation" in explicit:
        raise ValueError(
            _check.message(function, "saturation", "be left out of variant 'basic'", "one")
        )
    if settings.variant != "basic" and settings.saturation is None:
        settings = replace(settings, saturation=Saturation())
    if preset == "carbajal2021" and settings.variant != _STOPPED_BY_AUTHORS:
        settings = replace(settings, stop_tol=explicit.get("stop_tol"))
    return settings
