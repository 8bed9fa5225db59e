# SPDX-License-Identifier: BSD-3-Clause
"""Rendered paths, hand-tremor kernels, mixing maps: geometry, spectrum, seeds, convexity."""

import math

import numpy as np
import pytest
import scipy.signal
import torch

from blurops.fields import (
    camera_shake_field,
    camera_shake_kernels,
    hand_tremor,
    render_paths,
    segment_mixing,
    smooth_mixing,
    tremor_spectrum,
)
from blurops.fields.tremor import TREMOR_ACCELERATION, TREMOR_BAND, TREMOR_WIDTH

EPS32 = torch.finfo(torch.float32).eps


def path(*points):
    return torch.tensor([points], dtype=torch.float64)


def centroid(kernels):
    """(P, 2) mean (x, y) from the centre."""
    offset = torch.arange(kernels.shape[-1], dtype=kernels.dtype) - kernels.shape[-1] // 2
    return torch.stack([kernels.sum(-2) @ offset, kernels.sum(-1) @ offset], dim=-1)


class TestRenderPaths:
    def test_a_horizontal_line_by_hand(self):
        # From -1.5 to 1.5: the tents at 0, +-1, +-2 integrate to 1, 7/8, 1/8, over a length of 3.
        kernel = render_paths(path((-1.5, 0), (1.5, 0)), 5)[0]
        expected = torch.zeros(5, 5, dtype=torch.float64)
        expected[2] = torch.tensor([1 / 24, 7 / 24, 8 / 24, 7 / 24, 1 / 24])
        torch.testing.assert_close(kernel, expected)

    def test_x_is_right_and_y_is_down(self):
        kernel = render_paths(path((2.0, 1.0), (2.0, 1.0)), 5)[0]
        assert kernel[2 + 1, 2 + 2] == 1
        assert kernel.sum() == 1

    def test_a_diagonal_by_hand(self):
        # From (0, 0) to (1, 1): the integrals of (1-t)^2, t(1-t) and t^2.
        kernel = render_paths(path((0, 0), (1, 1)), 3)[0]
        expected = torch.tensor([[0, 0, 0], [0, 1 / 3, 1 / 6], [0, 1 / 6, 1 / 3]]).double()
        torch.testing.assert_close(kernel, expected)

    def test_equals_a_fine_midpoint_rule(self):
        generator = torch.Generator().manual_seed(0)
        paths = 12 * torch.rand(4, 9, 2, generator=generator, dtype=torch.float64) - 6
        count = 20000  # points on each straight piece
        time = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        start, step = paths[:, :-1, None], (paths[:, 1:] - paths[:, :-1])[:, :, None]
        points = (start + time[:, None] * step).flatten(1, 2)
        offset = torch.arange(-6, 7, dtype=torch.float64)
        tent = (1 - (points[..., None] - offset).abs()).clamp(min=0)  # (P, n, 2, 13)
        expected = torch.einsum("pnx,pny->pyx", tent[:, :, 0], tent[:, :, 1]) / points.shape[1]
        # The rule errs where a piece of up to 17 px crosses a kink: h^2 |slope jump| per crossing.
        tolerance = 40 * (17 / count) ** 2
        torch.testing.assert_close(render_paths(paths, 13), expected, rtol=0, atol=tolerance)

    def test_mass_and_centroid_are_exact(self):
        generator = torch.Generator().manual_seed(1)
        paths = 10 * torch.rand(50, 30, 2, generator=generator, dtype=torch.float64) - 5
        kernels = render_paths(paths, 11)
        mean = (paths[:, 1:] + paths[:, :-1]).mean(1) / 2
        assert kernels.min() >= 0
        torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(50).double())
        torch.testing.assert_close(centroid(kernels), mean, rtol=0, atol=1e-13)

    def test_a_path_on_the_border_stays_inside(self):
        kernel = render_paths(path((-2, -2), (2, -2), (2, 2), (-2, 2), (-2, -2)), 5)[0]
        torch.testing.assert_close(kernel[0].sum(), kernel[:, -1].sum())
        torch.testing.assert_close(kernel.sum(), torch.tensor(1.0).double())
        assert kernel[2, 2] == 0

    def test_a_kernel_of_one_pixel(self):
        assert render_paths(path((0, 0), (0, 0)), 1).tolist() == [[[1.0]]]


