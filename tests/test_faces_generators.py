# SPDX-License-Identifier: BSD-3-Clause
"""StyleGAN, StyleGAN2: published names, equal to a transcription; weights files."""

import argparse
import math

import pytest
import torch
from torch.nn import functional as fn

from blurmodels import checkpoints
from blurmodels.kernel_space.faces import (
    StyleGAN,
    StyleGAN2,
    export_published,
    from_pretrained,
)
from tests.faces import tiny

# Wide apart, so that no two axes can be mistaken; up to the side that StyleGAN doubles otherwise.
CHANNELS, WIDTH = (6, 5, 4, 3, 2, 4), 7
KINDS = [StyleGAN, StyleGAN2]


def files(network, folder, suffix="pt"):
    names = ("mapping", "synthesis") if isinstance(network, StyleGAN) else ("stylegan2",)
    paths = [folder / f"{name}.{suffix}" for name in names]
    export_published(network, *paths)
    return paths


def published_stylegan(channels, width=512):
    """Names and shapes of both networks' tensors, in order."""
    mapping, synthesis = {}, {}
    for i in range(8):
        mapping |= {f"dense{i}.weight": (width, width), f"dense{i}.bias": (width,)}

    def conv(name, outputs, inputs, side):
        synthesis[f"{name}.weight"] = (outputs, inputs, side, side)
        synthesis[f"{name}.bias"] = (outputs,)

    def epilogue(name, n):
        synthesis[f"{name}.noise.weight"] = (n,)
        synthesis[f"{name}.style_mod.lin.weight"] = (2 * n, width)
        synthesis[f"{name}.style_mod.lin.bias"] = (2 * n,)

    conv("torgb", 3, channels[-1], 1)
    for level, n in enumerate(channels):
        block = f"blocks.{2 ** (level + 2)}x{2 ** (level + 2)}"
        if level == 0:
            synthesis |= {f"{block}.const": (1, n, 4, 4), f"{block}.bias": (n,)}
        else:
            conv(f"{block}.conv0_up", n, channels[level - 1], 3)
            synthesis[f"{block}.conv0_up.intermediate.kernel"] = (1, 1, 3, 3)
        epilogue(f"{block}.epi1", n)
        conv(f"{block}.{'conv1' if level else 'conv'}", n, n, 3)
        epilogue(f"{block}.epi2", n)
    return mapping, synthesis


def published_stylegan2(channels, width=512):
    shapes = {}
    for i in range(1, 9):
        shapes |= {f"style.{i}.weight": (width, width), f"style.{i}.bias": (width,)}

    def modulated(name, outputs, inputs, side, up=False):
        shapes[f"{name}.weight"] = (1, outputs, inputs, side, side)
        if up:
            shapes[f"{name}.blur.kernel"] = (4, 4)
        shapes[f"{name}.modulation.weight"] = (inputs, width)
        shapes[f"{name}.modulation.bias"] = (inputs,)

    def layer(name, outputs, inputs, up=False):
        modulated(f"{name}.conv", outputs, inputs, 3, up)
        shapes[f"{name}.noise.weight"] = (1,)
        shapes[f"{name}.activate.bias"] = (outputs,)

    def to_rgb(name, inputs, up=True):
        shapes[f"{name}.bias"] = (1, 3, 1, 1)
        if up:
            shapes[f"{name}.upsample.kernel"] = (4, 4)
        modulated(f"{name}.conv", 3, inputs, 1)

    shapes["input.input"] = (1, channels[0], 4, 4)
    layer("conv1", channels[0], channels[0])
    to_rgb("to_rgb1", channels[0], up=False)
    for i, n in enumerate(channels[1:]):
        layer(f"convs.{2 * i}", n, channels[i], up=True)
        layer(f"convs.{2 * i + 1}", n, n)
    for i, n in enumerate(channels[1:]):
        to_rgb(f"to_rgbs.{i}", n)
    for i in range(2 * len(channels) - 1):
        side = 2 ** ((i + 5) // 2)
        shapes[f"noises.noise_{i}"] = (1, 1, side, side)
    return shapes


def shapes(state):
    return [(name, tuple(tensor.shape)) for name, tensor in state.items()]


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_layers_are_the_published_ones():
    with torch.device("meta"):
        first, second = StyleGAN(), StyleGAN2()
    mapping, synthesis = published_stylegan([512] * 4 + [256, 128, 64, 32, 16])
    assert shapes(first.mapping_network.state_dict()) == list(mapping.items())
    assert shapes(first.synthesis_network.state_dict()) == list(synthesis.items())
    assert (len(mapping), count(first.mapping_network)) == (16, 2_101_248)
    assert (len(synthesis), count(first.synthesis_network)) == (100, 24_110_771)
    wanted = published_stylegan2([512] * 5 + [256, 128])
    assert shapes(second.state_dict()) == list(wanted.items())
    assert (len(wanted), count(second)) == (135, 30_034_338)
    assert len(list(second.parameters())) == 110
    assert (first.size, first.width, first.layers, len(first.noise_shapes)) == (1024, 512, 18, 18)
    assert (second.size, second.width, second.layers) == (256, 512, 14)
    assert second.noise_shapes == [(4, 4)] + [
        (s, s) for s in (8, 16, 32, 64, 128, 256) for _ in "ab"
    ]
    assert (
        first.noise_shapes[::2] == first.noise_shapes[1::2] == [(4 << i, 4 << i) for i in range(9)]
    )


def lrelu(x):
    return torch.where(x > 0, x, 0.2 * x)


def pixel_norm(z):
    return z / (z.pow(2).mean(1, keepdim=True) + 1e-8).sqrt()


def stylegan_mapping(t, z):
    w = pixel_norm(z)
    for i in range(8):
        weight = t[f"dense{i}.weight"] * (2**0.5 * 0.01 / z.shape[1] ** 0.5)
        w = lrelu(w @ weight.T + 0.01 * t[f"dense{i}.bias"])
    return w


def equalised(weight, gain=2**0.5):
    return weight * gain / math.sqrt(weight[0].numel())


def stylegan_up(t, name, x):
    """By 2, as the authors have it: below 128 by copies, else by a transposed convolution."""
    w = equalised(t[f"{name}.weight"])
    if x.shape[2] * 2 >= 128:
        w = fn.pad(w.permute(1, 0, 2, 3), (1, 1, 1, 1))
        w = w[:, :, 1:, 1:] + w[:, :, :-1, 1:] + w[:, :, 1:, :-1] + w[:, :, :-1, :-1]
        x = fn.conv_transpose2d(x, w, stride=2, padding=1)
    else:
        x = fn.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), w, padding=1)
    kernel = t[f"{name}.intermediate.kernel"]
    planes = fn.conv2d(x.flatten(0, 1)[:, None], kernel, padding=1)
    return planes.view_as(x) + t[f"{name}.bias"].view(1, -1, 1, 1)


