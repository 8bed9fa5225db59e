# SPDX-License-Identifier: BSD-3-Clause
"""The camera's model, eq. 3 of Carbajal et al., and the pictures of blur fields."""

import io
import math
import subprocess
import sys

import pytest
import torch

from blurops import Saturation, basis_blur
from blurops.fields import (
    BlurField,
    CameraMotion,
    MotionKernelField,
    camera_shake_field,
    observe,
    plot_basis,
    plot_error_curve,
    plot_kernel_field,
    reduce_kernel_field,
)
from blurops.fields.field import field_meta


@pytest.fixture(scope="module")
def field():
    return camera_shake_field(24, 32, basis_size=3, kernel_size=9, seed=5)


@pytest.fixture(scope="module")
def sharp():
    return 1.2 * torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(1))


def identity(height=24, width=32):
    return BlurField(torch.ones(1, 1, 1, 1), torch.ones(1, 1, height, width), field_meta())


class TestObserve:
    def test_noiseless_linear_is_the_blur(self, field, sharp):
        blurred = basis_blur(sharp, field.kernels, field.mixing)
        assert torch.equal(observe(sharp, field), blurred)

    @pytest.mark.parametrize("boundary", ["circular", "zeros", "valid"])
    def test_the_boundary_is_the_fields_own(self, field, sharp, boundary):
        mixing = field.mixing[..., :16, :24] if boundary == "valid" else field.mixing
        other = BlurField(field.kernels, mixing, field_meta(boundary))
        expected = basis_blur(sharp, field.kernels, mixing, boundary=boundary)
        torch.testing.assert_close(observe(sharp, other), expected.clamp(min=0))

    def test_equation_3_in_its_order(self, sharp):
        # Noise before the response, the response before the power.
        sensor = Saturation(a=20.0, level=0.8)
        noise = (observe(sharp + 1, identity(), noise=0.05, seed=3) - (sharp + 1)).double()
        x = sharp.double() + noise
        response = x - torch.log1p(torch.exp(20 * (x - 0.8))) / 20
        expected = response.clamp(min=0) ** (1 / 2.2)
        seen = observe(sharp, identity(), noise=0.05, saturation=sensor, gamma=2.2, seed=3)
        # The noise was read back through a sum near 2, in float32; the power is steep near 0.
        bright = response > 0.01
        torch.testing.assert_close(seen.double()[bright], expected[bright], rtol=1e-4, atol=0)
        assert seen.max() <= 0.8 ** (1 / 2.2)

    def test_noise_has_the_stated_deviation(self):
        flat = torch.full((1, 1, 300, 300), 0.5)
        noise = observe(flat, identity(300, 300), noise=0.02, seed=1) - 0.5
        # Of n normal draws: the deviation errs by 1 / sqrt(2 n) of itself, the mean by 1 / sqrt(n).
        assert float(noise.std()) == pytest.approx(0.02, rel=5 / math.sqrt(2 * 90000))
        assert abs(float(noise.mean())) < 5 * 0.02 / 300

    def test_noise_is_seeded_for_every_dtype_and_leaves_the_global_generator_alone(self, sharp):
        state = torch.get_rng_state()
        first = observe(sharp, identity(), noise=0.1, seed=4)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(first, observe(sharp, identity(), noise=0.1, seed=4))
        assert not torch.equal(first, observe(sharp, identity(), noise=0.1, seed=5))
        double = observe(sharp.double(), identity().to(torch.float64), noise=0.1, seed=4)
        torch.testing.assert_close(first.double(), double, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("gamma", [1.0, 2.2])
    def test_negative_values_are_clipped(self, gamma):
        dark = torch.zeros(1, 1, 20, 20)
        seen = observe(dark, identity(20, 20), noise=0.1, gamma=gamma)
        assert seen.min() == 0
        assert 0.3 < float((seen == 0).float().mean()) < 0.7

    def test_any_operator_with_forward(self, sharp):
        class Halves:
            def forward(self, image):
                return image / 2

        torch.testing.assert_close(observe(sharp, Halves()), sharp / 2)

    def test_inputs_are_not_written(self, sharp):
        before = sharp.clone()
        observe(sharp, identity(), noise=0.5, saturation=Saturation(), gamma=2.2)
        assert torch.equal(sharp, before)

    @pytest.mark.parametrize(
        ("changes", "error", "text"),
        [
            ({"sharp": [1]}, TypeError, r"sharp must be a tensor of shape \(N, C, H, W\)"),
            (
                {"sharp": torch.ones(4, 4)},
                ValueError,
                r"sharp must be \(N, C, H, W\), got \(4, 4\)",
            ),
            ({"operator": 3}, TypeError, "operator must be a BlurField or have a forward method"),
            ({"noise": -0.1}, ValueError, "noise must be at least 0, got -0.1"),
            ({"noise": math.inf}, ValueError, "noise must be finite, got inf"),
            ({"gamma": 0.0}, ValueError, "gamma must be greater than 0, got 0"),
            ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ],
    )
    def test_errors(self, changes, error, text):
        arguments = {"sharp": torch.ones(1, 1, 24, 32), "operator": identity()} | changes
        with pytest.raises(error, match=f"^observe: {text}"):
            observe(**arguments)

    def test_a_field_of_another_size(self):
        with pytest.raises(ValueError, match=r"mixing must"):
            observe(torch.ones(1, 1, 24, 31), identity())


def pixels(figure):
    """What the figure draws, as a PNG's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=40, format="png", metadata={"Software": None})
    return buffer.getvalue()


class TestPictures:
    def test_kernels_are_drawn_at_their_pixels(self, field):
        image = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))
        figure = plot_kernel_field(image, field, spacing=8)
        photo, *drawn = figure.axes[0].images
        assert photo.get_array().shape == (24, 32, 3)
        assert len(drawn) == 3 * 4
        left, right, bottom, top = drawn[5].get_extent()
        assert ((left + right) / 2, (bottom + top) / 2) == (12, 12)
        assert bottom > top  # rows run down, as in the image
        kernel = field.kernels_at(torch.tensor([12]), torch.tensor([12]))[0]
        opacity = torch.from_numpy(drawn[5].get_array()[..., 3])
        torch.testing.assert_close(opacity.float(), (kernel / kernel.max()).sqrt())

    def test_orientation_turns_the_kernels(self, field):
        image = torch.rand(1, 1, 24, 32)
        drawn = [
            torch.from_numpy(
                plot_kernel_field(image, field, spacing=24, orientation=name)
                .axes[0]
                .images[1]
                .get_array()[..., 3]
            )
            for name in ("correlation", "convolution")
        ]
        assert torch.equal(drawn[0].flip(0, 1), drawn[1])
        assert not torch.equal(*drawn)

    def test_default_spacing_draws_about_fourteen(self):
        field = camera_shake_field(100, 150, basis_size=2, kernel_size=9)
        figure = plot_kernel_field(torch.rand(3, 100, 150), field)
        assert 8 * 12 <= len(figure.axes[0].images) - 1 <= 9 * 14

    def test_basis_shows_each_kernel_and_its_map(self, field):
        figure = plot_basis(field)
        shown = [torch.from_numpy(axes.images[0].get_array().data) for axes in figure.axes]
        assert len(shown) == 2 * 3
        for b in range(3):
            assert torch.equal(shown[2 * b], field.kernels[0, b])
            assert torch.equal(shown[2 * b + 1], field.mixing[0, b])

    def test_error_curve_returns_the_numbers_it_draws(self):
        source = MotionKernelField(20, 30, CameraMotion(rotation=(0.2, 0, 0)), 9)
        figure, curve = plot_error_curve(source, (6, 2, 1, 2), samples=100)
        assert curve.basis_sizes == (1, 2, 6)
        assert curve.errors[0] > curve.errors[1] > curve.errors[2]
        assert all(e >= b for e, b in zip(curve.errors, curve.svd_bounds, strict=True))
        errors, bounds = (line.get_xydata() for line in figure.axes[0].lines)
        assert errors.T.tolist() == [[1, 2, 6], list(curve.errors)]
        assert bounds.T.tolist() == [[1, 2, 6], list(curve.svd_bounds)]
        assert curve.errors[2] == reduce_kernel_field(source, 6, samples=100)[1].error

    def test_they_are_written_without_a_window_or_pyplot(self, field):
        source = MotionKernelField(8, 9, CameraMotion(rotation=(0.2, 0, 0)), 5)
        figures = [
            plot_kernel_field(torch.rand(3, 24, 32), field),
            plot_basis(field),
            plot_error_curve(source, (1, 2))[0],
        ]
        assert all(pixels(figure).startswith(b"\x89PNG") for figure in figures)

    def test_matplotlib_is_imported_only_to_draw(self):
        code = (
            "import sys, blurops.fields as f\n"
            "assert 'matplotlib' not in sys.modules\n"
            "f.plot_basis(f.camera_shake_field(8, 8, basis_size=1, kernel_size=3))\n"
            "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.parametrize(
        ("call", "error", "text"),
        [
            (lambda f: plot_kernel_field(torch.rand(3, 24, 30), f), ValueError,
             "plot_kernel_field: image must have the field's size 24x32, got 24x30"),
            (lambda f: plot_kernel_field(torch.rand(2, 24, 32), f), ValueError,
             "image must have 1 or 3 channels, got 2"),
            (lambda f: plot_kernel_field(torch.rand(2, 3, 24, 32), f), ValueError,
             r"image must be \(C, H, W\)"),
            (lambda f: plot_kernel_field(torch.rand(3, 24, 32), f, orientation="up"), ValueError,
             "orientation must be one of correlation, convolution, got 'up'"),
            (lambda f: plot_kernel_field(torch.rand(3, 24, 32), f, spacing=0), ValueError,
             "spacing must be at least 1"),
            (lambda _: plot_basis("field"), TypeError, "plot_basis: field must be a BlurField"),
            (lambda _: plot_error_curve("field"), TypeError, "error_curve: kernel_field must be"),
        ],
    )  # fmt: skip
    def test_errors(self, field, call, error, text):
        with pytest.raises(error, match=text):
            call(field)
