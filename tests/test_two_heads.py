# SPDX-License-Identifier: BSD-3-Clause
"""The two-headed network: layers, weights files, and images of any size in tiles."""

import os
import pickle

import pytest
import torch

from blurmodels import checkpoints
from blurmodels.basis_kernels import TwoHeadsNetwork, estimate_field, network_input
from blurmodels.basis_kernels.estimate import predict


def meta(**options):
    with torch.device("meta"):
        return TwoHeadsNetwork(**options)


def narrow(seed=0, **options):
    torch.manual_seed(seed)
    network = TwoHeadsNetwork(**{"basis_size": 3, "width": 2, **options}).double()
    for parameter in network.parameters():
        parameter.data *= 2  # so that what happens far away is not lost on the way
    return network


def block(name, up, first, second, last):
    layers = {"up": up, "double_conv.0": first, "double_conv.2": second, "feat.0": last}
    return [(f"{name}.{layer}", shape) for layer, shape in layers.items()]


def published():
    """Every layer of the published weights and the shape of its weight, in order."""
    layers = [("inc_rgb.0", (64, 3, 3, 3)), ("inc_gray.0", (64, 1, 3, 3))]
    widths = (64, 64, 128, 256, 512, 1024)
    for j in range(1, 6):
        i, o = widths[j - 1], widths[j]
        layers += [
            (f"down{j}.double_conv.0", (o, i, 3, 3)),
            (f"down{j}.double_conv.2", (o, o, 3, 3)),
        ]
    layers += [("feat.0", (1024, 1024, 3, 3))]
    # Inputs, outputs, and what the last layer of the block reads: skip and map.
    for j, (i, o, s) in enumerate(
        ((1024, 512, 1536), (512, 256, 768), (256, 128, 384), (128, 64, 192), (64, 64, 128)), 1
    ):
        layers += block(f"up{j}", (i, i, 2, 2), (o, i, 3, 3), (o, o, 3, 3), (o, s, 3, 3))
    layers += [(f"masks_end.{n}", (o, 64, 3, 3)) for n, o in ((0, 64), (2, 64), (4, 25))]
    for j, (i, o, s) in enumerate(
        ((1024, 512, 1536), (512, 256, 768), (256, 256, 512), (256, 128, 256), (128, 64, 128)), 1
    ):
        layers += block(f"kernel_up{j}", (i, i, 2, 2), (o, i, 3, 3), (o, o, 3, 3), (o, s, 3, 3))
    layers += [("kernels_end.0", (64, 64, 2, 2))]
    return [*layers, ("kernels_end.2", (64, 64, 3, 3)), ("kernels_end.4", (25, 64, 3, 3))]


def test_layers_are_the_published_ones():
    wanted = {}
    for name, shape in published():
        wanted[f"{name}.weight"] = shape
        wanted[f"{name}.bias"] = (shape[1] if name.endswith(".up") else shape[0],)
    state = meta().state_dict()
    assert [(name, tuple(tensor.shape)) for name, tensor in state.items()] == list(wanted.items())


@pytest.mark.parametrize(
    ("options", "tensors", "numbers"),
    [
        ({}, 118, 79_829_298),
        ({"kernel_size": 65}, 126, 79_956_530),
        ({"upsampling": "bilinear"}, 98, 68_405_490),
        ({"basis_size": 9}, 118, 79_810_834),
    ],
)
def test_counts(options, tensors, numbers):
    state = meta(**options).state_dict()
    assert (len(state), sum(t.numel() for t in state.values())) == (tensors, numbers)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (97, 64)])
@pytest.mark.parametrize("options", [{}, {"kernel_size": 65}, {"upsampling": "bilinear"}], ids=str)
def test_output_is_convex_for_any_size(size, options):
    network = narrow(**options)
    for channels in (1, 3):
        kernels, mixing = network(torch.rand(2, channels, *size, dtype=torch.float64) - 0.5)
        side = options.get("kernel_size", 33)
        assert kernels.shape == (2, 3, side, side)
        assert mixing.shape == (2, 3, *size)
        assert kernels.min() >= 0
        assert mixing.min() >= 0
        torch.testing.assert_close(kernels.sum((2, 3)), torch.ones(2, 3).double())
        torch.testing.assert_close(mixing.sum(1), torch.ones(2, *size).double())


