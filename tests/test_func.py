# SPDX-License-Identifier: BSD-3-Clause
"""blurops.func under every function transform, by value."""

import pytest
import torch

import blurops
from blurops import func
from blurops.testing import CASES, Shape, family_tensors, random_tensor
from tests.backends import PATHS, options

SHAPE = Shape(2, 1, 4, 3, 2, 3, 3, kernels_shared=True, mixing_shared=False)
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def close(result, expected):
    return torch.allclose(result, expected, rtol=1e-11, atol=1e-11)


def sample(case, shape=SHAPE, boundary="replicate", seed=61):
    args, keywords = case.sample(shape, boundary, torch.float64, seed)
    tensors = tuple(a for a in args if isinstance(a, torch.Tensor))
    rest = tuple(a for a in args if not isinstance(a, torch.Tensor))
    twin, op = getattr(func, case.name), getattr(blurops, case.name)
    return tensors, lambda *t: twin(*t, *rest, **keywords), lambda *t: op(*t, *rest, **keywords)


def by_autograd(op, tensors, cotangent):
    leaves = [t.clone().requires_grad_() for t in tensors]
    return torch.autograd.grad(op(*leaves), leaves, cotangent)


@each_case
def test_same_values_and_ordinary_autograd(case):
    tensors, twin, op = sample(case)
    expected = op(*tensors)
    assert torch.equal(twin(*tensors), expected)
    leaves = [t.clone().requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(twin, leaves, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(twin, leaves)


@each_case
def test_grad_and_vjp(case):
    tensors, twin, op = sample(case)
    cotangent = random_tensor(op(*tensors).shape, torch.float64, 63)
    expected = by_autograd(op, tensors, cotangent)
    _, pull = torch.func.vjp(twin, *tensors)
    assert all(map(close, pull(cotangent), expected))
    gradients = torch.func.grad(lambda *t: (twin(*t) * cotangent).sum(), argnums=(0, 1, 2))(
        *tensors
    )
    assert all(map(close, gradients, expected))


@each_case
def test_jvp(case):
    tensors, twin, op = sample(case)
    directions = tuple(random_tensor(t.shape, torch.float64, 65 + i) for i, t in enumerate(tensors))
    _, slope = torch.func.jvp(twin, tensors, directions)
    expected = sum(
        op(*(directions[j] if i == j else t for j, t in enumerate(tensors))) for i in range(3)
    )
    assert close(slope, expected)
    # One tangent alone, the others constant.
    _, slope = torch.func.jvp(
        lambda k: twin(tensors[0], k, tensors[2]), tensors[1:2], directions[1:2]
    )
    assert close(slope, op(tensors[0], directions[1], tensors[2]))


@each_case
@pytest.mark.parametrize("argument", [0, 1, 2])
def test_jacrev_and_jacfwd(case, argument):
    tensors, twin, op = sample(case)
    leaf = tensors[argument]
    units = torch.eye(leaf.numel(), dtype=torch.float64).reshape(-1, *leaf.shape)
    columns = [op(*(unit if i == argument else t for i, t in enumerate(tensors))) for unit in units]
    expected = torch.stack(columns, -1).reshape(*columns[0].shape, *leaf.shape)
    assert close(torch.func.jacrev(twin, argnums=argument)(*tensors), expected)
    assert close(torch.func.jacfwd(twin, argnums=argument)(*tensors), expected)


@each_case
def test_hessian(case):
    """The mixed second derivative by the first two arguments is the form at unit entries."""
    tensors, twin, op = sample(case, Shape(1, 1, 3, 3, 1, 3, 1))
    weight = random_tensor(op(*tensors).shape, torch.float64, 71)

    def form(first, second):
        return (twin(first, second, tensors[2]) * weight).sum()

    blocks = torch.func.hessian(form, argnums=(0, 1))(*tensors[:2])
    first, second = tensors[:2]
    expected = torch.zeros(first.numel(), second.numel(), dtype=torch.float64)
    for i in range(first.numel()):
        for j in range(second.numel()):
            a, b = torch.zeros(first.numel()).double(), torch.zeros(second.numel()).double()
            a[i], b[j] = 1, 1
            value = op(a.view_as(first), b.view_as(second), tensors[2])
            expected[i, j] = (value * weight).sum()
    assert close(blocks[0][1].reshape(expected.shape), expected)
    assert close(blocks[1][0].reshape(expected.T.shape), expected.T)
    assert not blocks[0][0].any()


@each_case
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "axes", [(0, 0, 0), (1, None, None), (None, 2, None), (None, None, -1), (None, 0, 1)]
)
@pytest.mark.parametrize("sharing", [(True, True), (False, True), (True, False), (False, False)])
def test_vmap(case, path, axes, sharing):
    shape = Shape(2, 1, 5, 4, 2, 3, 3, *sharing)
    tensors, _, _ = sample(case, shape)
    args, keywords = case.sample(shape, "replicate", torch.float64, 61)
    rest, keywords = args[3:], {**keywords, **options(path)}
    lanes = 3
    stacked = [
        t if axis is None
        else torch.stack([t * (1 + lane) + lane for lane in range(lanes)], axis)
        for t, axis in zip(tensors, axes, strict=True)
    ]  # fmt: skip
    twin, op = getattr(func, case.name), getattr(blurops, case.name)
    result = torch.func.vmap(lambda *t: twin(*t, *rest, **keywords), in_dims=axes)(*stacked)
    for lane in range(lanes):
        one = [
            t if axis is None else t.select(axis, lane)
            for t, axis in zip(stacked, axes, strict=True)
        ]
        assert close(result[lane], op(*one, *rest, **keywords))


def test_vmap_of_grad():
    """Per-sample gradients of a loss."""
    tensors = family_tensors(Shape(4, 2, 5, 6, 2, 3, 3), "reflect", torch.float64, 73)
    kernels, mixing = tensors["kernels"], tensors["mixing"]

    def loss(k, image):
        return func.basis_blur(image.unsqueeze(0), k, mixing).square().sum()

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(kernels, tensors["image"])
    for image, gradient in zip(tensors["image"], gradients, strict=True):
        leaf = kernels.clone().requires_grad_()
        blurops.basis_blur(image.unsqueeze(0), leaf, mixing).square().sum().backward()
        assert close(gradient, leaf.grad)


@pytest.mark.parametrize("name", ["saturate", "saturate_derivative"])
def test_saturation_transforms(name):
    x = torch.linspace(-0.5, 2, 23, dtype=torch.float64)
    twin, op = getattr(func, name), getattr(blurops, name)
    assert torch.equal(twin(x), op(x))
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(op(leaf).sum(), leaf)
    assert close(torch.func.vmap(torch.func.grad(twin))(x), slope)
    _, tangent = torch.func.jvp(twin, (x,), (torch.ones_like(x),))
    assert close(tangent, slope)
    assert close(
        torch.func.vmap(torch.func.hessian(twin))(x),
        torch.autograd.functional.hvp(lambda t: op(t).sum(), x, torch.ones_like(x))[1],
    )


@pytest.mark.parametrize("saturation", [None, blurops.Saturation()])
def test_rl_step_transforms(saturation):
    tensors = family_tensors(Shape(1, 2, 5, 6, 2, 3, 3), "reflect", torch.float64, 75)
    estimate, observed = tensors["image"].abs() + 0.1, tensors["grad"].abs() + 0.1
    kernels = tensors["kernels"].flatten(2).softmax(2).view(1, 2, 3, 3)
    mixing = tensors["mixing"].softmax(1)
    options = {"saturation": saturation, "tv": 0.01}
    expected = blurops.rl_step(estimate, observed, kernels, mixing, **options)

    def step(u):
        return func.rl_step(u, observed, kernels, mixing, **options)

    assert close(step(estimate), expected)
    leaf = estimate.clone().requires_grad_()
    weight = random_tensor(expected.shape, torch.float64, 77)
    (gradient,) = torch.autograd.grad(
        (blurops.rl_step(leaf, observed, kernels, mixing, **options) * weight).sum(), leaf
    )
    assert close(torch.func.grad(lambda u: (step(u) * weight).sum())(estimate), gradient)
    direction = random_tensor(estimate.shape, torch.float64, 79)
    _, slope = torch.func.jvp(step, (estimate,), (direction,))
    assert torch.allclose((slope * weight).sum(), (gradient * direction).sum(), rtol=1e-9)
    both = torch.func.vmap(step)(torch.stack((estimate, 2 * estimate)))
    assert close(both[1], step(2 * estimate))
