# SPDX-License-Identifier: BSD-3-Clause
"""Motion-Net: what it gives, and its files. The picture of what it gives."""

import math

import pytest
import torch

from blurmodels import checkpoints
from blurmodels.irc import MotionNet
from blurmodels.irc.motion_net import doubled, from_doubled
from blurmodels.irc.motion_picture import arrow_ends, plot_motion_field
from blurops import motion_blur


def narrow(seed=0, **options):
    torch.manual_seed(seed)
    network = MotionNet(**{"depth": 18, "width": 2, "blocks": (1, 1, 1, 1), **options})
    torch.nn.init.normal_(network.last.weight, std=0.3)
    return network.double()


def test_doubled_vectors_know_neither_sign_nor_jump():
    length = torch.tensor([[[1.0, 4.0, 7.5, 7.5, 3.0]]], dtype=torch.float64)
    angle = torch.tensor([[[0.3, 1.0, 0.0, -1e-9, 2.5]]], dtype=torch.float64)
    vectors = doubled(length, angle)
    torch.testing.assert_close(vectors, doubled(length, angle + math.pi))
    assert (vectors[..., 2] - vectors[..., 3]).abs().max() < 1e-7
    back = from_doubled(vectors)
    torch.testing.assert_close(back[0], length)
    assert bool(((back[1] >= 0) & (back[1] < math.pi)).all())
    away = torch.remainder(back[1] - angle + 1, math.pi) - 1
    assert away[..., 1:].abs().max() < 1e-8
    assert back[1][..., 0] == 0


def test_gradients_are_finite_where_nothing_moves():
    vectors = torch.zeros(1, 2, 2, 2, requires_grad=True)
    length, angle = from_doubled(vectors)
    (length + angle).sum().backward()
    assert torch.equal(vectors.grad, torch.zeros_like(vectors))


