# SPDX-License-Identifier: BSD-3-Clause
"""Blurs as linear operators: ``forward``, ``adjoint``, ``.T``, ``@``."""

from blurops.operators.gather import MotionBlur, NUConv
from blurops.operators.mixed import BasisBlur, UniformBlur
from blurops.operators.operator import Operator, check_adjoint

__all__ = ["BasisBlur", "MotionBlur", "NUConv", "Operator", "UniformBlur", "check_adjoint"]
