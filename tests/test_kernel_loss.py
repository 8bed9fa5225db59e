# SPDX-License-Identifier: BSD-3-Clause
"""The losses of training: equal to the dense formulas, in a small part of their memory."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import blurops
from blurmodels.basis_kernels.kernel_loss import NORMS, kernel_loss
from blurmodels.basis_kernels.losses import reblur_loss, segment_weights
from blurops.testing import accuracy

# What the losses promise, relative to the sum of the squares of both kernels.
PROMISED = 1e-10


def problem(count, basis, true_basis, side, height, width, dtype=torch.float64):
    generator = torch.Generator().manual_seed(height)

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64).to(dtype)

    kernels = random(count, basis, side, side).flatten(2).softmax(2)
    truth = (4 * random(count, true_basis, side, side)).flatten(2).softmax(2)
    return (
        kernels.view(count, basis, side, side),
        random(count, basis, height, width).softmax(1),
        truth.view(count, true_basis, side, side),
        random(count, true_basis, height, width).softmax(1),
        random(count, 1, height, width),
    )


def fields(kernels, mixing, true_kernels, true_mixing):
    return (
        torch.einsum("nbhw,nbkl->nhwkl", mixing, kernels),
        torch.einsum("njhw,njkl->nhwkl", true_mixing, true_kernels),
    )


def dense(kernels, mixing, true_kernels, true_mixing, weights, norm):
    """The formula, with the kernel of every pixel."""
    estimate, truth = fields(kernels, mixing, true_kernels, true_mixing)
    error = estimate - truth
    each = error.abs().sum((3, 4)) if norm == "l1" else error.square().sum((3, 4))
    if norm == "l2-norm":
        each = (each + 1e-12).sqrt()
    return (weights[:, 0] * each).sum() / len(kernels)


def scale(*args):
    """`||sum m k||^2 + ||sum n g||^2`, weighed as the loss is."""
    squares = sum(field.square().sum((3, 4)) for field in fields(*args[:4]))
    return float((args[4][:, 0] * squares).sum() / len(args[0]))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("sizes", [(2, 3, 2, 5, 61, 83), (1, 1, 1, 1, 1, 1), (1, 4, 3, 7, 3, 40)])
def test_equals_the_dense_formula(norm, sizes):
    args = problem(*sizes)
    leaves = [t.requires_grad_() for t in args[:2]]
    found, expected = kernel_loss(*args, norm=norm), dense(*args, norm)
    allowed = PROMISED * scale(*(t.detach() for t in args))
    assert abs(float((found - expected).detach())) <= allowed
    # A factor, as a sum of losses or a gradient scaler has it, reaches the gradients.
    gradients = [torch.autograd.grad(3 * loss, leaves) for loss in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        assert float((ours - theirs).norm()) <= PROMISED * float(theirs.norm())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_squares_at_the_optimum_do_not_cancel_below_0(dtype):
    kernels, mixing, *_, weights = problem(1, 5, 1, 9, 1, 40, dtype)
    # One pixel at a time: the sum over many hides a sign.
    for x in range(40):
        maps = [t[..., x : x + 1].contiguous() for t in (mixing, mixing, weights)]
        args = (kernels, maps[0], kernels.clone(), maps[1], maps[2])
        # Sums in float32 would leave a thousand times as much.
        assert 0 <= float(kernel_loss(*args)) <= PROMISED * scale(*args)


def test_float32_squares_are_exact_where_float32_sums_are_not():
    kernels, mixing, *_, weights = problem(1, 5, 1, 9, 30, 31, torch.float32)
    nearly = kernels * (1 + 1e-4 * torch.linspace(-1, 1, 9))
    args = (nearly, mixing, kernels, mixing, weights)
    exact = dense(*(t.double() for t in args), "l2")
    assert abs(float(kernel_loss(*args)) / float(exact) - 1) <= accuracy(torch.float32).relative


class Peak(TorchDispatchMode):
    """The most bytes of tensors alive at one time among those made inside."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak, self.known = 0, 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        old = {t.untyped_storage()._cdata for t in tree_leaves(args) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(out):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self.known or key in old:
                continue
            self.known.add(key)
            self.alive += size
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._gone, key, size)
        return out

    def _gone(self, key, size):
        self.known.discard(key)
        self.alive -= size


