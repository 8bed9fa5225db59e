# SPDX-License-Identifier: BSD-3-Clause
"""Camera motion: signs, lengths, and agreement with an image that is really warped."""

import math

import pytest
import torch
import torch.nn.functional as F

from blurops import basis_blur
from blurops.fields import (
    BlurField,
    CameraMotion,
    MotionKernelField,
    ObjectMotion,
    camera_motion_field,
    hand_tremor,
)
from blurops.fields.field import field_meta

PIXEL = torch.tensor


def kernel_at(field, row, column):
    return field.kernels_at(PIXEL([row]), PIXEL([column]))[0]


def dense_field(source):
    """The BlurField with one basis kernel for each pixel, so exactly that of `source`."""
    height, width = source.size
    pixels = torch.arange(height * width)
    kernels = source.kernels_at(pixels // width, pixels % width)
    mixing = torch.eye(height * width).double().view(1, -1, height, width)
    return BlurField(kernels[None], mixing, field_meta())


def blurred_dot(motion, row, column, size=(31, 31), kernel_size=21):
    """The mean (x, y) of the light of one point, relative to where it is in the sharp image."""
    sharp = torch.zeros(1, 1, *size, dtype=torch.float64)
    sharp[..., row, column] = 1
    field = dense_field(MotionKernelField(*size, motion, kernel_size))
    light = basis_blur(sharp, field.kernels, field.mixing, boundary="zeros")[0, 0]
    y, x = torch.meshgrid(*(torch.arange(n).double() for n in size), indexing="ij")
    return (
        float((light * x).sum() / light.sum()) - column,
        float((light * y).sum() / light.sum()) - row,
    )


class TestSigns:
    """The camera starts at the reference pose, so the smear shows the direction of the motion."""

    def test_turning_right_moves_the_scene_left(self):
        x, y = blurred_dot(CameraMotion(rotation=[[0, 0, 0], [0, 0, 0.2]], focal_length=30), 15, 15)
        # The angle grows evenly from 0 to 0.2: the mean of 30 tan(angle) is 30 ln(1/cos 0.2) / 0.2.
        assert x == pytest.approx(30 * math.log(math.cos(0.2)) / 0.2, rel=0.05)
        assert y == pytest.approx(0, abs=1e-9)

    def test_turning_up_moves_the_scene_down(self):
        x, y = blurred_dot(CameraMotion(rotation=[[0, 0, 0], [0, 0.2, 0]], focal_length=30), 15, 15)
        assert y == pytest.approx(-30 * math.log(math.cos(0.2)) / 0.2, rel=0.05)
        assert x == pytest.approx(0, abs=1e-9)

    def test_rolling_clockwise_turns_the_scene_counter_clockwise(self):
        # The dot is 10 px to the right of the centre: counter-clockwise is up, y < 0.
        x, y = blurred_dot(CameraMotion(rotation=[[0, 0, 0], [0.4, 0, 0]]), 15, 25)
        assert y == pytest.approx(-10 * (1 - math.cos(0.4)) / 0.4, rel=0.05)
        assert x == pytest.approx(-10 * (1 - math.sin(0.4) / 0.4), abs=0.05)

    def test_shifting_right_and_down_moves_the_scene_left_and_up(self):
        x, y = blurred_dot(CameraMotion(translation=[[0, 0], [4, 2]]), 15, 15)
        assert (x, y) == (pytest.approx(-2), pytest.approx(-1))

    def test_zooming_in_moves_the_scene_outwards(self):
        # At 8 px from the centre, to 12 px; each position is lit for as long as the zoom lingers.
        x, y = blurred_dot(CameraMotion(zoom=[1.0, 1.5]), 15, 23)
        assert 1 < x < 4
        assert y == pytest.approx(0, abs=1e-9)

    def test_an_object_moves_where_it_is_told(self):
        x, y = blurred_dot(ObjectMotion(translation=[[0, 0], [4, -2]]), 15, 15)
        assert (x, y) == (pytest.approx(2), pytest.approx(-1))

    def test_an_object_turns_clockwise(self):
        # To the right of the centre, clockwise is down.
        x, y = blurred_dot(ObjectMotion(rotation=[0.0, 0.4]), 15, 25)
        assert y == pytest.approx(10 * (1 - math.cos(0.4)) / 0.4, rel=0.05)
        assert x < 0

    def test_an_object_grows_about_its_own_centre(self):
        motion = ObjectMotion(zoom=[1.0, 1.3], centre=(10, 20))
        assert blurred_dot(motion, 20, 10) == (pytest.approx(0), pytest.approx(0))
        assert blurred_dot(motion, 20, 18)[0] > 0.5


class TestLengths:
    """Known kernels far from the centre, where a small roll or zoom moves along a straight line."""

    @pytest.mark.parametrize(("radius", "weights"), [(500, (1, 2, 1)), (1000, (1, 2, 2, 2, 1))])
    def test_a_roll_is_tangent_and_as_long_as_its_radius(self, radius, weights):
        motion = CameraMotion(rotation=(0.004, 0, 0))
        field = MotionKernelField(3, 2001, motion, 7)
        kernel = kernel_at(field, 1, 1000 + radius)
        expected = torch.zeros(7, 7, dtype=torch.float64)
        half = len(weights) // 2
        expected[3 - half : 4 + half, 3] = torch.tensor(weights) / sum(weights)
        # The sagitta of the arc, 1000 (1 - cos 0.002) = 0.002 px, moves that much mass sideways.
        torch.testing.assert_close(kernel, expected, rtol=0, atol=2.1e-3)

    def test_a_roll_is_tangent_above_the_centre_too(self):
        field = MotionKernelField(2001, 3, CameraMotion(rotation=(0.004, 0, 0)), 7)
        kernel = kernel_at(field, 0, 1)
        row = torch.tensor([0, 1, 2, 2, 2, 1, 0]).double() / 8
        torch.testing.assert_close(kernel[3], row, rtol=0, atol=2.1e-3)

    def test_a_zoom_is_radial_and_as_long_as_its_radius(self):
        field = MotionKernelField(3, 2001, CameraMotion(zoom=1.004), 7)
        for radius, weights in ((500, [0, 0, 1, 2, 1, 0, 0]), (1000, [0, 1, 2, 2, 2, 1, 0])):
            row = torch.tensor(weights).double() / sum(weights)
            kernel = kernel_at(field, 1, 1000 + radius)
            # 1.004^(1/2) - 1 = 0.001998, and its square moves the middle by 0.002 px.
            torch.testing.assert_close(kernel[3], row, rtol=0, atol=4e-3)

    def test_a_translation_is_one_known_kernel_everywhere(self):
        field = MotionKernelField(9, 11, CameraMotion(translation=(3.0, 0.0)), 5)
        expected = torch.zeros(5, 5, dtype=torch.float64)
        expected[2] = torch.tensor([1 / 24, 7 / 24, 8 / 24, 7 / 24, 1 / 24])
        for row, column in ((0, 0), (4, 5), (8, 10)):
            torch.testing.assert_close(kernel_at(field, row, column), expected)

    def test_pitch_and_yaw_scale_with_the_focal_length(self):
        points = torch.tensor([[10.0, 7.0]], dtype=torch.float64)  # the centre of 15 x 21
        for focal in (50.0, 100.0):
            motion = CameraMotion(rotation=(0, 0.04, 0.06), focal_length=focal)
            paths = motion.displacements(points, (15, 21), 10)[0]
            spread = paths[-1] - paths[0]
            expected = torch.tensor([0.06 * focal, -0.04 * focal]).double()
            # tan(x) = x (1 + x^2 / 3) and the coupling of the axes are below 0.1 %.
            torch.testing.assert_close(spread, expected, rtol=1e-3, atol=0)

    def test_no_focal_length_is_the_longer_side(self):
        points = torch.tensor([[3.0, 2.0]], dtype=torch.float64)
        paths = [
            CameraMotion(rotation=(0, 0, 0.1), focal_length=f).displacements(points, (15, 21), 4)
            for f in (None, 21.0)
        ]
        assert torch.equal(*paths)


def averaged_warps(sharp, look, count=2000):
    """The mean over the exposure of images sampled at `look(s, x, y)`, s in [-1/2, 1/2].

    Written without the library: its own formulas, `grid_sample`, and the midpoint rule.
    """
    height, width = sharp.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height).double(), torch.arange(width).double(), indexing="ij"
    )
    total = torch.zeros_like(sharp)
    for k in range(count):
        seen_x, seen_y = look((k + 0.5) / count - 0.5, x - (width - 1) / 2, y - (height - 1) / 2)
        grid = torch.stack([2 * seen_x / (width - 1), 2 * seen_y / (height - 1)], dim=-1)
        total += F.grid_sample(sharp, grid[None], mode="bilinear", align_corners=True)
    return total / count


