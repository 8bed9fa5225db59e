# SPDX-License-Identifier: BSD-3-Clause
"""IRC-Net: the solver when untrained, exact gradients, curves, and what it refuses."""

import math
from functools import cache

import pytest
import torch
from torch.nn import functional

import blurops
from blurmodels import checkpoints
from blurmodels.irc import IRCNet, shrink_curve
from blurops.testing import accuracy, relative_error

LONGEST, SIDE, THRESHOLD, PENALTY = 5, 9, 0.02, 0.03


@cache
def untrained_bank():
    return IRCNet(1, 1, max_length=LONGEST, size=SIDE, penalty=PENALTY).bank.detach()[0]


def net(**options):
    chosen = {"max_length": LONGEST, "size": SIDE, "threshold": THRESHOLD, "penalty": PENALTY}
    if not {"max_length", "size"} & set(options):
        chosen["bank"] = untrained_bank()
    return IRCNet(**({"stages": 3, "inner": 2} | chosen | options))


def motions(count=1, height=18, width=23, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(2, count, height, width, generator=generator, dtype=torch.float64)
    return (1 + (LONGEST - 1) * draw[0]).float(), (4 * math.pi * draw[1] - 5).float()


def picture(count=2, channels=3, height=18, width=23, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, height, width, generator=generator)


@pytest.mark.parametrize(
    ("boundary", "sharing"),
    [("replicate", "all"), ("reflect", "step"), ("zeros", "stage"), ("circular", "step"),
     ("valid", "step")],
)  # fmt: skip
@torch.no_grad()
def test_untrained_it_is_the_solver(boundary, sharing):
    observed, (length, angle) = picture(), motions(2 if sharing == "step" else 1)
    network = net(boundary=boundary, sharing=sharing, mode="bilinear")
    margin = (LONGEST - 1) // 2 if boundary == "valid" else None
    blur = blurops.MotionBlur(length, angle, boundary=boundary, margin=margin)
    inverse = blurops.inverse_blur(
        blur, analysis=blurops.difference_filters(), penalty=PENALTY, size=SIDE,
        max_length=LONGEST, mode="bilinear",
    )  # fmt: skip
    options = {"weight": THRESHOLD * PENALTY, "penalty": PENALTY, "stages": 3, "inner": 2}
    for combine in ("filters", "outputs"):
        found = network(observed, length, angle, combine=combine)
        image = blurops.admm_irc(observed, blur, inverse, combine=combine, **options).image
        cut = margin or 0
        wanted = image[..., cut : cut + 18, cut : cut + 23]
        # Rounding of one step is carried through the others: six steps, each of one correction.
        assert relative_error(found, wanted) < 6 * accuracy(torch.float32).relative
    assert relative_error(found, observed) > 0.05


@pytest.mark.parametrize("shrink", ["curve", "soft"])
@torch.no_grad()
def test_both_kinds_of_shrinking_begin_alike(shrink):
    observed, maps = picture(), motions()
    found = net(shrink=shrink, mode="softmax")(observed, *maps)
    other = net(shrink="soft", sharing="stage")(observed, *maps)
    assert relative_error(found, other) < 6 * accuracy(torch.float32).relative


@torch.no_grad()
def test_each_step_has_the_bank_of_its_place():
    observed, maps = picture(), motions()
    once = net(stages=1, inner=1)(observed, *maps)
    for sharing, place in (("step", 1), ("stage", 0)):
        network = net(stages=2, inner=2, sharing=sharing)
        for number in range(len(network.bank)):
            network.bank[number] *= number == place
        found = network(observed, *maps)
        if sharing == "stage":  # both steps of the first stage
            once = net(stages=1, inner=2)(observed, *maps)
        assert relative_error(found, once) < 4 * accuracy(torch.float32).relative
        network.bank[place] = 0
        assert torch.equal(network(observed, *maps), observed)


def test_gradients_of_a_whole_network():
    network = net(
        stages=2, max_length=3, size=3, caps="segment", mode="bilinear", sharing="step"
    ).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for each in network.parameters():  # away from the kinks of soft thresholding
            each += 0.01 * torch.randn(each.shape, generator=generator, dtype=torch.float64)
    observed = picture(1, 2, 4, 5, seed=3).double().requires_grad_()
    length = (1.3 + 1.2 * torch.rand(1, 4, 5, generator=generator)).double().requires_grad_()
    # Between the bank's angles: 7 to 11 degrees.
    degrees = 7 + 4 * torch.rand(1, 4, 5, generator=generator)
    angle = torch.deg2rad(degrees).double().requires_grad_()
    used, _ = blurops.interpolate_motion(length, angle, max_length=3, mode="bilinear")
    used = torch.unique(used).long()
    names = dict(network.named_parameters())
    curve, rate = (names[n].detach().clone() for n in ("shrink.curve", "rate"))
    curve = curve[..., 40:61].clone().requires_grad_()  # where this picture's differences are
    filters = names["bank"].detach()[:, used].clone().requires_grad_()

    def run(observed, length, angle, filters, curve, rate):
        bank = names["bank"].detach().index_copy(1, used, filters)
        whole = torch.cat([names["shrink.curve"].detach()[..., :40], curve,
                           names["shrink.curve"].detach()[..., 61:]], dim=-1)  # fmt: skip
        given = {"bank": bank, "shrink.curve": whole, "rate": rate}
        return torch.func.functional_call(network, given, (observed, length, angle))

    inputs = (observed, length, angle, filters, curve, rate.requires_grad_())
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    result = run(*inputs).square().sum()
    gradients = torch.autograd.grad(result, inputs)
    assert all(float(each.abs().max()) > 0 for each in gradients)


def test_the_backward_keeps_no_filters_of_pixels():
    network = net(stages=2, size=15, mode="bilinear")
    observed, maps = picture(1, 1, 40, 40), motions(1, 40, 40)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    bank = network.bank.untyped_storage().data_ptr()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(observed, *maps)
    kept.pop(bank)
    # About 25 images a step; the filters of all pixels would be 675.
    assert sum(kept.values()) < 40 * observed.nbytes * network.stages * network.inner


class TestCurve:
    def test_by_hand(self):
        curve = torch.tensor([-4.0, -1.0, 0.0, 2.0, 5.0])
        values = torch.tensor([-2.5, -2.0, -1.5, -0.25, 0.0, 0.5, 1.0, 1.75, 2.0, 3.0])
        wanted = torch.tensor([-4.5, -4.0, -2.5, -0.25, 0.0, 1.0, 2.0, 4.25, 5.0, 6.0])
        assert torch.equal(shrink_curve(values, curve, 1.0), wanted)

    @torch.no_grad()
    def test_begins_as_soft_thresholding(self):
        values = torch.linspace(-2, 2, 4001)
        curve = net(threshold=0.03).shrink
        wanted = functional.softshrink(values, 0.03)
        assert (
            float((curve(values, 1, 0) - wanted).abs().max()) < 4 * torch.finfo(torch.float32).eps
        )

    def test_the_authors_grid_ends_at_500(self):
        shrink = net(knot_step=10 / 255).shrink
        far = torch.tensor([700 / 255])
        with torch.no_grad():
            shrink.curve[0, 0, -1] = 1.0
            found = float(shrink(far, 0, 0))
        assert found == pytest.approx(1 + 200 / 255)

    def test_gradients(self):
        generator = torch.Generator().manual_seed(4)
        # Off the control points, also beyond both ends.
        whole = torch.arange(-5, 5).double()
        values = (whole + 0.2 + 0.6 * torch.rand(10, generator=generator)).requires_grad_()
        curve = torch.randn(7, generator=generator).double().requires_grad_()
        run = torch.autograd.gradcheck(lambda v, c: shrink_curve(v, c, 1.0), (values, curve))
        assert run


class TestErrors:
    def test_a_field_of_another_size(self):
        length, angle = motions(1, 18, 22)
        with pytest.raises(ValueError, match="length must have the size of observed, 18 x 23"):
            net()(picture(), length, angle)

    def test_motion_beyond_the_bank(self):
        length, angle = motions()
        with pytest.raises(ValueError, match=r"length must be at most 5 pixels, .*got 9"):
            net()(picture(), length.clamp(min=9), angle)

    def test_arguments(self):
        for change, text in (
            ({"sharing": "none"}, "sharing must be one of"),
            ({"stages": 0}, "stages must be positive"),
            ({"bank": torch.zeros(61, 3, 7, 7)}, r"bank must be \(61, 3, 9, 9\)"),
        ):
            with pytest.raises(ValueError, match=text):
                net(**change)
        with pytest.raises(ValueError, match="combine must be one of"):
            net()(picture(), *motions(), combine="all")


class TestCheckpoints:
    def test_every_bit_comes_back(self, tmp_path):
        network = net(shrink="soft", sharing="stage", mode="bilinear")
        with torch.no_grad():
            for each in network.parameters():
                each += torch.randn_like(each)
        network.save_pretrained(tmp_path / "w.safetensors", note=1)
        again = IRCNet.from_pretrained(tmp_path / "w.safetensors")
        assert again.architecture == network.architecture
        for name, value in network.state_dict().items():
            assert torch.equal(value, again.state_dict()[name])
        observed, maps = picture(), motions()
        assert torch.equal(network(observed, *maps), again(observed, *maps))

    def test_what_does_not_fit_is_named(self, tmp_path):
        network, path = net(), tmp_path / "w.safetensors"
        tensors = network.state_dict()
        checkpoints.save(path, {**tensors, "rate": torch.ones(2, 2)}, model=IRCNet.name,
                         architecture=network.architecture)  # fmt: skip
        with pytest.raises(ValueError, match=r"1 of another shape \(rate \(2, 2\), not \(3, 2\)\)"):
            IRCNet.from_pretrained(path)
        checkpoints.save(path, tensors, model=IRCNet.name, architecture={"stages": 3})
        with pytest.raises(ValueError, match="must describe a network"):
            IRCNet.from_pretrained(path)
        checkpoints.save(path, tensors, model="another", architecture={})
        with pytest.raises(ValueError, match=r"hold weights of irc\.IRCNet"):
            IRCNet.from_pretrained(path)
