# SPDX-License-Identifier: BSD-3-Clause
"""Deblurring of faces on a generator's manifold: spheres, rates, losses, operators, whole runs."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import blurops
from blurmodels.kernel_space import KernelDIP
from blurmodels.kernel_space.faces import losses, operators, spherical
from blurmodels.kernel_space.faces.latent import FacePoint
from blurmodels.kernel_space.faces.manifold import STYLEGAN, STYLEGAN2, deblur_face
from blurops.testing import accuracy


def seeded(number=0):
    return torch.Generator().manual_seed(number)


class Tiny(nn.Module):
    """A generator of faces that are a few waves: each latent vector has its own."""

    def __init__(self, size=16, layers=6, width=8):
        super().__init__()
        self.size, self.layers, self.width = size, layers, width
        self.noise_shapes = [(4, 4)] + [(8, 8)] * (layers - 2)
        self.colours = nn.Parameter(torch.randn(layers, width, 3, 4, 4, generator=seeded(1)))

    def synthesis(self, w, noise):
        picture = torch.einsum("nlw,lwchv->nchv", w, self.colours) / 8
        small = sum(functional.interpolate(each, (4, 4), mode="area") for each in noise)
        return functional.interpolate(picture + small / 9, self.size, mode="bicubic").tanh()

    def gaussian(self, samples=1_000_000, seed=0, **_):
        return torch.linspace(-0.3, 0.3, self.width), torch.linspace(0.5, 1, self.width)


class Shift(nn.Module):
    """A family of blurs: k says how to weigh an image and its shift."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, k):
        share = k.mean().sigmoid()
        return self.scale * ((1 - share) * x + share * x.roll(3, dims=3))


def known_face(generator, seed=5):
    """What a point of the manifold shows."""
    point = FacePoint(generator, generator.gaussian(), seeded(seed))
    with torch.no_grad():
        return point()[0].clamp(0, 1)


@pytest.mark.parametrize("name", list(spherical.OPTIMISERS))
def test_steps_stay_on_the_spheres(name):
    latent = nn.Parameter(3 * torch.randn(2, 5, 7, generator=seeded()).double())
    noise = nn.Parameter(torch.randn(1, 1, 4, 4, generator=seeded(1)).double())
    before = latent.detach().clone(), noise.detach().clone()
    descent = spherical.SphericalDescent([latent, noise], name, 0.3)
    free = [nn.Parameter(each.clone()) for each in before]
    plain = spherical.OPTIMISERS[name](free, lr=0.3)
    for number in range(4):
        for one, other in zip((latent, noise), free, strict=True):
            one.grad = torch.randn(one.shape, generator=seeded(number)).double()
            other.grad = one.grad.clone()
        descent.step()
        plain.step()
        if number == 0:
            # The direction is that of the optimiser's own step.
            for one, other in zip((latent, noise), free, strict=True):
                axes = tuple(range(2, one.ndim))
                unit = [functional.normalize(x.detach().flatten(2), dim=2) for x in (one, other)]
                torch.testing.assert_close(*unit)
                assert float((one - other).detach().square().sum(axes).min()) > 1e-4
    for one, start in zip((latent, noise), before, strict=True):
        torch.testing.assert_close(
            one.detach().flatten(2).norm(dim=2), start.flatten(2).norm(dim=2), rtol=1e-9, atol=0
        )


def test_what_is_on_no_sphere_stays_finite():
    nothing = nn.Parameter(torch.zeros(1, 1, 3))
    descent = spherical.SphericalDescent([nothing], "sgd", 1.0)
    nothing.grad = torch.ones(1, 1, 3)
    descent.step()
    # The radius is that of the epsilon alone.
    assert float(nothing.detach().norm()) == pytest.approx(1e-9**0.5, rel=1e-5)


def test_rates_of_the_schedules():
    total = 7500
    assert spherical.schedule("fixed", 4321, total) == 1
    for step in (0, 1000, 3375, 3750, 6749, 6750, 7125, 7499):
        whole = (9 * (1 - abs(step / total - 0.5) * 2) + 1) / 10
        assert spherical.schedule("linear1cycle", step, total) == pytest.approx(whole)
        if step < 6750:
            wanted = (9 * (1 - abs(2 * step / 6750 - 1)) + 1) / 10
        else:
            wanted = 0.1 - (0.1 - 0.001) * (step - 6750) / 750
        assert spherical.schedule("linear1cycledrop", step, total) == pytest.approx(wanted)
    assert spherical.schedule("linear1cycledrop", 3375, total) == pytest.approx(1)
    assert spherical.schedule("linear1cycledrop", 6750, total) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="one of linear1cycledrop, linear1cycle, fixed, got cos"):
        spherical.schedule("cos", 0, 1)
    with pytest.raises(ValueError, match="one of adam, adamax, sgd, sgdm, got lbfgs"):
        spherical.SphericalDescent([], "lbfgs", 1.0)