def roll(s, x, y):
    # The camera has turned clockwise by 0.3 s: its axes, and what they see, turn with it.
    c, d = math.cos(0.3 * s), math.sin(0.3 * s)
    return c * x - d * y, d * x + c * y


def yaw(s, x, y):
    # A ray at the angle atan(x / f) now points 0.15 s further right, f = 26.
    c, d = math.cos(0.15 * s), math.sin(0.15 * s)
    depth = -d * x + c * 26
    return 26 * (c * x + d * 26) / depth, 26 * y / depth


def pitch(s, x, y):
    c, d = math.cos(0.15 * s), math.sin(0.15 * s)
    depth = d * y + c * 26
    return 26 * x / depth, 26 * (c * y - d * 26) / depth


def zoom(s, x, y):
    return x / 1.3**s, y / 1.3**s


def shift(s, x, y):
    return x + 3.5 * s, y - 2.0 * s


def object_turns(s, x, y):
    # The object turns clockwise by 0.2 s about (4, -2) from the centre, grows and moves right.
    c, d = math.cos(0.2 * s), math.sin(0.2 * s)
    x, y = x - 2.0 * s - 4, y + 2
    return (c * x + d * y) / 1.1**s + 4, (-d * x + c * y) / 1.1**s - 2


WARPS = [
    (roll, CameraMotion(rotation=(0.3, 0, 0))),
    (yaw, CameraMotion(rotation=(0, 0, 0.15))),
    (pitch, CameraMotion(rotation=(0, 0.15, 0))),
    (zoom, CameraMotion(zoom=1.3)),
    (shift, CameraMotion(translation=(3.5, -2.0))),
    (object_turns, ObjectMotion((2.0, 0), rotation=0.2, zoom=1.1, centre=(16.5, 8.5))),
]


