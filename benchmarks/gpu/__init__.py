# SPDX-License-Identifier: BSD-3-Clause
"""The same cases and baselines on a CUDA device, timed by its own clock."""
