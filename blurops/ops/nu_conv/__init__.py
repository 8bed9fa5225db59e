# SPDX-License-Identifier: BSD-3-Clause
"""NU-Conv: each pixel applies a weighted sum of filters picked from a bank."""
