# SPDX-License-Identifier: BSD-3-Clause
"""Timings of blurops beside other ways to compute the same: see docs/benchmarks.md."""