class TestTremor:
    def test_spectrum_is_the_documented_formula(self):
        frequency = torch.linspace(0, 60, 600001, dtype=torch.float64)
        step = float(frequency[1])
        tremor = tremor_spectrum(frequency, peak=10.0, acceleration=0.5, drift=0.0)
        assert frequency[tremor.argmax()] == pytest.approx(10.0, abs=step)
        assert float(tremor.sum()) * step == pytest.approx(0.5**2, rel=1e-6)
        drift = tremor_spectrum(frequency[1:], acceleration=0.0, drift=0.02)
        velocity = drift / (2 * math.pi * frequency[1:]) ** 2
        # What lies beyond 60 Hz of c / f^4 is a part in 60^3 / 3 * c < 2e-6; the bin at 0 is half.
        variance = (float(velocity.sum()) + float(velocity[0]) / 2) * step
        assert variance == pytest.approx(0.02**2, rel=1e-5)

    def test_acceleration_has_the_spectrum_of_the_model(self):
        rate, count = 256, 200
        angles = np.stack(
            [hand_tremor(8.0, 8 * rate, seed=5, index=i).numpy() for i in range(count)]
        )
        acceleration = np.diff(angles, n=2, axis=1) * rate**2
        frequency, power = scipy.signal.welch(acceleration, rate, nperseg=2 * rate, axis=1)
        band = (frequency >= 4) & (frequency <= 17)
        frequency, power = torch.from_numpy(frequency[band]), power[:, band].mean(-1)
        # A second difference measures acceleration through sinc(f / rate)^4.
        power = power / np.sinc(frequency.numpy() / rate) ** 4
        mean, spread = power.mean(0), power.std(0) / math.sqrt(count)
        weak, strong = TREMOR_ACCELERATION
        square = (strong**2 - weak**2) / (2 * math.log(strong / weak))
        peaks = torch.linspace(*TREMOR_BAND, 401).tolist()
        # Welch's method sees the spectrum through the window's: a Hann window of 2 s.
        shift = torch.linspace(-4, 4, 161, dtype=torch.float64)
        window = scipy.signal.get_window("hann", 2 * rate) @ np.exp(
            -2j * np.pi * np.arange(2 * rate)[:, None] / rate * shift.numpy()
        )
        seen = torch.from_numpy(np.abs(window) ** 2)
        seen /= seen.sum()
        expected = sum(
            tremor_spectrum(frequency[:, None] - shift, peak=peak, acceleration=math.sqrt(square))
            for peak in peaks
        ) / len(peaks)
        np.testing.assert_array_less(np.abs(mean - (expected @ seen).numpy()), 5 * spread)
        assert TREMOR_BAND[0] <= frequency[mean.argmax()] <= TREMOR_BAND[1]

    def test_each_hand_has_its_own_peak_in_the_band(self):
        peaks = []
        for index in range(20):
            angles = hand_tremor(8.0, 2048, seed=9, index=index)
            power = np.abs(np.fft.rfft(np.diff(angles.numpy(), n=2, axis=0), axis=0)) ** 2
            frequency = np.fft.rfftfreq(2047, 1 / 256)
            band = (frequency > 5) & (frequency < 20)
            peaks.append(np.average(frequency[band], weights=power[band].sum(-1)))
        low, high = TREMOR_BAND
        assert low - TREMOR_WIDTH < min(peaks) < max(peaks) < high + TREMOR_WIDTH
        assert np.ptp(peaks) > (high - low) / 3

    def test_a_longer_exposure_continues_the_same_motion(self):
        short, long = hand_tremor(0.5, 100, seed=2), hand_tremor(1.0, 200, seed=2)
        torch.testing.assert_close(short - short[0], long[:101] - long[0])

    def test_kernels_are_centred_unit_and_inside(self):
        kernels = camera_shake_kernels(40, 33, seed=3)
        assert kernels.dtype == torch.float32
        assert kernels.min() >= 0
        # Sums of 33^2 float32 roundings, weighted by at most 16 px for the centroid.
        torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(40), rtol=0, atol=8 * EPS32)
        assert centroid(kernels.double()).abs().max() < 16 * 8 * EPS32
        assert kernels.amax((1, 2)).max() < 1

    def test_a_path_too_long_is_scaled_to_the_border(self):
        wide, small = (camera_shake_kernels(6, k, seed=4, strength=20.0) for k in (33, 9))
        for kernels in (wide, small):
            edge = torch.cat([kernels[:, 0], kernels[:, -1], kernels[..., 0], kernels[..., -1]], 1)
            assert (edge.amax(1) > 0).all()
            torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(6), rtol=0, atol=8 * EPS32)

    def test_most_one_second_exposures_fit_33_pixels_unscaled(self):
        # The papers keep kernels below 33 x 33 from exposures of up to one second.
        kernels = camera_shake_kernels(100, 65, seed=6)
        outside = kernels.sum((1, 2)) - kernels[:, 16:-16, 16:-16].sum((1, 2))
        assert 0.8 < (outside < 8 * EPS32).float().mean() < 1

    def test_strength_zero_is_a_delta(self):
        kernel = camera_shake_kernels(1, 5, strength=0.0)[0]
        assert kernel[2, 2] == 1
        assert kernel.sum() == 1

    def test_a_longer_exposure_spreads_more(self):
        offset = (torch.arange(33.0) - 16) ** 2
        spread = [
            (k.sum(1) @ offset + k.sum(2) @ offset).mean()
            for k in (camera_shake_kernels(30, 33, exposure=e, seed=1) for e in (0.05, 0.2, 1.0))
        ]
        assert spread[0] < spread[1] < spread[2]

    def test_kernel_i_does_not_depend_on_count_and_seeds_differ(self):
        first = camera_shake_kernels(7, 21, exposure=(0.2, 0.8), seed=11)
        assert torch.equal(first[:3], camera_shake_kernels(3, 21, exposure=(0.2, 0.8), seed=11))
        assert not torch.equal(first[0], first[1])
        # torch's generator drops the high 32 bits of a seed; ours must not.
        for seed in (12, 11 + (1 << 32)):
            other = camera_shake_kernels(1, 21, exposure=(0.2, 0.8), seed=seed)
            assert not torch.equal(first[:1], other)

    @pytest.mark.parametrize(
        ("arguments", "error", "text"),
        [
            ({"count": 0}, ValueError, "count must be at least 1, got 0"),
            ({"count": 2.0}, TypeError, "count must be an int, got 2.0"),
            ({"kernel_size": 8}, ValueError, "kernel_size must be odd, got 8"),
            ({"kernel_size": 1}, ValueError, "kernel_size must be at least 3, got 1"),
            ({"exposure": 0}, ValueError, "exposure must be greater than 0, got 0"),
            ({"exposure": 9.0}, ValueError, "exposure must be at most 8 seconds, got 9"),
            ({"exposure": (1.0, 0.5)}, ValueError, r"exposure must be \(low, high\), low first"),
            ({"exposure": (1, 1, 1)}, ValueError, r"exposure must be seconds or \(low, high\)"),
            ({"exposure": math.nan}, ValueError, "exposure must be finite, got nan"),
            ({"focal_length": -1.0}, ValueError, "focal_length must be greater than 0"),
            ({"strength": -1.0}, ValueError, "strength must be at least 0, got -1"),
            ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
            ({"seed": 1 << 63}, ValueError, r"seed must be less than 2\*\*63"),
            ({"seed": True}, TypeError, "seed must be an int, got True"),
        ],
    )
    def test_errors(self, arguments, error, text):
        with pytest.raises(error, match=f"^camera_shake_kernels: {text}"):
            camera_shake_kernels(**({"count": 2} | arguments))

    def test_hand_tremor_errors(self):
        with pytest.raises(ValueError, match=r"^hand_tremor: duration must be at most 8 seconds"):
            hand_tremor(8.5, 10)
        with pytest.raises(ValueError, match=r"^hand_tremor: steps must be at least 1, got 0"):
            hand_tremor(1.0, 0)
        with pytest.raises(ValueError, match=r"^hand_tremor: index must be at least 0, got -1"):
            hand_tremor(1.0, 5, index=-1)