@pytest.mark.parametrize("output", ["doubled", "polar"])
@pytest.mark.parametrize("depth", [18, 50])
def test_gives_motions_that_motion_blur_takes(output, depth):
    network = narrow(output=output, depth=depth, output_stride=16)
    observed = torch.rand(2, 3, 33, 50, dtype=torch.float64)
    length, angle = (each.detach() for each in network(observed))
    assert length.shape == angle.shape == (2, 33, 50)
    assert 1 <= float(length.min()) < float(length.max())
    assert 0 <= float(angle.min()) < float(angle.max()) < math.pi
    assert motion_blur(observed, length, angle).shape == observed.shape
    gray = observed[:, :1]
    for one, other in zip(network(gray), network(gray.expand(-1, 3, -1, -1)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_strides_are_what_they_are_called(stride):
    network = narrow(output_stride=stride)
    seen = []
    network.last.register_forward_hook(lambda _, __, result: seen.append(result.shape[2:]))
    for size in ((64, 96), (61, 65), (1, 1)):
        assert network(torch.rand(1, 3, *size, dtype=torch.float64))[0].shape[1:] == size
    side = 64 // stride
    wanted = [(side, 96 // stride), (math.ceil(61 / stride), max(2, math.ceil(65 / stride)))]
    assert [tuple(shape) for shape in seen] == [*wanted, (2, 2)]


def test_padding_is_the_nearest_pixel_to_the_right_and_below():
    network = narrow()
    observed = torch.rand(1, 3, 29, 33, dtype=torch.float64)
    whole = torch.nn.functional.pad(observed, (0, 7, 0, 3), mode="replicate")
    for cut, full in zip(network(observed), network(whole), strict=True):
        assert torch.equal(cut, full[:, :29, :33])


def test_an_image_is_a_batch():
    network = narrow()
    observed = torch.rand(3, 3, 32, 40, dtype=torch.float64)
    together = network(observed)[0]
    alone = torch.cat([network(observed[i : i + 1])[0] for i in range(3)])
    torch.testing.assert_close(together, alone)


def test_depths_are_those_of_residual_networks():
    with torch.device("meta"):
        sizes = {depth: MotionNet(depth) for depth in (18, 50, 101)}
    # Convolutions that count for the name: the backbone's without shortcuts, and the last layer.
    for depth, network in sizes.items():
        inside = [network.stem, *(unit for s in network.stages for b in s for unit in b.units)]
        assert len(inside) + 1 == depth
    assert sizes[101].stages[3][0].units[2][0].weight.shape[0] == 2048
    assert isinstance(sizes[101].stem[1], torch.nn.InstanceNorm2d)


def test_what_is_computed_again_is_the_same():
    observed = torch.rand(1, 3, 40, 50, dtype=torch.float64)
    network, kept, found = narrow(depth=50, output_stride=8), [], []
    for network.recompute in (False, True):
        tensors = {}

        def keep(tensor, tensors=tensors):
            tensors[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            length, angle = network(observed)
        kept.append(sum(tensors.values()))
        found.append(torch.autograd.grad((length * angle).sum(), list(network.parameters())))
    assert all(map(torch.equal, *found))
    assert kept[1] < 0.6 * kept[0]
    assert "recompute" not in network.architecture


def test_files(tmp_path):
    network = narrow(output="polar", output_stride=16).float()
    network.save_pretrained(tmp_path / "w.safetensors", seed=1)
    found = MotionNet.from_pretrained(tmp_path / "w.safetensors")
    assert found.architecture == network.architecture
    observed = torch.rand(1, 3, 32, 40)
    for one, other in zip(network(observed), found(observed), strict=True):
        assert torch.equal(one, other)
    checkpoints.write_pickled(tmp_path / "w.pt", network.state_dict())
    with pytest.raises(ValueError, match="must say what network it is for"):
        MotionNet.from_pretrained(tmp_path / "w.pt")
    wrong = {**network.architecture, "width": 3}
    checkpoints.save(
        tmp_path / "x.safetensors", network.state_dict(), model=network.name, architecture=wrong
    )
    with pytest.raises(ValueError, match="of another shape"):
        MotionNet.from_pretrained(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"depth": 19}, "depth must be one of 18, 34, 50, 101, got 19"),
        ({"output_stride": 2}, "output_stride must be one of 4, 8, 16, 32, got 2"),
        ({"output": "xy"}, "output must be one of doubled, polar, got 'xy'"),
        ({"width": 0}, "width must be a positive integer, got 0"),
        ({"blocks": (1, 2)}, "blocks must be four positive integers"),
    ],
)
def test_bad_arguments_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        MotionNet(**options)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"observed must be \(N, 3, H, W\) or .* got \(1, 2, 8"):
        narrow()(torch.rand(1, 2, 8, 8))
    with pytest.raises(TypeError, match="must be a floating-point tensor"):
        narrow()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_arrows_lie_along_the_motion():
    length, angle = torch.full((1, 9, 11), 5.0), torch.full((1, 9, 11), math.pi / 2)
    length[0, 4, 5], angle[0, 4, 5] = 9.0, math.pi / 6
    ends = arrow_ends(length, angle, 4)
    # A grid in the middle: rows 0, 4, 8 and columns 1, 5, 9.
    assert ends.shape == (9, 2, 2)
    assert torch.allclose(ends.mean(1)[4], torch.tensor([5.0, 4.0]).double())
    way = ends[4, 1] - ends[4, 0]
    # To the right and up, which is smaller y.
    wanted = torch.tensor([8 * math.cos(math.pi / 6), -4.0]).double()
    assert torch.allclose(way, wanted, atol=1e-6)
    image = torch.rand(1, 1, 9, 11)
    figure = plot_motion_field(image, length, angle, spacing=4)
    lines = figure.axes[0].collections[0].get_segments()
    assert [line.tolist() for line in lines] == ends.tolist()
    with pytest.raises(ValueError, match="angle must have the image's size"):
        plot_motion_field(image, length, angle[:, :3])
