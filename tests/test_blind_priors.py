# SPDX-License-Identifier: BSD-3-Clause
"""Blind deblurring in a kernel space: its priors and losses, against what is specified."""

import itertools

import pytest
import torch
from torch.nn import functional

from blurmodels import evaluation
from blurmodels.kernel_space import ImageDIP, KernelDIP, blind_encoded, losses_blind
from blurmodels.kernel_space.priors import Doubled


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def norm(x, state, name):
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
    weight, bias = (state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def conv(x, state, name, stride=1):
    weight = state[f"{name}.weight"]
    bias = state[f"{name}.bias"]
    return functional.conv2d(x, weight, bias, stride, padding=weight.shape[2] // 2)


def literal_prior(state, x, name, level, scales, non_local):
    """One scale of the image prior and all below, by the names of its tensors."""

    def block(x, name, first, stride=1):
        x = norm(conv(x, state, f"{name}.{first}.0", stride), state, f"{name}.{first + 1}")
        return functional.leaky_relu(x, 0.2)

    skip, deeper = block(x, f"{name}.1.0", 1), f"{name}.1.1"
    y, at = block(x, deeper, 1, stride=2), 4
    if level >= non_local:
        inner = f"{deeper}.{at}"
        theta = conv(y, state, f"{inner}.theta").flatten(2)
        phi, g = (
            functional.max_pool2d(conv(y, state, f"{inner}.{part}.0"), 2).flatten(2)
            for part in ("phi", "g")
        )
        weights = theta.mT @ phi / phi.shape[2]
        mixed = (weights @ g.mT).mT.reshape(*y.shape[:1], -1, *y.shape[2:])
        y, at = y + norm(conv(mixed, state, f"{inner}.W.0"), state, f"{inner}.W.1"), at + 1
    y, at = block(y, deeper, at), at + 3
    if level + 1 < scales:
        y = literal_prior(state, y, f"{deeper}.{at}", level + 1, scales, non_local)
    y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
    height, width = (min(skip.shape[axis], y.shape[axis]) for axis in (2, 3))
    parts = []
    for part in (skip, y):
        top, left = (part.shape[2] - height) // 2, (part.shape[3] - width) // 2
        parts.append(part[..., top : top + height, left : left + width])
    y = norm(torch.cat(parts, 1), state, f"{name}.2")
    return block(block(y, name, 3), name, 6)


def test_image_prior_is_what_is_specified():
    torch.manual_seed(1)
    prior = ImageDIP(3, width=6, skip=2, scales=3, non_local=1)
    for value in prior.parameters():  # also what starts from zero
        torch.nn.init.normal_(value, std=0.4)
    noise = torch.rand(1, 3, 38, 45)
    state = {name: value.detach() for name, value in prior.state_dict().items()}
    wanted = literal_prior(state, noise, "model", 0, 3, 1)
    wanted = conv(wanted, state, "model.9.0").sigmoid()
    torch.testing.assert_close(prior(noise), wanted, rtol=1e-4, atol=1e-5)


def test_doubling_has_the_gradients_of_interpolation():
    x = torch.rand(2, 3, 5, 1, dtype=torch.float64, generator=seeded(), requires_grad=True)
    for image in (x, x.expand(-1, -1, -1, 4)):
        found, wanted = (
            Doubled()(image),
            functional.interpolate(image, scale_factor=2, mode="bilinear"),
        )
        assert torch.equal(found, wanted)
        weights = torch.rand(found.shape, dtype=torch.float64, generator=seeded(1))
        one, other = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, wanted))
        torch.testing.assert_close(one, other)
    half = x.detach().bfloat16().requires_grad_()
    Doubled()(half).sum().backward()
    assert half.grad.dtype == torch.bfloat16