@pytest.mark.parametrize(("layers", "divisor"), [(18, 8), (14, 6)])
def test_geocross_is_the_sum_over_pairs(layers, divisor):
    w = torch.randn(2, layers, 512, generator=seeded()).double()
    w[1, 3] = -w[1, 4]  # opposite; and parallel below
    w[0, 2] = 3 * w[0, 1]
    total = 0.0
    for each in w:
        pairs = 0.0
        for x in each:
            for y in each:
                apart = math.sqrt(float(((x - y) ** 2).sum()) + 1e-9)
                together = math.sqrt(float(((x + y) ** 2).sum()) + 1e-9)
                pairs += 512 * (2 * math.atan2(apart, together)) ** 2
        total += pairs / layers**2 / divisor
    assert float(losses.geocross(w)) == pytest.approx(total, rel=1e-12)
    single = float(losses.geocross(w.float()))
    assert single == pytest.approx(total, rel=accuracy(torch.float32).relative)


def test_the_loss_and_its_weights():
    found, wanted, w, k = (
        torch.randn(shape, generator=seeded(i)).double()
        for i, shape in enumerate([(2, 3, 5, 4)] * 2 + [(2, 18, 512), (1, 8, 2, 2)])
    )
    difference = (found - wanted).flatten(1)
    cross = 0.1 * losses.geocross(w)
    value = losses.FaceLoss()(found, wanted, w, k)
    squares = difference.square().mean(1).sum()
    torch.testing.assert_close(value, 100 * squares + cross + 5e-5 * k.square().sum().sqrt())
    both = losses.FaceLoss(l2=1, l1=2, norm=1e-4)(found, wanted, w, torch.zeros(0))
    torch.testing.assert_close(both, squares + 20 * difference.abs().mean(1).sum() + cross)
    assert STYLEGAN2.loss.norm == 1e-4
    # At a perfect fit the clamp holds, per image, and nothing is pulled.
    same = found.clone().requires_grad_()
    least = losses.squared(same, found) + losses.absolute(same, found)
    assert float(least.detach()) == pytest.approx(2e-15 + 20e-15)
    least.backward()
    assert not same.grad.any()


