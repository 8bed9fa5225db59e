# SPDX-License-Identifier: BSD-3-Clause
"""The photograph that the command line is tried on."""

import torch

HEIGHT, WIDTH = 40, 56


def scene(height=HEIGHT, width=WIDTH, channels=3):
    """A picture with edges and gradients, in [0, 1]."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    checks = ((y // 6 + x // 8) % 2).float()
    planes = [0.15 + 0.6 * checks * (0.5 + 0.5 * torch.sin(x / (5 + c))) for c in range(channels)]
    return torch.stack(planes)[None].clamp(0, 1)
