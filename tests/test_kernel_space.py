# SPDX-License-Identifier: BSD-3-Clause
"""F and G: equal to a transcription, with the published names; weights files; any image size."""

import pytest
import torch
from torch.nn import functional as fn

from blurmodels import checkpoints
from blurmodels.kernel_space import KernelWizard, resize_kernel


def narrow(seed=0, **options):
    torch.manual_seed(seed)
    network = KernelWizard(**{"width": 2, "kernel_dim": 6, **options}).double()
    for parameter in network.parameters():
        # What happens in the depths must be seen at the end, and no bias may be 0.
        parameter.data = parameter.data * 1.5 + 0.02 * torch.randn_like(parameter)
    return network


def published(vae):
    """Each tensor of the published weights and its shape, in order."""
    last = 1024 if vae else 512
    shapes = {}

    def layer(name, *shape, bias=None):
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = (bias,)

    def blocks(name, indices):
        for i in indices:
            for j in (1, 2):
                layer(f"{name}.{i}.conv{j}", 64, 64, 3, 3, bias=64)

    for i, inputs in ((0, 3), (2, 64), (4, 64)):
        layer(f"feature_extractor.{i}", 64, inputs, 3, 3, bias=64)
    blocks("feature_extractor", range(6, 16))
    layer("kernel_extractor.model.1", 64, 128, 7, 7)
    for i, o, c in ((4, 128, 64), (7, 256, 128), (10, 512, 256), (13, last, 512), (16, last, last)):
        layer(f"kernel_extractor.model.{i}", o, c, 3, 3)
    for i in range(19, 23):
        for j in (1, 5):
            layer(f"kernel_extractor.model.{i}.conv_block.{j}", last, last, 3, 3)
    adapter = [f"adapter.model.{'submodule.' * depth}" for depth in range(5)]
    layer(adapter[0] + "down.0", 64, 64, 4, 4)
    for i, (o, c) in enumerate(((128, 64), (256, 128), (512, 256), (512, 512)), 1):
        layer(adapter[i] + "down.1", o, c, 4, 4)
    for i, (c, o) in enumerate(((256, 64), (512, 128), (1024, 256), (1024, 512)), 1):
        layer(adapter[i] + "up.1", c, o, 4, 4)
    layer(adapter[0] + "up.1", 128, 64, 4, 4, bias=64)
    blocks("recon_trunk", range(20))
    for i, o in ((20, 256), (23, 256), (26, 64), (28, 3)):
        layer(f"recon_trunk.{i}", o, 64, 3, 3, bias=o)
    return shapes


@pytest.mark.parametrize(("vae", "count"), [(False, 49_205_187), (True, 115_265_475)])
def test_layers_are_the_published_ones(vae, count):
    with torch.device("meta"):
        state = KernelWizard(vae=vae).state_dict()
    assert {name: tuple(t.shape) for name, t in state.items()} == published(vae)
    assert len(state) == 159
    assert sum(t.numel() for t in state.values()) == count


def conv(w, name, x, **options):
    return fn.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), **options)


def transposed(w, name, x):
    return fn.conv_transpose2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride=2, padding=1)


def residuals(w, name, x, indices):
    for i in indices:
        inner = fn.relu(conv(w, f"{name}.{i}.conv1", x, padding=1))
        x = x + conv(w, f"{name}.{i}.conv2", inner, padding=1)
    return x


def features(w, x):
    for i, stride in ((0, 1), (2, 2), (4, 2)):
        x = conv(w, f"feature_extractor.{i}", x, stride=stride, padding=1)
        x = torch.where(x > 0, x, 0.1 * x)
    return residuals(w, "feature_extractor", x, range(6, 16))


def reflected(w, name, x, n):
    return conv(w, name, fn.pad(x, (n, n, n, n), mode="reflect"))


