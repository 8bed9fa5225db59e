# SPDX-License-Identifier: BSD-3-Clause
"""Motion blur: each pixel is blurred along a straight motion of its own."""
