# SPDX-License-Identifier: BSD-3-Clause
"""Pictures that survive a round trip through a file of their depth."""

import torch

LEVELS = {8: 255, 16: 65535}


def picture(channels=3, bits=8, height=13, width=18, seed=0):
    """Values that lie exactly on the levels of that depth."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, channels, height, width)
    return torch.randint(0, LEVELS[bits] + 1, shape, generator=generator) / LEVELS[bits]
