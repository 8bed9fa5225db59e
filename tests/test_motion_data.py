# SPDX-License-Identifier: BSD-3-Clause
"""Images with known motion: exact fields, turns, averages of frames, and readers."""

import math

import numpy as np
import pytest
import torch

from blurmodels.datasets import bahat, gopro_frames, kohler, photographs, voc
from blurmodels.irc.motion_data import (
    CameraBlurs,
    CameraSettings,
    Example,
    Mixed,
    Photographs,
    Turned,
    camera_field,
    random_camera,
    turned,
)
from blurmodels.irc.motion_data_frames import (
    AveragedFrames,
    estimated_flow,
    flow_files,
    read_flow,
    summed_flow,
)
from blurmodels.irc.motion_score import motion_error, motion_mse
from blurmodels.scenes import DeadLeaves, Scene
from blurops import motion_blur
from blurops.fields import CameraMotion
from blurops.images import write_image
from blurops.testing import accuracy


def random_example(height=13, width=17, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sharp = torch.rand(3, height, width, dtype=torch.float64, generator=generator)
    length = 1 + 6 * torch.rand(height, width, dtype=torch.float64, generator=generator)
    angle = math.pi * torch.rand(height, width, dtype=torch.float64, generator=generator)
    return Example(motion_blur(sharp[None], length[None], angle[None])[0], length, angle, sharp)


@pytest.mark.parametrize("turns", range(8))
def test_a_turned_field_blurs_the_turned_image_to_the_turned_blur(turns):
    example = random_example()
    other = turned(example, turns)
    again = motion_blur(other.sharp[None], other.length[None], other.angle[None])[0]
    error = (again - other.observed).norm() / other.observed.norm()
    # Angles are turned in floating point; a blur of 7 pixels has slopes of about 7 in the angle.
    assert error < 8 * accuracy(torch.float64).relative
    assert (again.shape == example.observed.shape) == (turns % 2 == 0)
    if turns:
        assert (other.observed[:, :13, :13] - example.observed[:, :13, :13]).abs().max() > 0.01


def test_turns_are_all_different_and_keep_square_shapes():
    found = [turned(random_example(9, 9), k).observed for k in range(8)]
    assert all((found[i] - found[j]).abs().max() > 0.01 for i in range(8) for j in range(i))
    source = CameraBlurs(DeadLeaves(2, objects=0), (20, 24), CameraSettings(7, noise=0))
    assert {Turned(source)[i].observed.shape for i in range(4)} == {(3, 20, 24)}


def test_a_turning_camera_moves_pixels_around_the_centre():
    roll = 0.1
    length, angle = camera_field(CameraMotion(rotation=(roll, 0, 0)), 21, 31)
    # From the middle, (10, 15): a chord of angle `roll` of a circle of radius 5.
    for row, column, direction in ((10, 20, math.pi / 2), (5, 15, 0.0)):
        assert float(length[0, row, column]) == pytest.approx(1 + 10 * math.sin(roll / 2), 1e-5)
        away = float(angle[0, row, column]) - direction
        assert min(abs(away), abs(away - math.pi)) < 1e-6
    assert float(length[0, 10, 15]) == 1


def test_cameras_keep_the_limit_and_differ():
    longest, varies = [], []
    for seed in range(12):
        motion = random_camera(np.random.default_rng(seed), 30, 40, 9)
        length = camera_field(motion, 30, 40).length
        longest.append(float(length.max()))
        varies.append(float(length.max() - length.min()))
    assert max(longest) <= 9 + 1e-3
    assert max(longest) > 6 > 4 > min(longest)
    assert max(varies) > 1


class Plain:
    """One picture."""

    def __len__(self):
        return 1

    def scene(self, index, height, width):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        image = (torch.sin(x / 2 + y / 3) * torch.cos(y * x / 50) / 2 + 0.5)[None]
        return Scene(image.expand(3, -1, -1), torch.ones(1, height, width))


def test_what_is_observed_is_the_blur_by_the_field():
    source = CameraBlurs(Plain(), (20, 26), CameraSettings(9, noise=0, gamma=2.2), seed=4)
    observed, length, angle, sharp = source[0]
    whole = Plain().scene(0, 28, 34).image
    torch.testing.assert_close(sharp, whole[:, 4:-4, 4:-4])
    light = motion_blur(whole[None] ** 2.2, length[None], angle[None], boundary="valid")[0]
    torch.testing.assert_close(observed, light ** (1 / 2.2))
    noisy = CameraBlurs(Plain(), (20, 26), CameraSettings(9, noise=0.1, gamma=2.2), seed=4)[0]
    assert torch.equal(noisy.length, length)
    assert 0.08 < float((noisy.observed - observed).std()) < 0.12


def test_examples_are_the_same_whenever_asked_for():
    def source():
        blurs = CameraBlurs(DeadLeaves(3, objects=0), 16, CameraSettings(5))
        return Mixed([Turned(blurs), CameraBlurs(Plain(), 16, CameraSettings(5))])

    one, other = source(), source()
    other[3]
    assert all(torch.equal(a, b) for a, b in zip(one[2], other[2], strict=True))
    assert len(one) == 4
    # An epoch shows each once, and the next is another.
    seen = [[float(one[i].observed.sum()) for i in range(4 * e, 4 * e + 4)] for e in range(2)]
    assert len(set(seen[0])) == 4
    assert sorted(seen[0]) != sorted(seen[1])


def frames_of(folder, count, step):
    """A smooth picture that moves by `step` (x, y) pixels from frame to frame."""
    folder.mkdir(parents=True)
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(72.0), indexing="ij")
    for k in range(count):
        u, v = x - k * step[0], y - k * step[1]
        image = torch.sin(u / 3 + 0.4) * torch.cos(v / 2.5) / 4 + torch.sin((u + v) / 7) / 5 + 0.5
        write_image(folder / f"{k:06d}.png", image.expand(1, 3, -1, -1), bits=16)


