# SPDX-License-Identifier: BSD-3-Clause
"""Generated training data: addressed by index, blurred as the paper's algorithm says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.color import hsv2rgb, rgb2hsv

from blurmodels.basis_kernels.data import ADE20K, BlurSettings, KernelBank, Samples, blur_batch
from blurmodels.scenes import DeadLeaves, Repeated, Scene, Scenes
from blurops.fields import camera_shake_kernels
from blurops.testing import accuracy

EXACT = accuracy(torch.float32)


def test_any_kernel_of_the_bank_can_be_made_alone():
    bank = KernelBank(kernel_size=9, exposure=(0.02, 0.1), seed=5)
    assert len(bank) == 500_000
    three = camera_shake_kernels(3, 9, exposure=(0.02, 0.1), seed=5, first=499_997)
    for index in range(3):
        assert torch.equal(bank[499_997 + index], three[index])
    assert torch.equal(
        camera_shake_kernels(4, 9, seed=1)[3:], camera_shake_kernels(1, 9, seed=1, first=3)
    )
    assert not torch.equal(bank[0], bank[1])
    assert not torch.equal(bank[0], KernelBank(kernel_size=9, exposure=(0.02, 0.1), seed=6)[0])
    with pytest.raises(IndexError, match="index must be from 0 to 499999, got 500000"):
        bank[500_000]
    with pytest.raises(ValueError, match="size must be a positive integer, got 0"):
        KernelBank(0)


class Halves(Scenes):
    """Left and right half, and a square in front; colours of no symmetry."""

    def __len__(self):
        return 4

    def scene(self, index, height, width):
        generator = torch.Generator().manual_seed(index)
        masks = torch.zeros(3, height, width)
        masks[0, :, : width // 2], masks[1, :, width // 2 :] = 1, 1
        masks[:, 5:20, 9:20] = torch.tensor([0.0, 0.0, 1.0])[:, None, None]
        return Scene(0.1 + 0.8 * torch.rand(3, height, width, generator=generator), masks)


def bright(image, factor):
    hsv = rgb2hsv(image.double().permute(1, 2, 0).numpy())
    hsv[..., 2] *= factor
    return torch.from_numpy(hsv2rgb(hsv)).permute(2, 0, 1)


def literal(sample, settings):
    """Algorithm 1 with one part after the other; no noise."""
    image = sample.image.double()
    if settings.brightness_domain == "values":
        image = bright(image, sample.brightness)
    light = image**settings.gamma
    if settings.brightness_domain == "linear":
        light = bright(light, sample.brightness)
    v, total, soft = 0, 0, []
    for mask, kernel in zip(sample.masks.double(), sample.kernels.double(), strict=True):
        smooth = F.conv2d(mask[None, None], kernel[None, None])[0]
        soft.append(smooth)
        total = total + smooth
        v = v + smooth * F.conv2d(light[:, None], kernel[None, None])[:, 0]
    if settings.normalise:
        v, soft = v / (total + 1e-6), [m / (total + 1e-6) for m in soft]
    if settings.saturation:
        v = v - torch.log1p(torch.exp(50 * (v - 1))) / 50
    return v.clamp(0, 1) ** (1 / settings.gamma), light, torch.cat(soft)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"brightness_domain": "values"},
        {"normalise": False},
        {"saturation": True, "brightness": (1.0, 1.5)},
        {"gamma": 1.0},
    ],
    ids=str,
)
def test_blurs_as_algorithm_1(change):
    settings = replace(BlurSettings(noise=(0.0, 0.0), brightness=(0.6, 0.9)), **change)
    samples = Samples(Halves(), KernelBank(kernel_size=9), (24, 31), settings, seed=3)
    parts = [samples[0], samples[1]]
    batch = blur_batch(parts, settings)
    for n, sample in enumerate(parts):
        observed, sharp, mixing = literal(sample, settings)
        for found, expected in (
            (batch.observed[n], observed), (batch.sharp[n], sharp), (batch.mixing[n], mixing),
        ):  # fmt: skip
            # Powers magnify rounding by their exponent.
            error = (found.double() - expected).norm() / expected.norm()
            assert float(error) <= 4 * EXACT.relative
        assert torch.equal(batch.kernels[n], sample.kernels)
    if settings.normalise:
        assert float((batch.mixing.sum(1) - 1).abs().max()) <= 3e-6  # the 1e-6 in the division
    # Weights belong to the pixels inside, of each part alike.
    assert float(batch.weights.sum()) == pytest.approx(6, rel=1e-5)
    assert batch.weights[0, 0, 0, 0] != batch.weights[0, 0, 2, 14]


def test_samples_are_the_same_whenever_they_are_asked_for():
    samples = Samples(DeadLeaves(seed=2), KernelBank(kernel_size=9), 40, seed=2)
    first = blur_batch([samples[7], samples[100_000]], samples.settings)
    alone = blur_batch([samples[100_000]], samples.settings)
    parts = alone.kernels.shape[1]
    # Another number of parts may add up in another order.
    error = (first.observed[1] - alone.observed[0]).norm() / alone.observed.norm()
    assert float(error) <= 4 * EXACT.relative
    assert torch.equal(first.kernels[1, :parts], alone.kernels[0])
    assert bool((first.mixing[1, parts:] == 0).all())
    other = Samples(DeadLeaves(seed=2), KernelBank(kernel_size=9), 40, seed=3)[7]
    assert not torch.equal(other.kernels[0], samples[7].kernels[0])


def test_noise_is_as_strong_as_it_says():
    class Gray(Halves):
        def scene(self, index, height, width):
            return Scene(torch.full((3, height, width), 0.25), torch.ones(1, height, width))

    for settings, deviation in (
        (BlurSettings(1.0, (1.0, 1.0), noise=(0.02, 0.02)), 0.02),
        (BlurSettings(1.0, (1.0, 1.0), noise=(0.0, 0.0), photons=400.0), 0.025),
    ):
        samples = Samples(Gray(), KernelBank(kernel_size=3), 128, settings)
        observed = blur_batch([samples[0]], settings).observed
        # Five standard errors of a mean and of a standard deviation.
        count = observed.numel()
        assert abs(float(observed.mean()) - 0.25) < 5 * deviation / count**0.5
        assert abs(float(observed.std()) / deviation - 1) < 5 / (2 * count) ** 0.5


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="brightness_domain must be one of linear, values, got"):
        BlurSettings(brightness_domain="hsv")
    with pytest.raises(ValueError, match="noise must be 0 <= low <= high"):
        BlurSettings(noise=(0.1, 0.0))
    with pytest.raises(ValueError, match="photons must be positive, got 0"):
        BlurSettings(photons=0)
    with pytest.raises(ValueError, match="gamma must be positive, got 0"):
        BlurSettings(gamma=0)
    with pytest.raises(ValueError, match="objects must be a whole number of at least 0, got -1"):
        DeadLeaves(objects=-1)


def test_leaves_are_a_partition_with_objects_in_front():
    leaves = DeadLeaves(objects=3, seed=4)
    scenes = [leaves.scene(index, 96, 112) for index in range(12)]
    for image, masks in scenes:
        assert bool((masks.sum(0) == 1).all())
        assert 0 <= float(image.min()) < float(image.max()) <= 1
        assert all(int(mask.sum()) >= 400 for mask in masks[1:])
    assert {len(scene.masks) for scene in scenes} == {1, 2, 3, 4}
    again = leaves.scene(3, 96, 112)
    assert torch.equal(again.image, scenes[3].image)
    assert torch.equal(again.masks, scenes[3].masks)
    assert not torch.equal(DeadLeaves(seed=5).scene(3, 96, 112).image, again.image)


def test_leaves_have_the_statistics_of_photographs():
    slopes, kurtoses, luminance, chroma = [], [], [], []
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    band = (frequency > 3 / 128) & (frequency < 0.25)
    for index in range(12):
        image = DeadLeaves(objects=0, seed=9).scene(index, 128, 128).image.double().numpy()
        gray = np.log(image.mean(0) + 1e-3)
        window = np.hanning(128)[:, None] * np.hanning(128)
        power = np.abs(np.fft.fft2((gray - gray.mean()) * window)) ** 2
        slopes.append(np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0])
        step = np.diff(gray, axis=1)
        kurtoses.append((step**4).mean() / (step**2).mean() ** 2)
        light = np.log(image + 1e-3)
        luminance.append(light.mean(0).std())
        chroma.append((light - light.mean(0)).std())
    # Power as f^-2 (Field 1987), of single photographs from f^-1.2 to f^-3.2 or so; derivatives far
    # from the normal distribution's 3; more luminance than colour.
    assert -3.2 < np.mean(slopes) < -1.2
    assert np.median(kurtoses) > 6
    assert np.mean(luminance) > 1.5 * np.mean(chroma)


def test_repeated_scenes_come_back_turned():
    scenes = Repeated(Halves(), 2)
    found = [scenes.scene(index, 32, 32) for index in range(0, 60, 2)]
    kinds = {scene.image.numpy().tobytes() for scene in found}
    assert len(kinds) == 8
    original = Halves().scene(0, 32, 32)
    allowed = 0.5 / 255 + 1e-6  # 8 bits
    nearest = [
        (torch.rot90(f.image if flip == 0 else f.image.flip(-1), k, (1, 2)) - original.image)
        .abs().max()
        for f in found[:1] for k in range(4) for flip in (0, 1)
    ]  # fmt: skip
    assert float(min(nearest)) <= allowed
    # The masks turn along.
    for scene in found:
        assert float(scene.masks[2].sum()) == float(original.masks[2].sum())
        inside = scene.image[:, scene.masks[2] == 1].sum()
        assert abs(float(inside - original.image[:, original.masks[2] == 1].sum())) < 495 * allowed
    wide = [scenes.scene(index, 20, 40).image.shape for index in range(8)]
    assert set(wide) == {(3, 20, 40)}


def write_ade(folder, name="ADE_train_00000001", size=(60, 90), people=((5, 30, 5, 40),)):
    """A photograph with a sky, people and a car; blue values with gaps, as in the data set."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    blue = np.full(size, 17, np.uint8)  # object 1, the sky
    lines = ["001 # 0 # 0 # sky # sky # "]
    for number, (top, bottom, left, right) in enumerate(people, start=2):
        blue[top:bottom, left:right] = 20 * number
        lines.append(f"{number:03d} # 0 # 0 # person, individual, someone # person # walking")
    blue[0, 0] = 0
    lines.append("001 # 1 # 0 # head # head # ")
    segments = np.zeros((*size, 3), np.uint8)
    segments[..., 2] = blue
    Image.fromarray(image).save(folder / f"{name}.jpg", quality=95)
    Image.fromarray(segments).save(folder / f"{name}_seg.png")
    (folder / f"{name}_atr.txt").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.jpg"


