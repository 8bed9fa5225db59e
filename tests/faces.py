# SPDX-License-Identifier: BSD-3-Clause
"""Small generators of faces."""

import torch


def tiny(kind, channels=(4, 3, 2), width=8, seed=0):
    """Random in everything: biases, strengths of noise, and asymmetric blur kernels too."""
    torch.manual_seed(seed)
    network = kind(2 << len(channels), width, channels).requires_grad_(False)
    for name, tensor in network.state_dict().items():
        rate = 0.01 if "dense" in name or name.startswith("style.") else 1
        tensor += 0.3 / rate * torch.randn_like(tensor)
    return network
