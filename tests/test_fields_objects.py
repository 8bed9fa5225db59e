# SPDX-License-Identifier: BSD-3-Clause
"""Objects that move by themselves: their layers, their edges, and the reduced field."""

import math

import pytest
import torch
import torch.nn.functional as F

from blurops import basis_blur
from blurops.fields import (
    LayeredKernelField,
    MotionKernelField,
    ObjectMotion,
    UniformKernelField,
    camera_shake_kernels,
    moving_objects_field,
)

PIXEL = torch.tensor


def square_mask(height, width, rows, columns):
    mask = torch.zeros(height, width)
    mask[rows, columns] = 1
    return mask


class TestMovingObjects:
    masks = torch.stack(
        [
            square_mask(30, 40, slice(5, 15), slice(4, 16)),
            square_mask(30, 40, slice(12, 26), slice(24, 34)),
        ]
    )

    def test_equals_algorithm_1_with_convolutions(self):
        kernels = camera_shake_kernels(3, 9, seed=8, strength=0.6)
        field, errors = moving_objects_field(
            30, 40, self.masks, list(kernels[1:]), background=kernels[0], kernel_size=9
        )
        assert errors == (0, 0, 0)
        sharp = torch.rand(1, 1, 30, 40, generator=torch.Generator().manual_seed(1))
        blurred = basis_blur(sharp, field.kernels, field.mixing, boundary="replicate")
        layers = torch.cat([1 - self.masks.sum(0, keepdim=True), self.masks])
        pad = lambda x: F.pad(x, (4, 4, 4, 4), mode="replicate")  # noqa: E731
        shown = [
            F.conv2d(pad(m[None, None]), k[None, None])
            for m, k in zip(layers, kernels, strict=True)
        ]
        seen = [F.conv2d(pad(sharp), k[None, None]) for k in kernels]
        expected = sum(m * u for m, u in zip(shown, seen, strict=True)) / sum(shown)
        # Three sums of 81 products in float32.
        torch.testing.assert_close(blurred, expected, rtol=0, atol=1e-5)

    def test_the_streamed_kernels_equal_the_exact_field(self):
        kernels = camera_shake_kernels(3, 9, seed=8, strength=0.6).double()
        layers = [UniformKernelField(30, 40, k) for k in kernels]
        source = LayeredKernelField(layers[0], layers[1:], self.masks)
        rows, columns = torch.cartesian_prod(torch.arange(30), torch.arange(40)).T
        expected = torch.einsum("jp,jab->pab", source.uniform_mixing().flatten(1), kernels)
        torch.testing.assert_close(source.kernels_at(rows, columns), expected)

    def test_far_from_an_object_only_the_background_shows(self):
        motion = ObjectMotion(translation=(6, 0))
        field, _ = moving_objects_field(30, 40, self.masks[:1], [motion], kernel_size=7)
        assert field.mixing[0, 0, 20:, 20:].eq(1).all()
        assert field.mixing[0, 1, 9, 10] == 1  # the inside of the object
        # The kernel is (1, 2, 2, 2, 2, 2, 1) / 12. Two pixels to the left of the object its part
        # from 2 px on sees the object, 1/4; the background, which stands still, is seen fully.
        torch.testing.assert_close(field.mixing[0, 1, 9, 2], torch.tensor(0.25 / 1.25))
        # At the edge itself the sharp image shows no background to uncover.
        assert field.mixing[0, 1, 9, 4] == 1

    def test_an_object_may_move_further_where_it_is_not(self):
        # Turned by 0.3 about its own centre, a far corner of the image would travel 9 px.
        motion = ObjectMotion(rotation=0.3, centre=(10, 10))
        with pytest.raises(ValueError, match=r"kernel_size must be at least 11"):
            MotionKernelField(30, 40, motion, 7)
        field = MotionKernelField(30, 40, motion, 7, where=self.masks[0] > 0)
        kernels = field.kernels_at(PIXEL([10, 29]), PIXEL([14, 39]))
        torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(2).double())
        with pytest.raises(ValueError, match=r"kernel_size must be at least"):
            MotionKernelField(30, 40, motion, 7, where=self.masks[1] > 0)

    def test_a_turning_object_is_reduced(self):
        motions = [ObjectMotion(rotation=0.3, centre=(10, 10)), ObjectMotion((0, 4))]
        field, errors = moving_objects_field(
            30, 40, self.masks, motions, basis_size=8, kernel_size=9, samples=200
        )
        assert field.kernels.shape == (1, 8, 9, 9)
        assert errors.svd_bound <= errors.error
        assert errors.field_error < 0.2
        assert field.meta["generator"] == "moving_objects_field"

    def test_a_small_object_is_not_missed(self):
        mask = square_mask(120, 120, slice(60, 62), slice(60, 62))
        motions = [ObjectMotion((0, 5), rotation=0.01)]
        field, _ = moving_objects_field(
            120, 120, mask[None], motions, basis_size=6, kernel_size=7, samples=100
        )
        kernel = field.kernels_at(PIXEL([61]), PIXEL([61]))[0]
        # The sampling grid alone has a pixel every 12: the object lies in its gaps.
        assert kernel[:, 3].sum() > 0.9
        assert kernel[3, 3] < 0.6

    def test_overlapping_masks_share(self):
        ones = torch.ones(2, 6, 6)
        kernels = [ObjectMotion((2, 0)), ObjectMotion((0, 2))]
        field, _ = moving_objects_field(6, 6, ones, kernels, kernel_size=3)
        torch.testing.assert_close(field.mixing[0, :, 3, 3], torch.tensor([0.0, 0.5, 0.5]))

    def test_no_objects_is_the_background(self):
        field, _ = moving_objects_field(5, 6, torch.zeros(0, 5, 6), [], kernel_size=3)
        assert field.mixing.eq(1).all()
        assert field.kernels[0, 0, 1, 1] == 1

    @pytest.mark.parametrize(
        ("masks", "motions", "error", "text"),
        [
            (
                torch.ones(1, 5, 5),
                [ObjectMotion()],
                ValueError,
                r"masks must be \(1, 5, 6\), one for",
            ),
            (torch.ones(2, 5, 6), [ObjectMotion()], ValueError, r"masks must be \(1, 5, 6\)"),
            (
                torch.ones(1, 5, 6).long(),
                [ObjectMotion()],
                TypeError,
                "masks must be bool or floating",
            ),
            (2 * torch.ones(1, 5, 6), [ObjectMotion()], ValueError, r"masks must lie in \[0, 1\]"),
            (
                torch.full((1, 5, 6), math.nan),
                [ObjectMotion()],
                ValueError,
                r"masks must lie in \[0, 1\]",
            ),
            ([[1]], [ObjectMotion()], TypeError, "masks must be a tensor of shape"),
            (
                torch.ones(1, 5, 6),
                [torch.ones(5, 5)],
                ValueError,
                r"motions must be motions or \(3, 3\)",
            ),
            (
                torch.ones(1, 5, 6),
                ["left"],
                TypeError,
                "motion must be a CameraMotion or an ObjectMotion",
            ),
        ],
    )
    def test_errors(self, masks, motions, error, text):
        with pytest.raises(error, match=text):
            moving_objects_field(5, 6, masks, motions, kernel_size=3)
