# SPDX-License-Identifier: BSD-3-Clause
"""Files of a classifier's weights, random, with the published names and shapes."""

import torch

_ALEX = ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3))


def write_alexnet(folder):
    """Torchvision's features and the linear layers of LPIPS: two paths, and all tensors."""
    generator = torch.Generator().manual_seed(2)
    features, linear = {"classifier.6.bias": torch.zeros(3)}, {}
    for layer, (number, outputs, inputs, side) in enumerate(_ALEX):
        shape = (outputs, inputs, side, side)
        spread = (2 / (inputs * side * side)) ** 0.5
        features[f"features.{number}.weight"] = spread * torch.randn(shape, generator=generator)
        features[f"features.{number}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
        linear[f"lin{layer}.model.1.weight"] = torch.rand(1, outputs, 1, 1, generator=generator)
    paths = folder / "alexnet.pth", folder / "alex.pth"
    for path, tensors in zip(paths, (features, linear), strict=True):
        torch.save(tensors, path)
    return paths, features | linear