def stylegan_epilogue(t, name, x, w, noise):
    x = lrelu(x + t[f"{name}.noise.weight"].view(1, -1, 1, 1) * noise)
    mean = x.mean((2, 3), keepdim=True)
    x = (x - mean) / ((x - mean).pow(2).mean((2, 3), keepdim=True) + 1e-5).sqrt()
    weight = t[f"{name}.style_mod.lin.weight"] / w.shape[1] ** 0.5
    style = (w @ weight.T + t[f"{name}.style_mod.lin.bias"]).view(len(w), 2, -1, 1, 1)
    return x * (style[:, 0] + 1) + style[:, 1]


def stylegan_synthesis(t, w, noise):
    for level in range(w.shape[1] // 2):
        block, i = f"blocks.{4 << level}x{4 << level}", 2 * level
        if level == 0:
            x = t[f"{block}.const"] + t[f"{block}.bias"].view(1, -1, 1, 1)
            name = f"{block}.conv"
        else:
            x = stylegan_up(t, f"{block}.conv0_up", x)
            name = f"{block}.conv1"
        x = stylegan_epilogue(t, f"{block}.epi1", x, w[:, i], noise[i])
        x = fn.conv2d(x, equalised(t[f"{name}.weight"]), t[f"{name}.bias"], padding=1)
        x = stylegan_epilogue(t, f"{block}.epi2", x, w[:, i + 1], noise[i + 1])
    return fn.conv2d(x, equalised(t["torgb.weight"], 1), t["torgb.bias"])


def stylegan2_mapping(t, z):
    w = pixel_norm(z)
    for i in range(1, 9):
        weight = t[f"style.{i}.weight"] * (0.01 / z.shape[1] ** 0.5)
        w = 2**0.5 * lrelu(w @ weight.T + 0.01 * t[f"style.{i}.bias"])
    return w


def fir(x, kernel, up, pad):
    """Zeros put in between, zeros around, and a convolution: the authors' upfirdn2d."""
    n, c, h, w = x.shape
    wide = torch.zeros(n, c, h * up, w * up, dtype=x.dtype)
    wide[:, :, ::up, ::up] = x
    wide = fn.pad(wide, (*pad, *pad)).flatten(0, 1)[:, None]
    return fn.conv2d(wide, kernel.flip(0, 1)[None, None]).unflatten(0, (n, c))[:, :, 0]


def modulated(t, name, x, w, demodulate=True):
    """A weight of its own for each picture, equations 1 and 3 of Karras et al. 2020."""
    style = w @ t[f"{name}.modulation.weight"].T / w.shape[1] ** 0.5 + t[f"{name}.modulation.bias"]
    pictures = []
    for picture, s in zip(x, style, strict=True):
        weight = equalised(t[f"{name}.weight"][0], 1) * s.view(1, -1, 1, 1)
        if demodulate:
            weight = weight / (weight.pow(2).sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if f"{name}.blur.kernel" in t:
            y = fn.conv_transpose2d(picture[None], weight.transpose(0, 1), stride=2)
            pictures.append(fir(y, t[f"{name}.blur.kernel"], 1, (1, 1)))
        else:
            pictures.append(fn.conv2d(picture[None], weight, padding=weight.shape[2] // 2))
    return torch.cat(pictures)


def stylegan2_synthesis(t, w, noise):
    def layer(name, x, latent, noise):
        x = modulated(t, f"{name}.conv", x, latent) + t[f"{name}.noise.weight"] * noise
        return 2**0.5 * lrelu(x + t[f"{name}.activate.bias"].view(1, -1, 1, 1))

    def rgb(name, x, latent):
        return modulated(t, f"{name}.conv", x, latent, demodulate=False) + t[f"{name}.bias"]

    x = layer("conv1", t["input.input"].repeat(len(w), 1, 1, 1), w[:, 0], noise[0])
    picture = rgb("to_rgb1", x, w[:, 1])
    for i in range(1, w.shape[1] - 2, 2):
        x = layer(f"convs.{i - 1}", x, w[:, i], noise[i])
        x = layer(f"convs.{i}", x, w[:, i + 1], noise[i + 1])
        name = f"to_rgbs.{i // 2}"
        picture = fir(picture, t[f"{name}.upsample.kernel"], 2, (2, 1))
        picture = picture + rgb(name, x, w[:, i + 2])
    return picture


def close(a, b):
    return a.shape == b.shape and float((a - b).abs().max()) <= 1e-9 * float(b.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_networks_equal_a_transcription(kind):
    network = tiny(kind, CHANNELS, WIDTH).double()
    z = torch.randn(2, WIDTH, dtype=torch.float64)
    w = torch.randn(2, network.layers, WIDTH, dtype=torch.float64)
    noise = [torch.randn(2, 1, *shape, dtype=torch.float64) for shape in network.noise_shapes]
    noise[1] = noise[1][:1]
    state = network.state_dict()
    if kind is StyleGAN:
        parts = (network.mapping_network.state_dict(), network.synthesis_network.state_dict())
        wanted = stylegan_mapping(parts[0], z), stylegan_synthesis(parts[1], w, noise)
    else:
        wanted = stylegan2_mapping(state, z), stylegan2_synthesis(state, w, noise)
    assert close(network.mapping(z), wanted[0])
    assert wanted[1].shape == (2, 3, 128, 128)
    assert close(network.synthesis(w, noise), wanted[1])
    tiled = network.mapping(z)[:, None].repeat(1, network.layers, 1)
    assert close(network(z, noise), network.synthesis(tiled, noise))


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_blur_kernels_keep_a_constant(kind):
    kernels = [t for name, t in kind(16, 4, (2, 2, 2)).state_dict().items() if "kernel" in name]
    row = torch.tensor([1.0, 2, 1] if kind is StyleGAN else [1.0, 3, 3, 1]) / 4
    assert len(kernels) == (2 if kind is StyleGAN else 4)
    assert all(torch.equal(kernel.squeeze(), row[:, None] * row) for kernel in kernels)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_files_round_trip_bit_for_bit(tmp_path, kind):
    network = tiny(kind)
    paths = files(network, tmp_path)
    plain = [torch.load(path, weights_only=True) for path in paths]
    if kind is StyleGAN:
        mapping, synthesis = published_stylegan([4, 3, 2], 8)
        assert [shapes(part) for part in plain] == [list(mapping.items()), list(synthesis.items())]
    else:
        assert list(plain[0]) == ["g_ema"]
        assert shapes(plain[0]["g_ema"]) == list(published_stylegan2([4, 3, 2], 8).items())
    found = from_pretrained(*reversed(paths))
    assert type(found) is kind
    assert found.architecture == {"size": 16, "width": 8, "channels": [4, 3, 2]}
    assert not found.training
    found.save_pretrained(tmp_path / "ours.safetensors")
    ours = kind.from_pretrained(tmp_path / "ours.safetensors")
    state = network.state_dict()
    for back in (found.state_dict(), ours.state_dict()):
        assert list(back) == list(state)
        assert all(torch.equal(back[name], state[name]) for name in state)
    with pytest.raises(ValueError, match=r"paths must be . for StyleGAN2?, got 3"):
        export_published(network, *"abc")


def test_stylegan2_is_read_as_the_authors_do_it(tmp_path):
    network = tiny(StyleGAN2)
    state = network.state_dict()
    learned = dict(network.named_parameters())
    beside = {"args": argparse.Namespace(size=16), "d": {"x": torch.ones(1)}}
    partial = learned | {"beside": torch.ones(1)}
    torch.save({"g_ema": partial} | beside, tmp_path / "partial.pt")
    random = torch.get_rng_state()
    found = from_pretrained(tmp_path / "partial.pt")
    assert torch.equal(torch.get_rng_state(), random)
    assert list(found.state_dict()) == list(state)
    assert all(torch.equal(found.state_dict()[name], learned[name]) for name in learned)
    kernel = torch.tensor([1.0, 3, 3, 1]) / 4
    assert torch.equal(found.convs[2].conv.blur.kernel, kernel[:, None] * kernel)
    assert found.noises.noise_4.std() > 0.5


def test_other_weights_are_refused_in_one_sentence(tmp_path):
    first, second = tiny(StyleGAN), tiny(StyleGAN2)
    mapping, synthesis = files(first, tmp_path)
    (both,) = files(second, tmp_path)
    with pytest.raises(
        ValueError, match=r"must hold weights of StyleGAN, got weights of StyleGAN2$"
    ):
        StyleGAN.from_pretrained(both)
    with pytest.raises(
        ValueError, match=r"must hold weights of StyleGAN2, got weights of StyleGAN$"
    ):
        StyleGAN2.from_pretrained(mapping, synthesis)
    with pytest.raises(
        ValueError, match=r"its mapping and its synthesis .* nothing of the synthesis"
    ):
        from_pretrained(mapping)
    with pytest.raises(ValueError, match="each network once, got one of them twice"):
        from_pretrained(mapping, mapping)
    with pytest.raises(ValueError, match="of one generator, got StyleGAN and StyleGAN2"):
        from_pretrained(mapping, both)
    with pytest.raises(ValueError, match="of one generator, got no file"):
        from_pretrained()
    state = torch.load(synthesis, weights_only=True)
    state["blocks.4x4.other"] = state.pop("blocks.8x8.epi2.noise.weight")
    torch.save(state, synthesis)
    with pytest.raises(
        ValueError,
        match=r"of StyleGAN, got 1 unknown \(synthesis_network.blocks.4x4.other\), 1 missing"
        r" \(synthesis_network.blocks.8x8.epi2.noise.weight\)$",
    ):
        from_pretrained(mapping, synthesis)
    state = dict(second.state_dict())
    state["other"] = state.pop("convs.1.noise.weight")
    torch.save({"g_ema": state}, both)
    with pytest.raises(
        ValueError, match=r"1 unknown \(other\), 1 missing \(convs.1.noise.weight\)$"
    ):
        from_pretrained(both)
    checkpoints.save(tmp_path / "x", {"a": torch.ones(1)}, model="irc.MotionNet", architecture={})
    with pytest.raises(ValueError, match=r"StyleGAN2, got weights of irc.MotionNet$"):
        from_pretrained(tmp_path / "x")
    torch.save({"a": torch.ones(1)}, both)
    with pytest.raises(ValueError, match=r"StyleGAN or StyleGAN2, got 1 tensors \(a"):
        from_pretrained(both)


def test_bad_input_is_refused():
    network = tiny(StyleGAN2)
    noise = [torch.zeros(1, 1, *shape) for shape in network.noise_shapes]
    w = torch.zeros(3, 6, 8)
    assert network.synthesis(w, noise).shape == (3, 3, 16, 16)
    with pytest.raises(ValueError, match=r"z must be \(N, 8\), got \(2, 7\)"):
        network.mapping(torch.zeros(2, 7))
    with pytest.raises(ValueError, match=r"w must be \(N, 6, 8\), got \(3, 5, 8\)"):
        network.synthesis(w[:, 1:], noise)
    with pytest.raises(ValueError, match="noise must be 5 maps, got 6"):
        network.synthesis(w, [*noise, noise[-1]])
    noise[1] = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"noise\[1\] must be \(N or 1, 1, 8, 8\) for 3 pictures"):
        network.synthesis(w, noise)
    with pytest.raises(ValueError, match="size must be a power of two, at least 8, got 24"):
        StyleGAN(24)
    with pytest.raises(ValueError, match=r"channels must have 3 numbers, for the sides 4 to 16"):
        StyleGAN(16, 8, (4, 4))
    with pytest.raises(ValueError, match="channels must be positive integers, got 0"):
        StyleGAN2(8, 8, (4, 0))