@pytest.mark.parametrize("make", [smooth_mixing, segment_mixing])
@pytest.mark.parametrize("size", [(1, 1), (7, 50), (64, 33)])
class TestMixing:
    def test_convex(self, make, size):
        mixing = make(6, *size, seed=1)
        assert mixing.shape == (1, 6, *size)
        assert mixing.dtype == torch.float32
        assert mixing.min() >= 0
        torch.testing.assert_close(mixing.sum(1), torch.ones(1, *size), rtol=0, atol=6 * EPS32)

    def test_seeded(self, make, size):
        assert torch.equal(make(6, *size, seed=1), make(6, *size, seed=1))
        assert not torch.equal(make(6, *size, seed=1), make(6, *size, seed=2)) or size == (1, 1)


class TestSmoothMixing:
    def test_neighbours_differ_little(self):
        mixing = smooth_mixing(5, 120, 160, scale=0.25, contrast=8.0, seed=3)
        # A softmax has slope at most 1/4 per unit of contrast * g; g's B-spline, spacing 40 px, has
        # slope at most the largest difference of two of its normal coefficients, below 8, per 40.
        limit = 2 * 0.25 * 8.0 * 8 / 40
        assert mixing.diff(dim=2).abs().max() < limit
        assert mixing.diff(dim=3).abs().max() < limit
        assert mixing.amax((2, 3)).max() > 0.9

    def test_no_contrast_mixes_all_alike(self):
        mixing = smooth_mixing(4, 5, 6, contrast=0.0)
        assert torch.equal(mixing, torch.full((1, 4, 5, 6), 0.25))

    def test_the_same_picture_at_every_resolution(self):
        small, large = (smooth_mixing(4, *size, seed=2) for size in ((30, 40), (90, 120)))
        # The centre of a small pixel is the centre of its block of 3 x 3.
        torch.testing.assert_close(large[..., 1::3, 1::3], small, rtol=0, atol=1e-5)

    def test_chunks_do_not_matter(self, monkeypatch):
        whole = smooth_mixing(3, 40, 30, seed=5)
        monkeypatch.setattr("blurops.fields.mixing._CHUNK", 200)
        parts = smooth_mixing(3, 40, 30, seed=5)
        # The vectorised exponential rounds differently at the end of a chunk.
        torch.testing.assert_close(parts, whole, rtol=0, atol=8 * EPS32)

    def test_errors(self):
        with pytest.raises(ValueError, match=r"^smooth_mixing: scale must be greater than 0"):
            smooth_mixing(2, 4, 4, scale=0.0)
        with pytest.raises(ValueError, match=r"^smooth_mixing: height must be at least 1, got 0"):
            smooth_mixing(2, 0, 4)
        with pytest.raises(TypeError, match=r"^smooth_mixing: contrast must be a number, got 'x'"):
            smooth_mixing(2, 4, 4, contrast="x")