def transcribed_g(w, sharp, blurry):
    name = "kernel_extractor.model"
    x = torch.cat([features(w, sharp), features(w, blurry)], 1)
    x = fn.relu(reflected(w, f"{name}.1", x, 3))
    for i in (4, 7, 10, 13, 16):
        x = fn.relu(conv(w, f"{name}.{i}", x, stride=2, padding=1))
    for i in (19, 20, 21, 22):
        inner = fn.relu(reflected(w, f"{name}.{i}.conv_block.1", x, 1))
        x = x + reflected(w, f"{name}.{i}.conv_block.5", inner, 1)
    return x


def transcribed_f(w, image, k):
    sub = [f"adapter.model.{'submodule.' * depth}" for depth in range(5)]
    down = [conv(w, sub[0] + "down.0", features(w, image), stride=2, padding=1)]
    for level in (1, 2, 3, 4):
        # In place: what the skip passes on is activated.
        down[-1] = fn.leaky_relu(down[-1], 0.2)
        down.append(conv(w, sub[level] + "down.1", down[-1], stride=2, padding=1))
    x = torch.cat([down[4], k], 1)
    for level in (4, 3, 2, 1):
        x = torch.cat([transposed(w, sub[level] + "up.1", fn.relu(x)), down[level - 1]], 1)
    x = torch.tanh(transposed(w, sub[0] + "up.1", fn.relu(x)))
    x = residuals(w, "recon_trunk", x, range(20))
    for i in (20, 23):
        x = fn.leaky_relu(fn.pixel_shuffle(conv(w, f"recon_trunk.{i}", x, padding=1), 2), 0.1)
    x = fn.leaky_relu(conv(w, "recon_trunk.26", x, padding=1), 0.1)
    return image + conv(w, "recon_trunk.28", x, padding=1)


def close(a, b):
    return float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


@pytest.mark.parametrize("vae", [False, True])
@torch.no_grad()
def test_f_and_g_equal_a_transcription(vae):
    network = narrow(vae=vae)
    weights = network.state_dict()
    sharp, blurry = torch.rand(2, 2, 3, 384, 256, dtype=torch.float64)
    wanted = transcribed_g(weights, sharp, blurry)
    mean, sigma = network.encode(sharp, blurry)
    assert mean.shape == (2, 6, 3, 2)
    assert close(mean, wanted[:, :6])
    assert (sigma is None) == (not vae)
    assert not vae or close(sigma, wanted[:, 6:])
    # What F adds is small: hold it to its own size, and show that k matters to it.
    k = torch.randn(2, 6, 3, 2, dtype=torch.float64)
    added = network.apply_blur(sharp, k) - sharp
    assert close(added, transcribed_f(weights, sharp, k) - sharp)
    assert not close(added, network.apply_blur(sharp, k.roll(1, 1)) - sharp)


@torch.no_grad()
def test_both_in_one_are_g_and_then_f():
    network = narrow()
    sharp, blurry = torch.rand(2, 1, 3, 130, 300, dtype=torch.float64)
    made, k, _ = network(sharp, blurry)
    assert torch.equal(k, network.extract_kernel(sharp, blurry))
    assert close(made - sharp, network.apply_blur(sharp, k) - sharp)


@torch.no_grad()
def test_negative_entries_of_k_do_nothing():
    network, image = narrow(), torch.rand(1, 3, 128, 256, dtype=torch.float64)
    k = torch.randn(1, 6, 1, 2, dtype=torch.float64)
    assert torch.equal(network.apply_blur(image, k), network.apply_blur(image, k.clamp(min=0)))
    assert not torch.equal(network.apply_blur(image, k), network.apply_blur(image, k.clamp(max=0)))


