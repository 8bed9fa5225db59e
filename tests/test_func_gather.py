# SPDX-License-Identifier: BSD-3-Clause
"""The twins of NU-Conv and motion blur under every function transform, by value."""

import pytest
import torch

import blurops
from blurops import func
from blurops.testing import random_tensor
from tests.gather import CASES, CONVS, MOTIONS, Conv, Motion
from tests.test_gather_ops import away_from_kinks

each_case = pytest.mark.parametrize("case", CASES, ids=str)
SMALL = {Conv: Conv(2, 1, 3, 4, 3, 2, (3, 1), index_shared=False), Motion: Motion(2, 1, 3, 4, 3.0)}


def close(result, expected):
    # The derivatives by length and angle are quotients of sums.
    return torch.allclose(result, expected, rtol=1e-10, atol=1e-11)


def sample(case, shape=None, boundary="replicate", seed=61):
    """The arguments, those with derivatives, and the twin and the op as functions of these."""
    args, keywords = case.args(shape or SMALL[case.kind], boundary, torch.float64, seed), {}
    places = case.positions()
    if case.kind is Motion:
        args, keywords = away_from_kinks(case, args), {"caps": "segment"}
        if "grad_" not in case.name:
            places = [*places, 1, 2]
    keywords["boundary"] = boundary

    def bind(function):
        def call(*tensors):
            full = list(args)
            for i, value in zip(places, tensors, strict=True):
                full[i] = value
            return function(*full, **keywords)

        return call

    tensors = tuple(args[i] for i in places)
    return tensors, bind(getattr(func, case.name)), bind(getattr(blurops, case.name))


def jacobians(op, tensors):
    return torch.autograd.functional.jacobian(op, tensors)


