# SPDX-License-Identifier: BSD-3-Clause
"""Approximate inverses of blurs, as operators."""

import os
from collections.abc import Sequence

from torch import Tensor

from blurops._check import message
from blurops.operators import Operator, UniformBlur
from blurops.operators.operator import check_operator
from blurops.solvers.inverse_filters import inverse_filters


def inverse_blur(
    operator: Operator,
    *,
    size: int = 31,
    ridge: float = 1e-2,
    analysis: Tensor | Sequence[Tensor] | None = None,
    penalty: float = 0.0,
    cache: bool | str | os.PathLike[str] = False,
    progress: bool = False,
) -> tuple[Operator, ...]:
    name = "inverse_blur"
    check_operator(name, operator)
    if isinstance(operator, UniformBlur):
        bank = inverse_filters(
            operator.kernels[:, 0], size=size, ridge=ridge, analysis=analysis, penalty=penalty,
            cache=cache, progress=progress,
        )  # fmt: skip
        options = operator.options | {"boundary": "replicate" if operator.boundary == "valid" else operator.boundary}
        return tuple(UniformBlur(bank[:, i : i + 1], **options) for i in range(bank.shape[1]))
    raise NotImplementedError


def neighbours(name, inverses):
    raise NotImplementedError