def test_kernel_prior_is_what_is_specified():
    with torch.device("meta"):
        whole = KernelDIP()
    assert len(whole.state_dict()) == 36
    assert sum(p.numel() for p in whole.parameters()) == 34_787_264
    prior = KernelDIP(4, 8, blocks=2)
    state = prior.state_dict()
    x = noise = torch.rand(1, 4, 64, 70)
    x = functional.conv2d(
        functional.pad(x, (3,) * 4, "reflect"), state["model.1.weight"], state["model.1.bias"]
    ).relu()
    for index in (4, 7, 10, 13, 16):
        x = conv(x, state, f"model.{index}", stride=2).relu()
    for index in (19, 20):
        y = x
        for part in (1, 5):
            name = f"model.{index}.conv_block.{part}"
            y = functional.pad(y, (1,) * 4, "reflect")
            y = functional.conv2d(y, state[f"{name}.weight"], state[f"{name}.bias"])
            y = y.relu() if part == 1 else y
        x = x + y
    assert x.shape == (1, 8, 2, 3)
    torch.testing.assert_close(prior(noise), x, rtol=1e-4, atol=1e-5)


def test_similarity_is_that_of_scikit_image():
    """With a frame of zeros, where both kinds of border agree."""
    image, truth = (
        functional.pad(torch.rand(1, 3, 14, 18, generator=seeded(i)), (12,) * 4) for i in (0, 1)
    )
    inner = evaluation.ssim(image, truth)
    size, inside = 38 * 42, 28 * 32
    got = float(losses_blind.structural_similarity(image, truth))
    assert got == pytest.approx((inner * inside + size - inside) / size, abs=1e-5)


def test_authors_losses(tmp_path):
    """Against a plain transcription, with random weights of VGG19 among other tensors."""
    shapes = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128)] + [(256, 256)] * 3
    shapes += [(512, 256)] + [(512, 512)] * 7
    places = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    state = {"classifier.0.weight": torch.zeros(2, 2)}
    for place, shape in zip(places, shapes, strict=True):
        scale = (2 / (9 * shape[1])) ** 0.5
        state[f"features.{place}.weight"] = scale * torch.randn(*shape, 3, 3, generator=seeded())
        state[f"features.{place}.bias"] = torch.full((shape[0],), 0.01)
    torch.save(state, tmp_path / "vgg.pth")
    loss = blind_encoded.make_loss("authors", tmp_path / "vgg.pth")
    blurred, observed, sharp = torch.rand(3, 1, 3, 32, 32, generator=seeded(1))
    features, distance = [blurred, observed], 0.0
    compared = dict(zip([0, 5, 10, 19, 28], [0.2, 0.4, 0.8, 1.0, 3.0], strict=True))
    for place in places[:13]:
        if place in (5, 10, 19, 28):
            features = [functional.max_pool2d(x, 2) for x in features]
        features = [conv(x, state, f"features.{place}").relu() for x in features]
        if place in compared:
            distance += compared[place] * functional.l1_loss(*features)
    k = torch.randn(1, 8, 2, 2, generator=seeded(2))
    edges = losses_blind.hyper_laplacian_sobel(sharp)
    unlike = 1 - losses_blind.structural_similarity(blurred, observed)
    first = 0.6 * distance + unlike + 5e-5 * k.square().sum().sqrt() + 2e-2 * edges
    last = distance + 5e-2 * edges + 5e-4 * k.square().sum().sqrt()
    torch.testing.assert_close(loss(blurred, observed, sharp, k, 0.499), first)
    torch.testing.assert_close(loss(blurred, observed, sharp, k, 0.5), last)
    del state["features.5.bias"]
    torch.save(state, tmp_path / "vgg.pth")
    with pytest.raises(ValueError, match=r"1 missing \(features.5.bias\)"):
        blind_encoded.make_loss("authors", tmp_path / "vgg.pth")
    with pytest.raises(ValueError, match="vgg must be a file of VGG19's weights"):
        blind_encoded.make_loss("authors", None)


def test_hyper_laplacian_sums_sobel_over_channels():
    ramp = torch.arange(6.0).expand(1, 3, 5, 6) / 10
    inner = losses_blind.hyper_laplacian_sobel(ramp)
    padded = functional.pad(ramp.sum(1)[0], (1,) * 4)
    total = 0.0
    for row, column in itertools.product(range(5), range(6)):
        patch = padded[row : row + 3, column : column + 3]
        weights = torch.tensor([1.0, 2, 1])
        across = ((patch[:, 2] - patch[:, 0]) * weights).sum()
        down = ((patch[2] - patch[0]) * weights).sum()
        total += (across**2 + down**2 + 1e-6) ** 0.33
    torch.testing.assert_close(inner, total / 30)
