# SPDX-License-Identifier: BSD-3-Clause
"""Proofs that the tests can fail: planted bugs (run.py) and sanitizers (sanitizers.py)."""