@each_case
def test_same_values_and_ordinary_autograd(case):
    tensors, twin, op = sample(case)
    assert torch.equal(twin(*tensors), op(*tensors))
    leaves = [t.clone().requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(twin, leaves, check_forward_ad=True, fast_mode=True)


@each_case
def test_grad_vjp_and_jvp(case):
    tensors, twin, op = sample(case)
    cotangent = random_tensor(op(*tensors).shape, torch.float64, 63)
    leaves = [t.clone().requires_grad_() for t in tensors]
    expected = torch.autograd.grad(op(*leaves), leaves, cotangent)
    _, pull = torch.func.vjp(twin, *tensors)
    assert all(map(close, pull(cotangent), expected))
    every = tuple(range(len(tensors)))
    gradients = torch.func.grad(lambda *t: (twin(*t) * cotangent).sum(), argnums=every)(*tensors)
    assert all(map(close, gradients, expected))
    directions = [random_tensor(t.shape, torch.float64, 65 + i) for i, t in enumerate(tensors)]
    terms = [(d * g).sum() for d, g in zip(directions, expected, strict=True)]
    _, slope = torch.func.jvp(twin, tensors, tuple(directions))
    assert close((slope * cotangent).sum(), sum(terms))
    for i, term in enumerate(terms):  # one tangent alone, the others constant
        _, slope = torch.func.jvp(
            lambda t, i=i: twin(*tensors[:i], t, *tensors[i + 1 :]), tensors[i : i + 1],
            (directions[i],),
        )  # fmt: skip
        assert close((slope * cotangent).sum(), term)


@each_case
def test_jacrev_and_jacfwd(case):
    tensors, twin, op = sample(case)
    every = tuple(range(len(tensors)))
    expected = jacobians(op, tensors)
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        assert all(map(close, transform(twin, argnums=every)(*tensors), expected))


@each_case
def test_hessian(case):
    """Of a square, by the first argument and the last one in which the op is linear."""
    tensors, twin, op = sample(case)
    last = len(case.linear) - 1

    def form(function):
        def value(*t):
            return function(t[0], *tensors[1:last], *t[1:], *tensors[last + 1 :]).square().sum()

        return value

    chosen = (tensors[0], tensors[last]) if last else (tensors[0],)
    expected = torch.autograd.functional.hessian(form(op), chosen)
    found = torch.func.hessian(form(twin), argnums=tuple(range(len(chosen))))(*chosen)
    for row, wanted in zip(found, expected, strict=True):
        assert all(map(close, row, wanted))
        assert any(block.any() for block in row)


@pytest.mark.parametrize("case", MOTIONS[:2], ids=str)
@pytest.mark.parametrize("by", [1, 2])
def test_mixed_second_derivatives_and_no_pure_ones(case, by):
    tensors, twin, op = sample(case)

    def slope(transform, function):
        return lambda *t: transform(lambda *u: function(*u).square().sum(), argnums=by)(*t)

    def by_op(image):
        leaves = [image, *(t.clone().requires_grad_() for t in tensors[1:])]
        return torch.autograd.grad(op(*leaves).square().sum(), leaves[by], create_graph=True)[0]

    expected = torch.autograd.functional.jacobian(by_op, tensors[0])
    for inner, outer in (
        (torch.func.grad, torch.func.jacrev),
        (torch.func.grad, torch.func.jacfwd),
        (torch.func.jacfwd, torch.func.jacrev),
    ):
        assert close(outer(slope(inner, twin))(*tensors), expected)
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        with pytest.raises(NotImplementedError, match="must be of first order in length and angle"):
            transform(slope(torch.func.grad, twin), argnums=by)(*tensors)


@each_case
@pytest.mark.parametrize("shared", [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("given", ["each", "first", "second", "third", "fourth", "all"])
def test_vmap(case, shared, given):
    """Over one argument, at some axis of it, and over all."""
    if case.kind is Conv:
        shape = Conv(2, 2, 4, 3, 3, 2, (3, 3), shared == (True, True), *shared)
    else:
        shape = Motion(2, 2, 4, 3, 3.0, *shared)
    lanes, options = 3, {"boundary": "replicate"}
    batches = [case.args(shape, "replicate", torch.float64, 70 + i) for i in range(lanes)]
    places = [i for i, a in enumerate(batches[0]) if isinstance(a, torch.Tensor)]
    names = ["first", "second", "third", "fourth"]
    if given not in ("each", "all"):
        if names.index(given) >= len(places):
            return
        places = [places[names.index(given)]]
    axes, stacked = [None] * len(batches[0]), list(batches[0])
    for i in places:
        axes[i] = i % 2 if given == "each" else -1 if i % 2 else 0
        stacked[i] = torch.stack([batch[i] for batch in batches], axes[i])
    twin, op = getattr(func, case.name), getattr(blurops, case.name)
    fixed = {i: a for i, a in enumerate(stacked) if not isinstance(a, torch.Tensor)}
    tensors = [a for i, a in enumerate(stacked) if i not in fixed]

    def call(*t):
        values = iter(t)
        return twin(
            *(fixed[i] if i in fixed else next(values) for i in range(len(stacked))), **options
        )

    dims = tuple(a for i, a in enumerate(axes) if i not in fixed)
    result = torch.func.vmap(call, in_dims=dims)(*tensors)
    for lane in range(lanes):
        one = [batches[lane][i] if i in places else a for i, a in enumerate(batches[0])]
        assert close(result[lane], op(*one, **options))


def test_a_lane_does_not_take_the_filters_of_the_next():
    shape = Conv(1, 1, 3, 4, 3, 2, (3, 3))
    t = shape.tensors("zeros", torch.float64, 81)
    banks = torch.stack((t["bank"], t["bank"]))

    def twin(bank):
        return func.nu_conv(t["image"], bank, t["index"] + 2, t["weight"])

    with pytest.raises(ValueError, match=r"^nu_conv: index must lie in \[0, 3\)"):
        torch.func.vmap(twin)(banks)


def test_vmap_of_grad():
    """Per-sample gradients of a loss, by a bank and by lengths."""
    t = CONVS[0].args(Conv(4, 2, 5, 6, 3, 2, (3, 3)), "reflect", torch.float64, 73)
    image, bank, index, weight = t

    def loss(k, x):
        return func.nu_conv(x.unsqueeze(0), k, index, weight).square().sum()

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(bank, image)
    for x, gradient in zip(image, gradients, strict=True):
        leaf = bank.clone().requires_grad_()
        blurops.nu_conv(x.unsqueeze(0), leaf, index, weight).square().sum().backward()
        assert close(gradient, leaf.grad)