def test_ade20k_takes_people_and_cars_that_are_large_enough(tmp_path):
    write_ade(tmp_path / "a" / "airport")
    write_ade(tmp_path / "b", "ADE_train_2", people=((5, 24, 5, 26),))  # 399 pixels
    boxes = ((0, 20, 0, 30), (0, 25, 30, 60), (30, 60, 0, 60), (30, 60, 60, 90))
    write_ade(tmp_path / "c", "ADE_train_3", people=boxes)
    scenes = ADE20K(tmp_path, least_side=60, seed=1)
    assert [path.name for path in scenes.images] == ["ADE_train_00000001.jpg", "ADE_train_3.jpg"]
    image, masks = next(s for s in (scenes.scene(i, 60, 90) for i in range(2)) if len(s.masks) == 4)
    assert image.shape == (3, 60, 90)
    # The three largest of four; the smallest stays with the background.
    assert [int(mask.sum()) for mask in masks[1:]] == [1800, 900, 750]
    assert bool((masks.sum(0) == 1).all())
    assert masks[1, 45, 30] == 1
    assert masks[0, 10, 10] == 1
    with pytest.raises(ValueError, match="sides of at least 401, got none in"):
        ADE20K(tmp_path)


def test_ade20k_shows_each_image_once_an_epoch_and_crops_anew(tmp_path):
    for number in range(3):
        write_ade(tmp_path, f"ADE_train_{number}", people=((5, 30, 5 + number, 40),))
    scenes = ADE20K(tmp_path, least_side=60)
    for epoch in range(2):
        areas = {int(scenes.scene(3 * epoch + i, 60, 90).masks[1].sum()) for i in range(3)}
        assert areas == {875, 850, 825}
    small = [scenes.scene(i, 40, 40).image for i in (0, 0, 3)]
    assert torch.equal(small[0], small[1])
    assert not torch.equal(small[0], small[2])
    (tmp_path / "list.txt").write_text("ADE_train_1.jpg\n\n")
    assert len(ADE20K(tmp_path, least_side=60, names=tmp_path / "list.txt")) == 1