def peak_of(loss, args):
    args = [t.detach().requires_grad_(i < 2) for i, t in enumerate(args)]
    with Peak() as peak:
        torch.autograd.grad(loss(*args), args[:2])
    return peak.peak


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_needs_little_memory_at_256x256(norm):
    def small(*args):
        return dense(*args, norm)

    # The dense formula's memory is proportional to the pixels: a sixteenth of them is enough.
    theirs = 16 * peak_of(small, problem(1, 25, 4, 33, 64, 64, torch.float32))
    args = problem(1, 25, 4, 33, 256, 256, torch.float32)
    ours = peak_of(lambda *a: kernel_loss(*a, norm=norm), args)
    # Both hold the gradients; the dense one has at least the field of estimates besides.
    assert theirs > 1089 * 256 * 256 * 4
    assert ours <= 0.02 * theirs


def test_errors_name_the_argument():
    args = list(problem(1, 2, 1, 3, 4, 5))
    with pytest.raises(ValueError, match="norm must be one of l2, l2-norm, l1, got 'l3'"):
        kernel_loss(*args, norm="l3")
    with pytest.raises(ValueError, match=r"weights must be \(1, 1, 4, 5\), got \(1, 1, 4, 4\)"):
        kernel_loss(*args[:4], args[4][..., :4])
    with pytest.raises(ValueError, match=r"true_kernels must be \(1, 1, 3, 3\), got"):
        kernel_loss(*args[:2], args[2][..., :2], *args[3:])
    with pytest.raises(TypeError, match="mixing must be of the kind of kernels"):
        kernel_loss(args[0], args[1].float(), *args[2:])
    with pytest.raises(TypeError, match="kernels must be a tensor of float32 or float64"):
        kernel_loss(args[0].half(), *args[1:])


def test_every_segment_has_the_same_say():
    masks = torch.zeros(1, 3, 4, 5)
    masks[0, 0, :, :3], masks[0, 1, :2, 3:], masks[0, 1, 2:, 3:] = 1, 1, 1
    weights = segment_weights(masks)
    assert weights[0, 0, 0, 0] == 1 / 12
    assert weights[0, 0, 0, 4] == 1 / 8
    # The third segment has no pixel and no say.
    assert float(weights.sum()) == pytest.approx(2, rel=accuracy(torch.float32).relative)


@pytest.mark.parametrize("form", ["linear", "values"])
@pytest.mark.parametrize("saturation", [True, False])
def test_reblur_loss_is_the_formula(form, saturation):
    kernels, mixing, _, _, weights = problem(2, 3, 1, 5, 9, 8)
    generator = torch.Generator().manual_seed(0)
    sharp = 1.2 * torch.rand(2, 3, 13, 12, generator=generator, dtype=torch.float64)
    seen = torch.rand(2, 3, 9, 8, generator=generator, dtype=torch.float64)
    responses = torch.stack([
        F.conv2d(sharp[n][:, None], kernels[n][:, None]).transpose(0, 1) for n in range(2)
    ])  # fmt: skip
    light = (responses * mixing[:, :, None]).sum(1)
    if saturation:
        light = light - torch.log1p(torch.exp(50 * (light - 1))) / 50
    error = light ** (1 / 2.2) - seen if form == "values" else light - seen**2.2
    expected = (weights * error**2).sum() / 2
    found = reblur_loss(kernels, mixing, sharp, seen, weights, form=form, saturation=saturation)
    allowed = accuracy(torch.float64, 75).relative
    assert abs(float(found - expected)) <= 10 * allowed * float(expected)


def test_reblur_loss_reaches_kernels_and_mixing_where_it_is_dark():
    kernels, mixing, _, _, weights = problem(1, 2, 1, 3, 6, 6)
    leaves = [kernels.requires_grad_(), mixing.requires_grad_()]
    black = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    loss = reblur_loss(*leaves, black, black[..., :6, :6], weights, form="values")
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(loss, leaves))


def test_reblur_errors():
    kernels, mixing, _, _, weights = problem(1, 2, 1, 3, 6, 6)
    sharp = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="form must be one of linear, values, got 'log'"):
        reblur_loss(kernels, mixing, sharp, sharp, weights, form="log")
    with pytest.raises(ValueError, match="observed and weights must have the blurred size"):
        reblur_loss(kernels, mixing, sharp, sharp, weights)
    assert blurops.basis_blur(sharp, kernels, mixing, boundary="valid").shape == (1, 1, 6, 6)