def test_bicubic_downsampling():
    image = torch.rand(1, 3, 24, 32, generator=seeded()).double()

    def cubic(x):  # Keys, a = -1/2
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    def matrix(length, factor):
        rows = torch.zeros(length // factor, length).double()
        for row in range(length // factor):
            centre = (row + 0.5) * factor - 0.5
            total = sum(cubic((at - centre) / factor) for at in range(-60, 90))
            for at in range(-2 * factor, length + 2 * factor):
                inside = abs(at) if at < length else 2 * length - 2 - at
                rows[row, inside] += cubic((at - centre) / factor) / total
        return rows

    for factor in (1, 2, 4):
        wanted = matrix(24, factor) @ image @ matrix(32, factor).T
        torch.testing.assert_close(operators.downsample(image, factor), wanted)


@pytest.mark.parametrize("kind", ["trainable", "fixed", "zero"])
def test_noise(kind):
    generator = Tiny(layers=20)
    point = FacePoint(generator, generator.gaussian(), seeded(), noise=kind)
    assert [m.shape[2:] for m in point.maps] == [torch.Size(s) for s in generator.noise_shapes]
    trained = [i for i, m in enumerate(point.maps) if isinstance(m, nn.Parameter)]
    zero = [i for i, m in enumerate(point.maps) if not m.detach().any()]
    assert trained == {"trainable": list(range(5)), "fixed": [], "zero": []}[kind]
    assert zero == (list(range(19)) if kind == "zero" else [17])
    assert len(list(point.parameters())) == 1 + len(trained)
    w = functional.leaky_relu(point.latent * point.std + point.mean, 0.2)
    image, vectors = point()
    torch.testing.assert_close(vectors, w)
    torch.testing.assert_close(image, (generator.synthesis(w, point.maps) + 1) / 2)
    tiled = FacePoint(generator, generator.gaussian(), seeded(), tile_latent=True)
    assert tiled.latent.shape == (1, 1, 8)
    assert torch.equal(tiled()[1][0, 0], tiled()[1][0, 19])


def test_the_kernel_under_a_prior_blurs_by_itself():
    blur = operators.DIPKernel(5, seeded())
    sharp = torch.rand(1, 3, 12, 14, generator=seeded(1))
    kernel = blur.kernel()
    assert kernel.shape == (1, 1, 5, 5)
    assert float(kernel.detach().sum()) == pytest.approx(1)
    wanted = blurops.UniformBlur(kernel.detach()[0, 0], boundary="reflect") @ sharp
    torch.testing.assert_close(blur(sharp).detach(), wanted)
    blur(sharp).sum().backward()
    assert all(p.grad is not None for p in blur.parameters())


def problem(kind):
    """Generator, photograph with a known answer, operator, and settings of a small run."""
    settings = STYLEGAN2._replace(epochs=3, image_steps=8, kernel_steps=4, warm_up=3)
    if kind == "encoded":
        generator = Tiny(256)
        face, family = known_face(generator), Shift()
        with torch.no_grad():
            observed = family(face, torch.ones(1))
        operator = operators.encoded(family, lambda: KernelDIP(4, 8, blocks=1))
        return generator, observed, operator, settings
    generator = Tiny(64 if kind == "bicubic" else 32)
    face = operators.downsample(known_face(generator), 4 if kind == "bicubic" else 1)
    if kind == "bicubic":
        return generator, face, operators.bicubic(), settings
    kernel = torch.rand(5, 5, generator=seeded(3))
    observed = blurops.UniformBlur(kernel / kernel.sum()) @ face
    return generator, observed, operators.uniform(7), settings


@pytest.mark.parametrize("kind", ["encoded", "uniform", "bicubic"])
def test_a_search_lowers_the_loss_and_goes_on_bit_for_bit(kind, tmp_path):
    generator, observed, operator, settings = problem(kind)
    latent = torch.full((1, 8, 1, 1), 0.5) if kind == "encoded" else None
    options = {"settings": settings, "warm_latent": latent}
    before, numbers = observed.clone(), torch.get_rng_state()
    weights = generator.colours.detach().clone()
    whole = deblur_face(observed, generator, operator, **options)
    assert torch.equal(observed, before)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert torch.equal(generator.colours, weights)
    assert generator.colours.grad is None
    assert generator.colours.requires_grad
    steps = 3 * (8 + 4 * (kind != "bicubic"))
    assert len(whole.losses) == steps
    assert whole.loss < 0.6 * whole.losses[0]
    start = float((known_face(generator, 0) - known_face(generator)).square().mean())
    assert float((whole.image - known_face(generator)).square().mean()) < 0.7 * start
    shape = {"encoded": (1, 8, 2, 2), "uniform": (1, 1, 7, 7), "bicubic": (0,)}[kind]
    assert whole.kernel.shape == shape
    assert whole.blurred.shape == observed.shape
    assert whole.image.shape == (1, 3, generator.size, generator.size)

    path = tmp_path / "run.safetensors"
    epochs = []

    def stop(found):
        epochs.append(found.epoch)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            deblur_face(observed, generator, operator, state=path, callback=stop, **options)
    again = deblur_face(observed, generator, operator, state=path, **options)
    assert epochs == [1, 2]
    shown = deblur_face(observed, generator, operator, state=path, **options)
    for other in (again, shown):
        assert other.losses == whole.losses
        assert other.loss == whole.loss
        for name in ("image", "blurred", "kernel"):
            assert torch.equal(getattr(other, name), getattr(whole, name))
    with pytest.raises(ValueError, match="must be of the same image and settings, got seed 0"):
        deblur_face(observed, generator, operator, state=path, seed=1, **options)
    if kind != "encoded":
        with pytest.raises(ValueError, match="warm_latent must be None for an operator without"):
            deblur_face(observed, generator, operator, warm_latent=torch.zeros(1, 8, 2, 2))


def test_other_optimisers_go_on_bit_for_bit(tmp_path):
    generator, observed, operator, settings = problem("bicubic")
    for name in ("sgdm", "adamax", "sgd"):
        options = {"settings": settings._replace(optimiser=name, image_steps=3)}
        whole = deblur_face(observed, generator, operator, **options)

        def stop(found):
            raise KeyboardInterrupt

        path = tmp_path / name
        with pytest.raises(KeyboardInterrupt):
            deblur_face(observed, generator, operator, state=path, callback=stop, **options)
        assert deblur_face(observed, generator, operator, state=path, **options).losses == (
            whole.losses
        )


def test_the_best_is_kept_not_the_last():
    """A rate that is far too high at last: the second epoch is worse than the first."""
    generator, observed, operator, settings = problem("bicubic")
    wild = settings._replace(epochs=2, image_steps=6, schedule="fixed", image_rate=0.15)
    first = deblur_face(observed, generator, operator, settings=wild._replace(epochs=1))
    seen = []

    class Runaway(nn.Module):
        """Does nothing at first, and later makes everything worse."""

        calls = 0

        def groups(self, rate):
            return []

        def kernel(self):
            return torch.zeros(0)

        def forward(self, sharp):
            self.calls += 1
            return sharp + (self.calls > 7)

    found = deblur_face(
        observed, generator, lambda side, random: Runaway(), settings=wild, callback=seen.append
    )
    assert len(seen) == 2
    assert found.losses[-1] > 10 * found.loss
    assert found.loss == first.loss == seen[0].loss == seen[1].loss
    assert torch.equal(found.image, first.image)
    assert torch.equal(found.blurred, first.blurred)
    better = deblur_face(observed, generator, operator, settings=wild)
    assert better.loss < first.loss
    assert not torch.equal(better.image, first.image)


def test_blocks_move_what_they_say():
    """A literal run of one epoch: face, then kernel, with Adam and its own rates."""
    generator, observed, _, settings = problem("uniform")
    settings = settings._replace(epochs=1, image_steps=2, kernel_steps=5, noise="fixed")
    found = deblur_face(observed, generator, operators.uniform(7), settings=settings)
    random = seeded()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blur = operators.DIPKernel(7, random)
    point = FacePoint(generator, generator.gaussian(), random, noise="fixed")
    radius = point.latent.detach().norm(dim=2, keepdim=True)

    def loss():
        image, w = point()
        error = (blur(image) - observed).square().mean()
        cross = losses.geocross(w)
        return 100 * error + 0.1 * cross + 1e-4 * blur.kernel().square().sum().sqrt()

    adam, seen = torch.optim.Adam([point.latent], lr=0.2), []
    for factor in (0.1, (9 * (1 - abs(2 / 1.8 - 1)) + 1) / 10):
        adam.param_groups[0]["lr"] = 0.2 * factor
        adam.zero_grad()
        value = loss()
        value.backward()
        adam.step()
        point.latent.data *= radius / point.latent.data.norm(dim=2, keepdim=True)
        seen.append(float(value.detach()))
    adam = torch.optim.Adam(blur.parameters(), lr=5e-4)
    for step in range(5):
        adam.param_groups[0]["lr"] = 5e-4 * 0.7**step
        adam.zero_grad()
        value = loss()
        value.backward()
        adam.step()
        seen.append(float(value.detach()))
    assert found.losses == pytest.approx(seen, rel=1e-5)
    torch.testing.assert_close(found.kernel, blur._made().detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "changes", "text"),
    [
        ((1, 3, 32, 16), {}, "divides the generator's 32 pixels, got 16 x 32"),
        ((1, 3, 24, 24), {}, "divides the generator's 32 pixels, got 24 x 24"),
        ((1, 2, 32, 32), {}, "without transparency, got (1, 2, 32, 32)"),
        ((1, 3, 32, 32), {"epochs": 0}, "settings.epochs must be a whole number, at least 1, got"),
        ((1, 3, 32, 32), {"image_rate": 0}, "settings.image_rate must be positive, got 0"),
        ((1, 3, 32, 32), {"schedule": "cos"}, "one of linear1cycledrop, linear1cycle, fixed"),
        ((1, 3, 32, 32), {"optimiser": "lion"}, "be one of adam, adamax, sgd, sgdm, got lion"),
        ((1, 3, 32, 32), {"noise": "pink"}, "noise must be one of trainable, fixed, zero, got"),
    ],
)
def test_what_deblur_face_refuses(shape, changes, text):
    with pytest.raises(ValueError) as caught:
        deblur_face(
            torch.rand(shape), Tiny(32), operators.bicubic(), settings=STYLEGAN._replace(**changes)
        )
    assert text in str(caught.value)


def test_what_operators_refuse():
    image, generator = torch.rand(1, 3, 32, 32), Tiny(32)
    with pytest.raises(ValueError, match="side of at least 256 for the encoded blur, got 32 x 32"):
        deblur_face(image, generator, operators.encoded(Shift()))
    with pytest.raises(ValueError, match="kernel_size must be odd and positive, got 4"):
        operators.uniform(4)
    with pytest.raises(ValueError, match="less than twice the image's side of 32, got 65"):
        deblur_face(image, generator, operators.uniform(65))
    generator.colours.data[0] = float("nan")
    with pytest.raises(RuntimeError, match="the loss must stay finite, got nan"):
        deblur_face(image, generator, operators.bicubic())
