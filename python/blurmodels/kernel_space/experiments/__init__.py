# SPDX-License-Identifier: BSD-3-Clause
"""The tables and the experiments of the paper, as commands."""