class TestSegmentMixing:
    def test_hard_labels(self):
        assert segment_mixing(9, 40, 60, softness=0.0, seed=1).unique().tolist() == [0, 1]

    def test_seams_are_ramps_of_the_stated_width(self):
        # Two sites: the seam is one straight line, and the weight a function of the distance to it.
        width = 10.0
        soft = segment_mixing(2, 80, 90, softness=width, seed=8)[0, 0].double()
        hard = segment_mixing(2, 80, 90, softness=0.0, seed=8)[0, 0]
        ramp = (soft > 0) & (soft < 1)
        assert torch.equal(soft[~ramp] > 0.5, hard[~ramp] == 1)
        # Where map 0 leads, its share is 1 / (2 - t / (width / 2)) at distance t from the seam.
        distance = torch.where(soft >= 0.5, 2 - 1 / soft, 1 / (1 - soft) - 2) * width / 2
        down, right = distance.diff(dim=0), distance.diff(dim=1)
        inside = ramp[1:, 1:] & ramp[:-1, 1:] & ramp[1:, :-1]
        slope = torch.hypot(down[:, 1:][inside], right[1:][inside])
        # soft is float32, and 1 / soft is at most 2.
        torch.testing.assert_close(slope, torch.ones_like(slope), rtol=0, atol=16 * width * EPS32)

    def test_exactly_zero_or_one_away_from_seams(self):
        mixing = segment_mixing(12, 200, 200, softness=4.0, seed=4)
        pure = (mixing == 0) | (mixing == 1)
        assert 0.5 < pure.all(1).float().mean() < 1

    def test_site_b_does_not_depend_on_count(self):
        few, many = (segment_mixing(n, 50, 50, softness=0.0, seed=6) for n in (3, 5))
        # More sites can only take pixels away.
        assert (many[:, :3] <= few).all()

    def test_errors(self):
        with pytest.raises(ValueError, match=r"^segment_mixing: softness must be at least 0"):
            segment_mixing(2, 4, 4, softness=-1.0)
        with pytest.raises(ValueError, match=r"^segment_mixing: count must be at least 1, got 0"):
            segment_mixing(0, 4, 4)