@pytest.mark.parametrize(
    ("look", "motion"), WARPS, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_blur_is_the_average_of_warped_images(look, motion):
    generator = torch.Generator().manual_seed(3)
    sharp = torch.rand(1, 2, 22, 26, generator=generator, dtype=torch.float64)
    field = dense_field(MotionKernelField(22, 26, motion, 13))
    blurred = basis_blur(sharp, field.kernels, field.mixing, boundary="replicate")
    expected = averaged_warps(sharp, look)
    # Away from the border by the reach of the motions, about 4 px. Chords of the curved paths, and
    # the uneven speed within a step, stay within 0.01 px; white noise has slopes of up to 1 per px.
    inner = (..., slice(5, -5), slice(5, -5))
    torch.testing.assert_close(blurred[inner], expected[inner], rtol=0, atol=5e-3)
    assert (blurred - sharp)[inner].abs().max() > 0.1


def test_translation_then_zoom_then_rotation_compose_as_documented():
    motion = CameraMotion(
        rotation=[[0, 0, 0], [0.1, 0, 0]], translation=[[0, 0], [2, 1]], zoom=[1, 1.25]
    )
    points = torch.tensor([[14.0, 9.0]], dtype=torch.float64)
    end = motion.displacements(points, (11, 21), 3)[0, -1] + points[0]
    x, y = (14 - 10) / 1.25, (9 - 5) / 1.25
    c, d = math.cos(0.1), math.sin(0.1)
    expected = torch.tensor([10 + c * x - d * y + 2, 5 + d * x + c * y + 1]).double()
    torch.testing.assert_close(end, expected)


def test_a_trajectory_is_followed_through_all_its_poses():
    corner = [[0, 0], [3, 0], [3, 3]]
    field = MotionKernelField(5, 5, CameraMotion(translation=corner), 7)
    kernel = kernel_at(field, 2, 2)
    assert kernel[3, 3:].sum() > 0.4  # along x first
    assert kernel[4, 3:6].sum() == 0  # nothing on the chord
    torch.testing.assert_close(
        kernel[3:, 6].sum() + kernel[3, 3:6].sum(), kernel.sum(), rtol=0, atol=0.2
    )


def test_hand_tremor_is_a_rotation():
    rotation = hand_tremor(0.5, 64, seed=2)
    field = MotionKernelField(21, 31, CameraMotion(rotation=rotation, focal_length=400.0), 33)
    kernel = kernel_at(field, 10, 15)
    path = 400 * torch.stack([rotation[:, 2], -rotation[:, 1]], dim=-1)
    mean = (path[1:] + path[:-1]).mean(0) / 2
    offset = torch.arange(33).double() - 16
    seen = torch.stack([kernel.sum(0) @ offset, kernel.sum(1) @ offset])
    # Angles of 0.02 rad: tangents and axis coupling are second order, 400 * 0.02^2 = 0.16 px.
    torch.testing.assert_close(seen, mean, rtol=0, atol=0.16)


class TestMotionArguments:
    @pytest.mark.parametrize(
        ("make", "error", "text"),
        [
            (
                lambda: CameraMotion(rotation=(0.1, 0.2)),
                ValueError,
                r"CameraMotion: rotation must be \(3,\) or",
            ),
            (
                lambda: CameraMotion(rotation=[[0, 0, 0]]),
                ValueError,
                r"\(T, 3\), T >= 2, got shape \(1, 3\)",
            ),
            (
                lambda: CameraMotion(rotation="left"),
                TypeError,
                "rotation must be numbers, got 'left'",
            ),
            (
                lambda: CameraMotion(translation=(1, math.nan)),
                ValueError,
                "translation must be finite",
            ),
            (lambda: CameraMotion(zoom=0.0), ValueError, "zoom must be greater than 0, got 0.0"),
            (
                lambda: CameraMotion(zoom=[1.0]),
                ValueError,
                "zoom must be a number or T >= 2 numbers",
            ),
            (
                lambda: CameraMotion(focal_length=0),
                ValueError,
                "focal_length must be greater than 0",
            ),
            (
                lambda: ObjectMotion(rotation=(1,)),
                ValueError,
                "ObjectMotion: rotation must be a number or",
            ),
            (lambda: ObjectMotion(centre=(1, 2, 3)), ValueError, r"centre must be \(x, y\)"),
            (
                lambda: MotionKernelField(4, 4, "pan"),
                TypeError,
                "motion must be a CameraMotion or an",
            ),
            (
                lambda: MotionKernelField(4, 4, CameraMotion(translation=(9, 0)), 7),
                ValueError,
                "kernel_size must be at least 11 to hold this motion, got 7",
            ),
            (
                lambda: MotionKernelField(4, 4, CameraMotion(rotation=(0, 0, 4)), 7),
                ValueError,
                "rotation must keep the scene in front",
            ),
            (
                lambda: camera_motion_field(4, 4, boundary="mirror"),
                ValueError,
                "camera_motion_field: boundary must be one of",
            ),
        ],
    )
    def test_errors(self, make, error, text):
        with pytest.raises(error, match=text):
            make()

    def test_the_size_that_the_error_names_is_enough(self):
        field = MotionKernelField(4, 4, CameraMotion(translation=(9, 0)), 11)
        torch.testing.assert_close(kernel_at(field, 0, 0).sum(), torch.tensor(1.0).double())

    def test_inputs_are_not_written(self):
        rotation = torch.tensor([[0.0, 0.0, 0.0], [0.01, 0.0, 0.0]], dtype=torch.float64)
        before = rotation.clone()
        MotionKernelField(8, 8, CameraMotion(rotation=rotation), 5)
        assert torch.equal(rotation, before)
