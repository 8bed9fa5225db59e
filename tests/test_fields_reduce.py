# SPDX-License-Identifier: BSD-3-Clause
"""Kernel fields reduced to B basis kernels: optimality, convexity, bounds, streaming, seeds."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import torch

from blurops import basis_blur
from blurops.fields import (
    BlurField,
    CameraMotion,
    MotionKernelField,
    ReductionError,
    UniformKernelField,
    camera_motion_field,
    camera_shake_field,
    error_curve,
    reduce_kernel_field,
)
from blurops.fields import reduce as module

EPS32 = torch.finfo(torch.float32).eps


def random_tensor(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rolling(height=40, width=60, kernel_size=9):
    motion = CameraMotion(rotation=(0.15, 0.0, 0.01), zoom=1.03)
    return MotionKernelField(height, width, motion, kernel_size)


class TestSimplex:
    def test_projection_by_hand(self):
        rows = torch.tensor([[0.2, 0.3, 0.5], [2.0, 0.0, 0.0], [0.0, 0.0, -9.0], [0.5, 0.9, -3.0]])
        expected = [[0.2, 0.3, 0.5], [1, 0, 0], [0.5, 0.5, 0], [0.3, 0.7, 0]]
        torch.testing.assert_close(module.project_to_simplex(rows), torch.tensor(expected))

    def test_projection_is_the_nearest_point(self):
        # The nearest point is the one whose residual leans on no feasible direction.
        rows = 4 * random_tensor(200, 30) - 2
        nearest = module.project_to_simplex(rows)
        assert nearest.min() >= 0
        torch.testing.assert_close(nearest.sum(1), torch.ones(200).double())
        slope = rows - nearest
        gain = slope.amax(1) - (slope * nearest).sum(1)
        assert gain.max() < 1e-13

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_projection_of_large_values(self, dtype):
        rows = torch.tensor([[1e8, -1e8, 1e8]], dtype=dtype)
        assert module.project_to_simplex(rows).tolist() == [[0.5, 0, 0.5]]

    def test_weights_are_as_good_as_an_exact_solver(self):
        basis, target = random_tensor(6, 20, seed=1), random_tensor(15, 20, seed=2)
        weights = module.convex_weights(target, basis)
        assert weights.min() >= 0
        torch.testing.assert_close(weights.sum(1), torch.ones(15).double())
        error = (target - weights @ basis).square().sum(1)
        for p in range(15):
            # On each face of the simplex least squares is linear; the best feasible one wins.
            best = min(self._faces(basis.numpy(), target[p].numpy()))
            assert error[p] <= best * (1 + 2 * module._GAP_OF_ERROR)
            assert error[p] >= best * (1 - 1e-12)

    @staticmethod
    def _faces(basis, target):
        for size in range(1, len(basis) + 1):
            for face in itertools.combinations(range(len(basis)), size):
                rows = basis[list(face)]
                system = np.block([[rows @ rows.T, np.ones((size, 1))], [np.ones((1, size)), 0]])
                solution = np.linalg.solve(system, np.append(rows @ target, 1))[:size]
                if (solution >= 0).all():
                    yield np.sum((target - solution @ rows) ** 2)

    def test_no_row_ends_worse_than_it_began(self):
        basis, target = random_tensor(8, 12, seed=3), random_tensor(40, 12, seed=4)
        start = module.project_to_simplex(random_tensor(40, 8, seed=5))
        before = (target - start @ basis).square().sum(1)
        after = (target - module.convex_weights(target, basis, start) @ basis).square().sum(1)
        assert (after <= before + 1e-15).all()
        assert (after < before).any()


class TestReduction:
    def test_convex_and_shaped(self):
        field, _ = reduce_kernel_field(rolling(), 6, samples=300, boundary="circular", seed=4)
        assert field.kernels.shape == (1, 6, 9, 9)
        assert field.mixing.shape == (1, 6, 40, 60)
        assert field.kernels.dtype == field.mixing.dtype == torch.float32
        assert field.kernels.min() >= 0
        assert field.mixing.min() >= 0
        ones = torch.ones(1, 40, 60)
        torch.testing.assert_close(field.mixing.sum(1), ones, rtol=0, atol=6 * EPS32)
        sums = field.kernels.sum((2, 3))
        torch.testing.assert_close(sums, torch.ones(1, 6), rtol=0, atol=8 * EPS32)
        assert field.meta["boundary"] == "circular"
        assert field.meta["seed"] == 4

    def test_a_convex_field_of_three_kernels_is_recovered(self):
        truth = camera_shake_field(24, 30, basis_size=3, kernel_size=9, mixing="segments", seed=1)
        field, errors = reduce_kernel_field(truth, 3)
        # A gap of 1e-6 of the squared kernel leaves at most the root of 2e-6 of error.
        assert errors.error < 2e-3
        assert errors.field_error < 2e-3
        rows, columns = torch.cartesian_prod(torch.arange(24), torch.arange(30)).T
        mixed = field.kernels_at(rows, columns) - truth.kernels_at(rows, columns)
        assert mixed.norm() < 2e-3 * truth.kernels_at(rows, columns).norm()

    def test_the_error_is_the_error(self):
        source = rolling(12, 15, 7)
        field, errors = reduce_kernel_field(source, 4)
        rows, columns = torch.cartesian_prod(torch.arange(12), torch.arange(15)).T
        kernels = source.kernels_at(rows, columns)
        relative = (field.kernels_at(rows, columns) - kernels).norm() / kernels.norm()
        assert errors.field_error == pytest.approx(float(relative), rel=1e-4)
        values = torch.linalg.svdvals(kernels.flatten(1))
        assert errors.svd_bound == pytest.approx(float(values[4:].norm() / values.norm()))
        # All pixels were samples: the two errors differ by how far each weight solve went.
        assert errors.error == pytest.approx(errors.field_error, rel=module._GAP_OF_ERROR)

    def test_error_falls_with_the_basis_size_and_keeps_above_the_bound(self):
        sizes = [1, 2, 3, 5, 8, 13]
        errors, bounds = error_curve(rolling(), sizes, samples=200)
        assert all(a > b for a, b in itertools.pairwise(errors))
        assert all(error >= bound > 0 for error, bound in zip(errors, bounds, strict=True))
        # Convexity costs something, but the alternation must come near what any basis can do.
        assert all(error < 1.6 * bound for error, bound in zip(errors, bounds, strict=True))

    def test_better_than_the_kernels_of_a_grid(self):
        # Interpolating the kernels of a 3 x 4 grid of pixels is a convex mixing of 12 kernels too.
        source = rolling()
        _, errors = reduce_kernel_field(source, 12, samples=400)
        rows, columns = torch.cartesian_prod(
            torch.linspace(0, 39, 3).long(), torch.linspace(0, 59, 4).long()
        ).T
        nodes = source.kernels_at(rows, columns).flatten(1).T.view(1, 81, 3, 4)
        grid = torch.nn.functional.interpolate(nodes, (40, 60), mode="bilinear", align_corners=True)
        rows, columns = torch.cartesian_prod(torch.arange(40), torch.arange(60)).T
        kernels = source.kernels_at(rows, columns).flatten(1)
        relative = (grid[0].flatten(1).T - kernels).norm() / kernels.norm()
        assert errors.field_error < 0.8 * float(relative)

    def test_the_curve_and_the_reduction_agree(self):
        errors, bounds = error_curve(rolling(), [5, 3], samples=200, seed=2)
        for size, error, bound in zip([5, 3], errors, bounds, strict=True):
            _, found = reduce_kernel_field(rolling(), size, samples=200, seed=2)
            assert (found.error, found.svd_bound) == (error, bound)

    def test_a_uniform_motion_is_one_kernel(self):
        source = MotionKernelField(30, 50, CameraMotion(translation=(5.0, 2.0)), 9)
        field, errors = reduce_kernel_field(source, 25, samples=100)
        assert field.kernels.shape == (1, 1, 9, 9)
        assert max(errors) < 1e-6
        rows = torch.tensor([3])
        torch.testing.assert_close(field.kernels[0], source.kernels_at(rows, rows).float())
        errors, _ = error_curve(source, [1, 4], samples=100)
        assert max(errors) < 1e-6

    def test_blurring_with_the_reduced_field_is_near_the_true_blur(self):
        source = rolling(20, 24, 9)
        field, errors = reduce_kernel_field(source, 12)
        rows, columns = torch.cartesian_prod(torch.arange(20), torch.arange(24)).T
        kernels = source.kernels_at(rows, columns)[None].float()
        sharp = random_tensor(1, 1, 20, 24, seed=6).float()
        exact = basis_blur(sharp, kernels, torch.eye(20 * 24).view(1, -1, 20, 24))
        reduced = basis_blur(sharp, field.kernels, field.mixing)
        # Cauchy and Schwarz: at each pixel |error| <= |kernel error| * |9 x 9 pixels| <= 9 |...|.
        wrong = (field.kernels_at(rows, columns) - kernels[0]).flatten(1).norm(dim=1)
        assert ((reduced - exact).flatten().abs() <= 9 * wrong + 1e-6).all()
        assert (reduced - exact).norm() < 0.1 * (exact - exact.mean()).norm()
        assert errors.field_error < 0.15

    def test_equal_seeds_give_equal_fields(self):
        first, again, other = (
            reduce_kernel_field(rolling(), 4, samples=100, seed=seed) for seed in (7, 7, 8)
        )
        assert torch.equal(first[0].kernels, again[0].kernels)
        assert torch.equal(first[0].mixing, again[0].mixing)
        assert first[1] == again[1]
        assert not torch.equal(first[0].kernels, other[0].kernels)

    def test_the_global_generator_is_left_alone(self):
        state = torch.get_rng_state()
        reduce_kernel_field(rolling(), 2, samples=50)
        assert torch.equal(torch.get_rng_state(), state)

    def test_kernels_are_made_in_chunks_only(self, monkeypatch):
        monkeypatch.setattr(module, "_CHUNK", 100)
        source, asked = rolling(), []
        original = source.kernels_at
        monkeypatch.setattr(
            source, "kernels_at", lambda r, c: asked.append(len(r)) or original(r, c)
        )
        steps = []
        field, _ = reduce_kernel_field(
            source, 3, samples=150, progress=lambda done, total: steps.append((done, total))
        )
        assert max(asked) <= 100
        assert sum(asked) >= 40 * 60
        assert steps[-1] == (40, 40)
        assert [done for done, _ in steps] == sorted({done for done, _ in steps})
        monkeypatch.undo()
        whole, _ = reduce_kernel_field(rolling(), 3, samples=150)
        # The weights of a pixel do not depend on its neighbours but through the batch's rounding.
        torch.testing.assert_close(field.mixing, whole.mixing, rtol=0, atol=1e-3)

    def test_the_corners_are_among_the_samples(self):
        rows, columns = module._sample_pixels(rolling(400, 300, 61), 60, 0)
        pixels = set(zip(rows.tolist(), columns.tolist(), strict=True))
        assert {(0, 0), (0, 299), (399, 0), (399, 299)} <= pixels
        assert 50 <= len(pixels) <= 64

    def test_a_tensor_of_kernels(self):
        kernels = rolling(6, 7, 7).kernels_at(
            *torch.cartesian_prod(torch.arange(6), torch.arange(7)).T
        )
        flat, first = reduce_kernel_field(kernels, 3)
        image, second = reduce_kernel_field(kernels.view(6, 7, 7, 7), 3)
        assert flat.mixing.shape == (1, 3, 1, 42)
        assert image.mixing.shape == (1, 3, 6, 7)
        assert first == second
        assert torch.equal(flat.mixing.flatten(), image.mixing.flatten())

    def test_camera_motion_field_is_the_reduction_of_its_motion(self):
        field, errors = camera_motion_field(
            40, 60, rotation=(0.15, 0, 0.01), zoom=1.03, basis_size=4, kernel_size=9, samples=100
        )
        expected, same = reduce_kernel_field(rolling(), 4, samples=100)
        assert isinstance(field, BlurField)
        assert isinstance(errors, ReductionError)
        assert torch.equal(field.mixing, expected.mixing)
        assert errors == same
        assert field.meta["generator"] == "camera_motion_field"

    @pytest.mark.parametrize(
        ("arguments", "error", "text"),
        [
            (
                ("field", 3),
                TypeError,
                "kernel_field must be a kernel field, a BlurField or a tensor",
            ),
            (
                (torch.ones(4, 4, 4), 3),
                ValueError,
                r"kernels must be \(P, K, K\) or \(H, W, K, K\)",
            ),
            ((torch.ones(4, 3, 3).long(), 3), TypeError, "kernels must be a floating-point tensor"),
            ((torch.ones(0, 3, 3), 3), ValueError, r"kernels must not be empty, got \(0, 3, 3\)"),
            ((torch.full((4, 3, 3), torch.nan), 3), ValueError, "kernel_field must be finite"),
            ((torch.zeros(4, 3, 3), 3), ValueError, "kernel_field must not be 0 everywhere"),
            ((torch.ones(4, 3, 3), 0), ValueError, "basis_size must be at least 1, got 0"),
            ((torch.ones(4, 3, 3), 2.5), TypeError, "basis_size must be an int, got 2.5"),
        ],
    )
    def test_errors(self, arguments, error, text):
        with pytest.raises(error, match=text):
            reduce_kernel_field(*arguments)

    def test_more_errors(self):
        kernels = torch.ones(4, 3, 3)
        with pytest.raises(ValueError, match=r"reduce_kernel_field: samples must be at least 1"):
            reduce_kernel_field(kernels, 2, samples=0)
        with pytest.raises(ValueError, match=r"reduce_kernel_field: boundary must be one of"):
            reduce_kernel_field(kernels, 2, boundary="mirror")
        with pytest.raises(ValueError, match=r"error_curve: basis_sizes must hold at least one"):
            error_curve(kernels, [])
        with pytest.raises(ValueError, match=r"error_curve: basis_sizes must be at least 1, got 0"):
            error_curve(kernels, [2, 0])
        oblong = BlurField(torch.ones(1, 1, 3, 5), torch.ones(1, 1, 4, 4), {"boundary": "zeros"})
        with pytest.raises(ValueError, match=r"kernel_field must have square kernels, got \(1, 1"):
            reduce_kernel_field(oblong, 2)
        with pytest.raises(ValueError, match=r"kernel must be \(K, K\) with K odd, got \(3, 5\)"):
            UniformKernelField(4, 4, torch.ones(3, 5))


def test_nnls_agrees():
    """The same answer as SciPy's non-negative least squares with a heavy row for the sum."""
    basis, target = random_tensor(5, 30, seed=8), random_tensor(6, 30, seed=9)
    weights = module.convex_weights(target, basis)
    heavy = 1e4
    for p in range(6):
        system = np.vstack([basis.numpy().T, np.full((1, 5), heavy)])
        exact, _ = scipy.optimize.nnls(system, np.append(target[p].numpy(), heavy))
        fit = np.linalg.norm(target[p].numpy() - exact @ basis.numpy())
        ours = float((target[p] - weights[p] @ basis).norm())
        assert ours == pytest.approx(fit, rel=module._GAP_OF_ERROR)