def test_the_kernels_come_from_means_and_the_skip_stands_in_front():
    """The definition, spelled out for one block and the bottom of the kernel decoder."""
    network = narrow()
    x = torch.rand(1, 3, 40, 32, dtype=torch.float64) - 0.5
    skips, features = network.encode(x)
    assert [tuple(s.shape[1:]) for s in skips] == [
        (2, 40, 32), (4, 20, 16), (8, 10, 8), (16, 5, 4), (32, 2, 2)
    ]  # fmt: skip
    assert features.shape == (1, 32, 1, 1)
    up, weights = network.kernel_up1, network.state_dict()
    lrelu = torch.nn.functional.leaky_relu
    y = torch.nn.functional.conv_transpose2d(
        features.mean((2, 3), keepdim=True),
        weights["kernel_up1.up.weight"], weights["kernel_up1.up.bias"], stride=2,
    )  # fmt: skip
    for layer in ("double_conv.0", "double_conv.2"):
        y = lrelu(
            torch.nn.functional.conv2d(
                y, weights[f"kernel_up1.{layer}.weight"], weights[f"kernel_up1.{layer}.bias"],
                padding=1,
            ), 0.01
        )  # fmt: skip
    skip = skips[4].mean((2, 3), keepdim=True).expand(-1, -1, 2, 2)
    y = torch.nn.functional.conv2d(
        torch.cat([skip, y], 1), weights["kernel_up1.feat.0.weight"],
        weights["kernel_up1.feat.0.bias"], padding=1,
    )  # fmt: skip
    got = up(features.mean((2, 3), keepdim=True), skip)
    torch.testing.assert_close(got, lrelu(y, 0.01))


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
def test_tiles_are_the_whole(upsampling):
    network = narrow(upsampling=upsampling)
    # Odd, and the last tiles are thin: narrower than a pixel of the coarsest level.
    x = torch.rand(1, 3, 266, 330, dtype=torch.float64) - 0.5
    with torch.inference_mode():
        kernels, mixing = network(x)
        tiled = predict(network, x, tile=96)
    assert mixing.std() > 1e-3
    torch.testing.assert_close(tiled[0], kernels, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(tiled[1], mixing, rtol=1e-12, atol=1e-15)


def test_estimate_field_is_the_network_in_our_conventions():
    network = narrow().float()
    image = torch.rand(1, 3, 40, 50)
    kernels, mixing = network(image**1.8 - 0.5)
    field = estimate_field(image, network, gamma=1.8)
    assert torch.equal(field.kernels, kernels)
    assert torch.equal(field.mixing, mixing)
    assert (field.boundary, field.meta["gamma"]) == ("reflect", 1.8)
    assert torch.equal(network_input(image), image**2.2 - 0.5)
    half = estimate_field(image, network, gamma=1.8, dtype=torch.bfloat16, channels_last=True)
    assert half.mixing.dtype == torch.float32
    assert half.mixing.is_contiguous()
    torch.testing.assert_close(half.mixing.sum(1), torch.ones(1, 40, 50))
    # bfloat16 has 8 bits; some twenty layers add up their roundings.
    assert 0 < (half.mixing - mixing).abs().max() < 20 * 2**-8
    compiled = estimate_field(image, network, gamma=1.8, compile="eager")
    torch.testing.assert_close(compiled.mixing, mixing)


@pytest.mark.parametrize(
    ("shape", "options", "error", "text"),
    [
        ((1, 3, 31, 40), {}, ValueError, "sides of at least 32 pixels, got 40 x 31"),
        ((1, 2, 40, 40), {}, ValueError, "without transparency, got (1, 2, 40, 40)"),
        ((2, 3, 40, 40), {}, ValueError, "image must be gray (1, 1, H, W)"),
        ((1, 3, 40, 40), {"tile": 100}, ValueError, "multiple of 32, got 100"),
        ((1, 3, 40, 40), {"gamma": 0}, ValueError, "gamma must be positive, got 0"),
        ((1, 3, 40, 40), {"dtype": torch.int8}, TypeError, "dtype must be None, torch.bfloat16"),
    ],
)
def test_what_is_no_image_is_refused(shape, options, error, text):
    with pytest.raises(error) as caught:
        estimate_field(torch.rand(shape), narrow().float(), **options)
    assert text in str(caught.value)
    with pytest.raises(TypeError, match=r"network's kind, torch.float64 on cpu"):
        estimate_field(torch.rand(1, 3, 40, 40), narrow())


def test_arguments_of_the_network():
    with pytest.raises(ValueError, match="kernel_size must be 33 or 65, got 31"):
        TwoHeadsNetwork(kernel_size=31)
    with pytest.raises(ValueError, match="one of transposed, bilinear, got 'nearest'"):
        TwoHeadsNetwork(upsampling="nearest")
    with pytest.raises(ValueError, match="basis_size must be a positive integer, got 0"):
        TwoHeadsNetwork(basis_size=0)
    with pytest.raises(ValueError, match="at least 32 pixels, got 40 x 31"):
        narrow()(torch.rand(1, 3, 31, 40).double())


@pytest.mark.parametrize(
    "options", [{}, {"upsampling": "bilinear", "kernel_size": 65, "basis_size": 5}], ids=str
)
def test_weights_there_and_back(tmp_path, options):
    """Safetensors with and without metadata, the authors' file with and without a prefix."""
    from safetensors.torch import save_file

    network = narrow(**options).float()
    state = network.state_dict()
    network.save_pretrained(tmp_path / "ours.safetensors", seed=3)
    checkpoints.write_pickled(tmp_path / "authors.pkl", state)
    torch.save(
        {"state_dict": {f"module.{n}": t for n, t in state.items()}}, tmp_path / "wrapped.pth"
    )
    torch.save(dict(state), tmp_path / "old.pkl", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "bare.safetensors")
    for name in ("ours.safetensors", "authors.pkl", "wrapped.pth", "old.pkl", "bare.safetensors"):
        again = TwoHeadsNetwork.from_pretrained(tmp_path / name)
        assert again.architecture == network.architecture, name
        assert not again.training
        assert list(again.state_dict()) == list(state)
        assert all(
            torch.equal(a, b)
            for a, b in zip(again.state_dict().values(), state.values(), strict=True)
        )
    assert checkpoints.load(tmp_path / "ours.safetensors").extra == {"seed": 3}
    exported = torch.load(tmp_path / "authors.pkl", weights_only=True)
    assert list(exported) == list(state)


def test_wrong_weights_are_one_readable_error(tmp_path):
    state = narrow().float().state_dict()
    state["extra"] = state.pop("feat.0.bias")
    state["up1.up.weight"] = torch.zeros(1, 2)
    checkpoints.write_pickled(tmp_path / "w.pkl", state)
    with pytest.raises(ValueError) as caught:
        TwoHeadsNetwork.from_pretrained(tmp_path / "w.pkl")
    text = str(caught.value)
    assert "1 unknown (extra), 1 missing (feat.0.bias)" in text
    assert "1 of another shape (up1.up.weight (1, 2), not (32, 32, 2, 2))" in text
    assert "\n" not in text
    checkpoints.save(tmp_path / "o.safetensors", state, model="other", architecture={})
    with pytest.raises(ValueError, match=r"TwoHeadsNetwork, got weights of other$"):
        TwoHeadsNetwork.from_pretrained(tmp_path / "o.safetensors")


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "was-run"
    for name, zipped in (("a.pkl", True), ("b.pkl", False)):
        torch.save(
            {"w": Malicious(str(mark))}, tmp_path / name, _use_new_zipfile_serialization=zipped
        )
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(Malicious(str(mark))))
    for name in ("a.pkl", "b.pkl", "c.pkl"):
        with pytest.raises(ValueError) as caught:
            TwoHeadsNetwork.from_pretrained(tmp_path / name)
        text = str(caught.value)
        assert text.startswith(f"load: weights '{tmp_path / name}' must be a state dict of tensors")
        assert "\n" not in text
        assert "weights_only" not in text
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "must be a complete safetensors file"),
        (b"text", "must be a complete safetensors file"),
        (b"PK\3\4 cut off", "a damaged file"),
    ],
)
def test_files_that_hold_no_weights(tmp_path, content, got):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ValueError, match=got):
        TwoHeadsNetwork.from_pretrained(tmp_path / "w")
    with pytest.raises(FileNotFoundError):
        TwoHeadsNetwork.from_pretrained(tmp_path / "none")
    torch.save([1], tmp_path / "list.pkl")
    with pytest.raises(ValueError, match="got list"):
        checkpoints.load(tmp_path / "list.pkl")