class TestCameraShakeField:
    @pytest.mark.parametrize("mixing", ["smooth", "segments"])
    def test_parts(self, mixing):
        field = camera_shake_field(
            30, 40, basis_size=4, kernel_size=15, seed=3, mixing=mixing, boundary="circular"
        )
        assert torch.equal(field.kernels[0], camera_shake_kernels(4, 15, seed=3))
        maps = {"smooth": smooth_mixing, "segments": segment_mixing}[mixing](4, 30, 40, seed=3)
        assert torch.equal(field.mixing, maps)
        assert field.meta == {
            "boundary": "circular",
            "gamma": 1.0,
            "orientation": "correlation",
            "generator": "camera_shake_field",
            "seed": 3,
            "maps": mixing,
        }
        assert field.size == (30, 40)
        assert field.to(torch.float64).mixing.dtype == torch.float64

    def test_the_mixed_kernel_of_a_pixel(self):
        field = camera_shake_field(8, 9, basis_size=3, kernel_size=5)
        kernel = field.kernels_at(torch.tensor([4]), torch.tensor([7]))[0]
        expected = sum(field.mixing[0, b, 4, 7] * field.kernels[0, b] for b in range(3))
        torch.testing.assert_close(kernel, expected)

    def test_errors(self):
        with pytest.raises(
            ValueError, match=r"mixing must be one of smooth, segments, got 'blobs'"
        ):
            camera_shake_field(8, 8, mixing="blobs")
        with pytest.raises(ValueError, match=r"boundary must be one of .*, got 'mirror'"):
            camera_shake_field(8, 8, boundary="mirror")
        with pytest.raises(ValueError, match=r"camera_shake_field: gamma must be greater than 0"):
            camera_shake_field(8, 8, gamma=0)

    def test_the_global_generator_is_left_alone(self):
        state = torch.get_rng_state()
        camera_shake_field(8, 8, basis_size=2, kernel_size=5)
        camera_shake_field(8, 8, basis_size=2, kernel_size=5, mixing="segments")
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(99)
        again = camera_shake_field(8, 8, basis_size=2, kernel_size=5)
        torch.manual_seed(1)
        assert torch.equal(
            again.mixing, camera_shake_field(8, 8, basis_size=2, kernel_size=5).mixing
        )