def test_damaged_or_missing_files_of_ade20k_are_named(tmp_path):
    with pytest.raises(NotADirectoryError):
        ADE20K(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"folder must hold NAME.jpg with .* got none in"):
        ADE20K(tmp_path, least_side=60)
    path = write_ade(tmp_path)
    scenes = ADE20K(tmp_path, least_side=60)
    with pytest.raises(ValueError, match=r"1.jpg' must have at least 100 x 60 pixels, got 90 x 60"):
        scenes.scene(0, 60, 100)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"ADE_train_00000001.jpg' must be a readable image, got"):
        scenes.scene(0, 32, 32)
    path.write_bytes(whole)
    segments = path.with_name("ADE_train_00000001_seg.png")
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(segments)
    with pytest.raises(ValueError, match="must be of the size of its image, 90 x 60, got 6 x 5"):
        scenes.scene(0, 32, 32)
    segments.unlink()
    with pytest.raises(ValueError, match=r"_seg.png' must be there, got no such file"):
        scenes.scene(0, 32, 32)
    write_ade(tmp_path)
    path.with_name("ADE_train_00000001_atr.txt").write_text("rubbish\n")
    with pytest.raises(ValueError, match="got 'rubbish' in line 1"):
        ADE20K(tmp_path, least_side=60)
    (tmp_path / "list.txt").write_text("missing.jpg\n")
    with pytest.raises(ValueError, match="names must list images of the folder, got"):
        ADE20K(tmp_path, least_side=60, names=tmp_path / "list.txt")
