# SPDX-License-Identifier: BSD-3-Clause
"""LPIPS against a plain transcription of its formula, on random weights."""

import numpy as np
import pytest
import torch

from blurmodels.kernel_space.experiments import lpips as module
from blurmodels.kernel_space.experiments.lpips import BACKBONES, LPIPS
from tests.classifiers import write_alexnet


@pytest.fixture
def alexnet(tmp_path):
    """Two files, as torchvision's and the linear layers' are, and their tensors."""
    return write_alexnet(tmp_path)


def plain(tensors, first, second):
    """The published definition in float64: AlexNet's layers by name, the distance by loops."""
    nn = torch.nn
    conv = {"stride": 1, "padding": 1}
    layers = [
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, **conv), nn.ReLU(), nn.Conv2d(384, 256, 3, **conv), nn.ReLU(),
        nn.Conv2d(256, 256, 3, **conv), nn.ReLU(),
    ]  # fmt: skip
    network = nn.Sequential(*layers).double()
    network.load_state_dict({
        name.removeprefix("features."): tensor.double()
        for name, tensor in tensors.items() if name.startswith("features.")
    })  # fmt: skip
    sides = []
    for image in (first, second):
        values = (image[0].double() * 2 - 1).numpy()
        for channel, (shift, scale) in enumerate(
            ((-0.030, 0.458), (-0.088, 0.448), (-0.188, 0.450))
        ):
            values[channel] = (values[channel] - shift) / scale
        x, found = torch.from_numpy(values)[None], []
        for number, layer in enumerate(network):
            x = layer(x)
            if number in (1, 4, 7, 9, 11):
                found.append(x[0].detach().numpy())
        sides.append(found)
    total = 0.0
    for layer, (a, b) in enumerate(zip(*sides, strict=True)):
        weights = tensors[f"lin{layer}.model.1.weight"].double().flatten().numpy()
        at_pixels = []
        for row, column in np.ndindex(a.shape[1:]):
            u, v = (each[:, row, column] for each in (a, b))
            u, v = u / (np.sqrt((u**2).sum()) + 1e-10), v / (np.sqrt((v**2).sum()) + 1e-10)
            at_pixels.append((weights * (u - v) ** 2).sum())
        total += np.mean(at_pixels)
    return total


def images(height=70, width=64):
    generator = torch.Generator().manual_seed(3)
    first = torch.rand(1, 3, height, width, generator=generator)
    return first, (0.7 * first + 0.3 * torch.rand(first.shape, generator=generator)).roll(2, 3)


def test_alexnet_is_the_published_definition(alexnet):
    paths, tensors = alexnet
    distance, (first, second) = LPIPS(paths), images()
    assert distance.name == "AlexNet"
    assert distance(first, first) == 0
    found, expected = distance(first, second), plain(tensors, first, second)
    assert found == pytest.approx(expected, rel=1e-4)
    # Channels in another order, or values taken for [-1, 1] already, are another distance.
    assert abs(plain(tensors, first.flip(1), second.flip(1)) / expected - 1) > 1e-3
    assert abs(plain(tensors, first / 2, second / 2) / expected - 1) > 1e-3
    gray = first[:, :1], second[:, :1]
    assert distance(*gray) == distance(*(image.expand(-1, 3, -1, -1) for image in gray))


def test_a_whole_state_dict_serves_too(alexnet, tmp_path):
    paths, tensors = alexnet
    slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    whole = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part == "features":
            name = f"net.slice{slices[int(rest.split('.')[0])]}.{rest}"
        if part.startswith("lin"):
            whole[f"lins.{part[3:]}.{rest}"] = tensor
        whole[name] = tensor
    torch.save(whole, tmp_path / "whole.pth")
    assert LPIPS([tmp_path / "whole.pth"])(*images()) == LPIPS(paths)(*images())


def test_vgg16_has_its_layers():
    """Thirteen convolutions and the counts of the public file; what is compared, and where."""
    vgg = BACKBONES["VGG16"]
    numbers = [number for number, *_ in vgg.convolutions]
    assert numbers == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    shapes = module._shapes(vgg)
    features = [shape for name, shape in shapes.items() if name.startswith("features")]
    assert sum(int(np.prod(shape)) for shape in features) == 14_714_688
    linear = [shapes[f"lin{layer}.model.1.weight"][1] for layer in range(5)]
    assert linear == [64, 128, 256, 512, 512]
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    distance = object.__new__(LPIPS)
    distance.backbone, distance.tensors = vgg, weights
    found = [tuple(each.shape[1:]) for each in distance._features(torch.rand(1, 3, 64, 80))]
    sizes = [(64, 80), (32, 40), (16, 20), (8, 10), (4, 5)]
    assert found == [(count, *size) for count, size in zip(linear, sizes, strict=True)]


def test_errors(alexnet, tmp_path):
    (features, linear), tensors = alexnet
    with pytest.raises(ValueError, match=r"features of AlexNet and the linear layers, got 5 miss"):
        LPIPS([features])
    with pytest.raises(ValueError, match=r"alex.pth' must hold the features of VGG16"):
        LPIPS([linear])
    torch.save(tensors | {"lin0.model.1.weight": torch.zeros(1, 3, 1, 1)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"1 of another shape \(lin0.model.1.weight"):
        LPIPS([tmp_path / "x.pth"])
    distance, (first, second) = LPIPS([features, linear]), images()
    with pytest.raises(ValueError, match="truth must have the shape of image"):
        distance(first, second[:, :1])
    with pytest.raises(ValueError, match=r"image must be .* sides of at least 64, got \(1, 3, 63"):
        distance(first[:, :, :63], second)
