# SPDX-License-Identifier: BSD-3-Clause
"""Readers of public datasets, on tiny folders laid out as the archives are."""

import numpy as np
import pytest
import torch
from scipy.io import savemat

from blurmodels.datasets import (
    DVD_TEST,
    REDS4,
    cuhk,
    dvd,
    faces,
    gopro,
    hide,
    kohler,
    lai,
    levin_kernels,
    realblur,
    reds4,
)
from blurops.images import write_image
from tests.pictures import picture


def put(path, seed=0, **kind):
    """A picture at a path, whose folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture(seed=seed, height=12, width=16, **kind)
    write_image(path, image)
    return image


class TestGoPro:
    @pytest.fixture
    def root(self, tmp_path):
        for i, sequence in enumerate(("GOPR0862_11_00", "GOPR0384_11_00")):
            for name in ("000002", "000001"):
                for j, part in enumerate(("blur", "blur_gamma", "sharp")):
                    put(tmp_path / "test" / sequence / part / f"{name}.png", 10 * i + 3 * j)
        return tmp_path

    def test_pairs_by_sequence_and_frame(self, root):
        pairs = gopro(root)
        assert [pair.name for pair in pairs] == [
            f"{sequence}/{name}"
            for sequence in ("GOPR0384_11_00", "GOPR0862_11_00")
            for name in ("000001", "000002")
        ]
        blurred, sharp = pairs[2].read()
        assert torch.equal(blurred, picture(seed=0, height=12, width=16))
        assert torch.equal(sharp, picture(seed=6, height=12, width=16))
        assert gopro(root, blur="blur_gamma")[2].blurred.parent.name == "blur_gamma"

    def test_what_is_missing_is_named(self, root):
        with pytest.raises(FileNotFoundError, match="train"):
            gopro(root, split="train")
        (root / "test/GOPR0384_11_00/sharp/000002.png").unlink()
        with pytest.raises(ValueError, match=r"blur/000002.png' must have a twin '.*sharp/000002"):
            gopro(root)
        (root / "test/GOPR0384_11_00/blur/000002.png").unlink()
        (root / "test/GOPR0384_11_00/blur/000001.png").unlink()
        with pytest.raises(ValueError, match=r"sharp/000001.png' must have a twin"):
            gopro(root)
        with pytest.raises(ValueError, match="blur must be one of blur, blur_gamma, got 'fog'"):
            gopro(root, blur="fog")
        (root / "empty/test").mkdir(parents=True)
        with pytest.raises(ValueError, match="must hold sequences with 'blur' and 'sharp'"):
            gopro(root / "empty")

    def test_damaged_and_unlike_files_are_named(self, root):
        pair = gopro(root)[0]
        write_image(pair.sharp, picture(height=12, width=15))
        with pytest.raises(ValueError, match=r"blur/000001.png' must have the size of '.*sharp/"):
            pair.read()
        pair.blurred.write_bytes(pair.blurred.read_bytes()[:60])
        with pytest.raises(ValueError, match=r"blur/000001.png' must be a whole image file"):
            pair.read()


class TestDVD:
    def test_the_papers_split(self, tmp_path):
        base = tmp_path / "quantitative_datasets"
        for video in (DVD_TEST[3], "IMG_0055"):
            for part in ("input", "GT"):
                put(base / video / part / "00000.jpg")
        assert [pair.name for pair in dvd(tmp_path)] == ["IMG_0030/00000"]
        assert [pair.name for pair in dvd(base, split="train")] == ["IMG_0055/00000"]
        assert dvd(tmp_path)[0].sharp == base / "IMG_0030" / "GT" / "00000.jpg"
        (base / "IMG_0030" / "GT" / "00000.jpg").unlink()
        with pytest.raises(ValueError, match="must have a twin"):
            dvd(tmp_path)


class TestRealBlur:
    LINE = "RealBlur-J_ref/scene{0}/gt/gt_{1}.png RealBlur-J_ref/scene{0}/blur/blur_{1}.png 9 9\n"

    def test_the_list_says_which(self, tmp_path):
        for scene, shot in (("050", 8), ("002", 1), ("003", 4)):
            put(tmp_path / f"RealBlur-J_ref/scene{scene}/gt/gt_{shot}.png", 1)
            put(tmp_path / f"RealBlur-J_ref/scene{scene}/blur/blur_{shot}.png", 2)
        names = tmp_path / "RealBlur_J_test_list.txt"
        names.write_text(self.LINE.format("050", 8) + "\n" + self.LINE.format("002", 1))
        pairs = realblur(tmp_path, "J")
        assert [pair.name for pair in pairs] == ["scene050/blur_8", "scene002/blur_1"]
        blurred, sharp = pairs[0].read()
        assert torch.equal(blurred, picture(seed=2, height=12, width=16))
        assert torch.equal(sharp, picture(seed=1, height=12, width=16))
        names.write_text(self.LINE.format("050", 9))
        with pytest.raises(FileNotFoundError, match=r"listed in .*list.txt.*gt_9.png"):
            realblur(tmp_path)
        names.write_text("one\n")
        with pytest.raises(ValueError, match=r"line 1 of .* must be two paths, got 'one'"):
            realblur(tmp_path)

    def test_folders_of_pairs(self, tmp_path):
        for part in ("input", "target"):
            put(tmp_path / "test" / "RealBlur_R" / part / "7.png")
        assert [pair.name for pair in realblur(tmp_path, "R")] == ["7"]
        with pytest.raises(ValueError, match=r"must hold 'RealBlur_J_test_list.txt' or folders"):
            realblur(tmp_path, "J")
        with pytest.raises(ValueError, match="kind must be one of J, R, got 'Q'"):
            realblur(tmp_path, "Q")


class TestLai:
    def test_images_by_name(self, tmp_path):
        for name in ("street.jpg", "boat.png"):
            put(tmp_path / "real_dataset" / name)
        (tmp_path / "real_dataset" / "list.txt").touch()
        assert [path.name for path in lai(tmp_path)] == ["boat.png", "street.jpg"]
        (tmp_path / "other").mkdir()
        with pytest.raises(ValueError, match="must hold PNG or JPEG images, got none"):
            lai(tmp_path / "other")
        with pytest.raises(FileNotFoundError, match="nowhere"):
            lai(tmp_path / "nowhere")


class TestKohler:
    def test_frames_of_matlab_files(self, tmp_path):
        frames = np.random.default_rng(0).integers(0, 256, (6, 8, 3, 31), dtype=np.uint8)
        for image, shake in ((1, 3), (1, 9), (4, 12)):
            put(tmp_path / "BlurryImages" / f"Blurry{image}_{shake}.png")
            (tmp_path / "groundTruthMatFiles").mkdir(exist_ok=True)
            path = tmp_path / "groundTruthMatFiles" / f"GroundTruth{image}_{shake}.mat"
            savemat(path, {"GroundTruth": frames})
        assert [shot.name for shot in kohler(tmp_path)] == ["1_3", "1_9", "4_12"]
        small = kohler(tmp_path, large=False)
        assert [shot.name for shot in small] == ["1_3", "4_12"]
        found = list(small[1].frames())
        assert len(found) == 31
        assert torch.equal(found[5][0, 2] * 255, torch.from_numpy(frames[:, :, 2, 5]).float())
        # Frame 30 of (1, 3) is missing in the set.
        fewer = list(small[0].frames())
        assert len(fewer) == 30
        assert torch.equal(fewer[29], found[30])
        assert small[0].read().shape == (1, 3, 12, 16)

    def test_frames_of_pictures_in_their_order(self, tmp_path):
        put(tmp_path / "Blurry2_1.png")
        for number in (1, 2, 10):
            put(tmp_path / "Image2" / "Kernel1" / f"GroundTruth2_1_{number}.png", number)
        found = list(kohler(tmp_path)[0].frames())
        for frame, number in zip(found, (1, 2, 10), strict=True):
            assert torch.equal(frame, picture(seed=number, height=12, width=16))

    def test_what_is_wrong_is_named(self, tmp_path):
        with pytest.raises(ValueError, match=r"must hold 'BlurryImages/Blurry1_1.png', got none"):
            kohler(tmp_path)
        put(tmp_path / "Blurry2_1.png")
        with pytest.raises(FileNotFoundError, match=r"GroundTruth2_1.mat"):
            kohler(tmp_path)
        truth = tmp_path / "groundTruthMatFiles" / "GroundTruth2_1.mat"
        truth.parent.mkdir()
        savemat(truth, {"GroundTruth": np.zeros((4, 4))})
        with pytest.raises(ValueError, match=r"2_1.mat' must hold a variable 'GroundTruth'"):
            next(kohler(tmp_path)[0].frames())
        truth.write_bytes(truth.read_bytes()[:150])
        with pytest.raises(ValueError, match=r"2_1.mat' must be a whole MATLAB 5 file"):
            next(kohler(tmp_path)[0].frames())


class TestCUHK:
    @pytest.fixture
    def root(self, tmp_path):
        for name in ("motion0002", "motion0001", "out_of_focus0001"):
            put(tmp_path / "image" / f"{name}.jpg")
            mask = torch.zeros(1, 1, 12, 16)
            mask[..., :5] = 1
            (tmp_path / "gt").mkdir(exist_ok=True)
            write_image(tmp_path / "gt" / f"{name}.png", mask)
        return tmp_path

    def test_images_and_masks(self, root):
        found = cuhk(root)
        assert [each.name for each in found] == ["motion0001", "motion0002"]
        image, blurred = found[0].read()
        assert image.shape == (1, 3, 12, 16)
        assert blurred.shape == (1, 1, 12, 16)
        assert blurred[..., :5].all()
        assert not blurred[..., 5:].any()
        other = cuhk(root, blurred_is_white=False)[0].read()[1]
        assert torch.equal(other, ~blurred)
        assert [each.name for each in cuhk(root, "out_of_focus")] == ["out_of_focus0001"]

    def test_a_split(self, root):
        names = root / "test.txt"
        names.write_text("motion0002.jpg\n")
        assert [each.name for each in cuhk(root, names=names)] == ["motion0002"]
        names.write_text("motion0009\n")
        with pytest.raises(ValueError, match=r"test.txt' must list images of .*'motion0009'"):
            cuhk(root, names=names)

    def test_what_is_wrong_is_named(self, root):
        write_image(root / "gt" / "motion0001.png", torch.zeros(1, 1, 12, 15))
        with pytest.raises(ValueError, match=r"gt/motion0001.png' must have the size of"):
            cuhk(root)[0].read()
        (root / "gt" / "motion0001.png").unlink()
        with pytest.raises(ValueError, match=r"motion0001.jpg' must have a twin .*motion0001.png"):
            cuhk(root)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            cuhk(root / "nowhere")
        with pytest.raises(ValueError, match="kind must be one of"):
            cuhk(root, "rain")


def test_levin_kernels_are_turned_and_counted_once(tmp_path):
    first, second = np.arange(1.0, 13).reshape(3, 4), np.eye(3)
    for i, taps in enumerate((first, first, second)):
        savemat(tmp_path / f"im_{i}.mat", {"f": taps / taps.sum(), "y": np.ones((4, 4))})
    found = levin_kernels(tmp_path)
    assert list(found) == ["kernel 1", "kernel 2"]
    expected = np.zeros((3, 5))
    expected[:, 1:] = first[::-1, ::-1] / first.sum()
    np.testing.assert_allclose(found["kernel 1"].numpy(), expected, rtol=1e-6)
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = first, second
    savemat(tmp_path / "all.mat", {"kernels": cells})
    assert list(levin_kernels(tmp_path / "all.mat")) == ["kernel 1", "kernel 2"]
    savemat(tmp_path / "none.mat", {"g": second})
    with pytest.raises(ValueError, match="must hold the variable kernels or f"):
        levin_kernels(tmp_path / "none.mat")


class TestREDS4:
    def test_the_four_clips_of_the_training_half(self, tmp_path):
        for clip in ("020", "000", "001"):
            for i, part in enumerate(("train_blur", "train_sharp")):
                put(tmp_path / "train" / part / clip / "00000007.png", i)
        assert REDS4 == ("000", "011", "015", "020")
        assert [pair.name for pair in reds4(tmp_path)] == ["000/00000007", "020/00000007"]
        blurred, sharp = reds4(tmp_path / "train")[0].read()
        assert torch.equal(blurred, picture(seed=0, height=12, width=16))
        assert torch.equal(sharp, picture(seed=1, height=12, width=16))
        (tmp_path / "train/train_sharp/000/00000007.png").unlink()
        with pytest.raises(ValueError, match=r"000/00000007.png' must have a twin"):
            reds4(tmp_path)
        for name in ("train_blur", "train_sharp"):
            (tmp_path / "other" / name).mkdir(parents=True)
        with pytest.raises(ValueError, match="must hold the clips 000, 011, 015, 020"):
            reds4(tmp_path / "other")
        with pytest.raises(FileNotFoundError, match="train_blur"):
            reds4(tmp_path / "other" / "train_sharp")


class TestHIDE:
    def test_the_test_half(self, tmp_path):
        for part, name in (("test-long-shot", "2"), ("test-close-ups", "7fromGOPR1096.MP4")):
            put(tmp_path / "test" / part / f"{name}.png", 3)
            put(tmp_path / "GT" / f"{name}.png", 4)
        put(tmp_path / "GT" / "9.png")
        pairs = hide(tmp_path)
        names = ["test-close-ups/7fromGOPR1096.MP4", "test-long-shot/2"]
        assert [pair.name for pair in pairs] == names
        blurred, sharp = pairs[1].read()
        assert torch.equal(blurred, picture(seed=3, height=12, width=16))
        assert torch.equal(sharp, picture(seed=4, height=12, width=16))
        (tmp_path / "GT" / "2.png").unlink()
        with pytest.raises(ValueError, match=r"long-shot/2.png' must have a twin .*GT/2.png"):
            hide(tmp_path)
        with pytest.raises(FileNotFoundError, match="GT"):
            hide(tmp_path / "test")


def test_faces_lie_at_any_depth(tmp_path):
    for name in ("images1024x1024/00000/00001.png", "00002.jpg", "images1024x1024/00000/._x.png"):
        put(tmp_path / name)
    (tmp_path / "LICENSE.txt").touch()
    assert [path.stem for path in faces(tmp_path)] == ["00002", "00001"]
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="must hold PNG, JPEG or TIFF images, got none"):
        faces(tmp_path / "none")