def flo(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape[1:]
    header = np.array([202021.25], "<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    path.write_bytes(header + values.permute(1, 2, 0).numpy().astype("<f4").tobytes())


def test_frames_are_averaged_and_their_flow_is_their_motion(tmp_path):
    frames_of(tmp_path / "train" / "GOPR0001", 4, (1.5, -0.5))
    videos = gopro_frames(tmp_path)
    assert [path.name for path in videos[0]] == [f"{k:06d}.png" for k in range(4)]
    found = AveragedFrames(videos, 40, count=4, noise=0)[0]
    extent = 3 * math.hypot(1.5, 0.5)
    assert float((found.length - 1 - extent).abs().median()) < 0.1 * extent
    # To the right and up.
    away = torch.remainder(found.angle - math.atan2(0.5, 1.5) + 1, math.pi) - 1
    assert float(away.abs().median()) < 0.05
    flow = estimated_flow(*videos[0][:2])
    assert abs(float(flow[0].median()) - 1.5) < 0.1
    assert abs(float(flow[1].median()) + 0.5) < 0.1


def test_flow_out_of_files(tmp_path):
    frames_of(tmp_path / "train" / "V", 3, (0, 0))
    (video,) = gopro_frames(tmp_path)
    values = torch.rand(2, 2, 60, 72)
    for k in range(2):
        flo(tmp_path / "flow" / "V" / f"{k:06d}.flo", values[k])
    source = AveragedFrames([video], None, count=3, flow=flow_files(tmp_path / "flow"), noise=0)
    want = summed_flow(list(values))
    assert torch.equal(source[0].length, want.length[0])
    assert torch.equal(source[0].angle, want.angle[0])
    path = tmp_path / "flow" / "V" / "000000.flo"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"000000.flo' must be a Middlebury flow file of 72 x 60"):
        read_flow(path)
    flo(path, values[0, :, :5])
    with pytest.raises(ValueError, match="must have a flow of its own size, got 72 x 5"):
        source[0]
    with pytest.raises(ValueError, match="videos must have 9 frames or more, got 3"):
        AveragedFrames([video], count=9)


def photo(path, seed=0, size=(20, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))
    write_image(path, image)


def test_voc(tmp_path):
    for name in ("2007_2", "2007_1"):
        photo(tmp_path / "VOC2012" / "JPEGImages" / f"{name}.jpg")
    lists = tmp_path / "VOC2012" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_2\n")
    (lists / "train.txt").write_text("2007_3\n")
    assert [path.stem for path in voc(tmp_path)] == ["2007_1", "2007_2"]
    assert [path.stem for path in voc(tmp_path / "VOC2012", split="val")] == ["2007_2"]
    with pytest.raises(FileNotFoundError):
        voc(tmp_path, split="train")
    assert photographs(tmp_path) == voc(tmp_path)
    assert photographs(tmp_path / "VOC2012" / "JPEGImages") == voc(tmp_path)
    with pytest.raises(ValueError, match="must hold photographs, got none"):
        photographs(lists)
    blurs = CameraBlurs(Photographs(voc(tmp_path)), 16, CameraSettings(9))
    assert blurs[1].observed.shape == (3, 16, 16)
    # A crop that is larger than the photograph continues it.
    assert CameraBlurs(Photographs(voc(tmp_path)), 30, CameraSettings(9))[0].sharp.shape[1] == 30
    with pytest.raises(ValueError, match="must have sides of about half"):
        CameraBlurs(Photographs(voc(tmp_path)), 80, CameraSettings(9))[0]


def test_bahat_and_kohler(tmp_path):
    for name in ("b", "a"):
        for part in ("blurred", "sharp"):
            photo(tmp_path / "severe" / part / f"{name}.png")
    assert [pair.name for pair in bahat(tmp_path, "severe")] == ["a", "b"]
    with pytest.raises(FileNotFoundError):
        bahat(tmp_path)
    with pytest.raises(ValueError, match="level must be one of moderate, severe, got 'hard'"):
        bahat(tmp_path, "hard")
    (tmp_path / "severe" / "sharp" / "a.png").unlink()
    with pytest.raises(ValueError, match="must have a twin"):
        bahat(tmp_path, "severe")
    photo(tmp_path / "Blurry1_2.png")
    photo(tmp_path / "Image1" / "Kernel2" / "GroundTruth1_2_1.png")
    assert [shot.name for shot in kohler(tmp_path)] == ["1_2"]


def test_error_is_that_of_the_nearer_sign():
    generator = torch.Generator().manual_seed(1)
    length = 1 + 9 * torch.rand(2, 50, dtype=torch.float64, generator=generator)
    angle = 10 * torch.rand(2, 50, dtype=torch.float64, generator=generator) - 5
    one, other = (
        (n - 1) * torch.stack([a.cos(), a.sin()]) for n, a in zip(length, angle, strict=True)
    )
    want = torch.minimum((one - other).square().sum(0), (one + other).square().sum(0))
    got = motion_error(length[0], angle[0], length[1], angle[1])
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(
        motion_error(length[0], angle[0] + math.pi, length[1], angle[1]), got
    )


def test_scores_of_known_estimates():
    class Fixed:
        record = {}  # noqa: RUF012

        def __len__(self):
            return 2

        def __getitem__(self, index):
            one = torch.ones(2, 2)
            angle = torch.tensor([[0.0, 0.0], [0.0, math.pi / 2]])
            return Example(torch.zeros(3, 2, 2), (1 + 4 * (index + 1)) * one, angle, one)

    def right(observed):
        return torch.full((1, 2, 2), 5.0), torch.zeros(1, 2, 2)

    scores = motion_mse(right, Fixed(), range(2))
    # Pixels: 0 0 0 32, and 16 16 16 80.
    assert scores.mse == pytest.approx((32 + 128) / 8, 1e-5)
    assert scores.still == pytest.approx((16 + 64) / 2, 1e-5)
    turns = torch.arange(180) * math.pi / 180
    best = (6 * (0.75 * turns.cos().abs() + 0.25 * turns.sin().abs())).square().max()
    assert scores.constant == pytest.approx(40 - float(best), 1e-5)
    with pytest.raises(ValueError, match="indices must name at least one"):
        motion_mse(right, Fixed(), [])