@torch.no_grad()
def test_images_of_any_size_are_reflected_and_cropped():
    network = narrow()
    sharp, blurry = torch.rand(2, 1, 3, 130, 300, dtype=torch.float64)
    larger = [fn.pad(x, (0, 84, 0, 126), mode="reflect") for x in (sharp, blurry)]
    k = network.extract_kernel(sharp, blurry)
    assert torch.equal(k, network.extract_kernel(*larger))
    assert k.shape[2:] == (2, 3)
    cropped = network.apply_blur(larger[0], k)[:, :, :130, :300]
    assert torch.equal(network.apply_blur(sharp, k), cropped)
    other = torch.rand(1, 3, 128, 500, dtype=torch.float64)
    assert network.apply_blur(other, resize_kernel(k, (128, 500))).shape == other.shape
    flat = k.mean((2, 3), keepdim=True).expand(-1, -1, 2, 3)
    assert close(resize_kernel(flat, (720, 1280)), flat[:, :, :1, :1].expand(-1, -1, 6, 10))


@pytest.mark.parametrize("options", [{"vae": False}, {"vae": True}, {"detail": 9}])
def test_weights_files_round_trip_bit_for_bit(tmp_path, options):
    network = narrow(**options).float()
    network.export_published(tmp_path / "GOPRO.pth")
    plain = torch.load(tmp_path / "GOPRO.pth", weights_only=True)
    assert list(plain) == list(network.state_dict())
    found = KernelWizard.from_pretrained(tmp_path / "GOPRO.pth")
    assert found.architecture == network.architecture
    assert found.adapter.model.down[0].out_channels == options.get("detail", 2)
    assert not found.training
    found.save_pretrained(tmp_path / "ours.safetensors", note="x")
    KernelWizard.from_pretrained(tmp_path / "ours.safetensors").export_published(tmp_path / "b.pth")
    back = torch.load(tmp_path / "b.pth", weights_only=True)
    assert all(torch.equal(back[name], plain[name]) for name in plain)
    torch.save({"state_dict": {f"module.{n}": t for n, t in plain.items()}}, tmp_path / "c.pth")
    assert KernelWizard.from_pretrained(tmp_path / "c.pth").architecture == network.architecture


def test_other_weights_are_refused_in_one_sentence(tmp_path):
    state = narrow().float().state_dict()
    mixed = dict(state)
    mixed["kernel_extractor.model.13.weight"] = torch.zeros(12, 6, 3, 3)
    mixed["extra"] = mixed.pop("recon_trunk.28.bias")
    torch.save(mixed, tmp_path / "mixed.pth")
    with pytest.raises(ValueError, match=r"KernelWizard, got 1 unknown \(extra\)") as caught:
        KernelWizard.from_pretrained(tmp_path / "mixed.pth")
    assert "1 missing (recon_trunk.28.bias)" in str(caught.value)
    checkpoints.save(tmp_path / "x", state, model="basis_kernels.TwoHeadsNetwork", architecture={})
    with pytest.raises(
        ValueError, match=r"weights of kernel_space.KernelWizard, got weights of basis"
    ):
        KernelWizard.from_pretrained(tmp_path / "x")


def test_bad_input_is_refused():
    network = narrow().float()
    image = torch.rand(1, 3, 256, 256)
    with pytest.raises(ValueError, match="blurry must have the shape of sharp"):
        network.extract_kernel(image, image[:, :, :200])
    with pytest.raises(ValueError, match=r"at least 129 x 129 pixels .* got 128 x 256"):
        network.extract_kernel(image[..., :128], image[..., :128])
    with pytest.raises(ValueError, match=r"sharp must be \(N, 3, H, W\), got"):
        network.apply_blur(image[:, :1], torch.zeros(1, 6, 2, 2))
    with pytest.raises(TypeError, match="sharp must be a floating-point tensor"):
        network.apply_blur(image.byte(), torch.zeros(1, 6, 2, 2))
    with pytest.raises(ValueError, match=r"k must have 2 x 2 columns .* resize_kernel"):
        network.apply_blur(image, torch.zeros(1, 6, 3, 2))
    with pytest.raises(ValueError, match=r"k must be \(N or 1, 6, h, w\)"):
        network.apply_blur(image, torch.zeros(1, 5, 2, 2))
    with pytest.raises(ValueError, match="width must be a positive integer"):
        KernelWizard(width=0)
