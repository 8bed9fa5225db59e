# SPDX-License-Identifier: BSD-3-Clause
"""The training of F and G: losses, data, a run that is killed, and what it learns."""

import math
import pickle
from dataclasses import replace

import pytest
import torch
from PIL import Image

from blurmodels import checkpoints, datasets, training
from blurmodels.datasets import LMDBPairs
from blurmodels.kernel_space import KernelWizard
from blurmodels.kernel_space.losses import charbonnier, divergence
from blurmodels.kernel_space.pairs import Crops, FilePairs, GeneratedPairs, Mixed
from blurmodels.kernel_space.task import PairsTask, initialise, settings_of
from blurmodels.training import Settings, train


def test_charbonnier_by_hand():
    found, wanted = torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    assert float(charbonnier(found, wanted, epsilon=0.25)) == pytest.approx(math.sqrt(4.25) + 0.5)
    mean = charbonnier(found, wanted, epsilon=0.5, squared=True, reduction="mean")
    assert float(mean) == pytest.approx((math.sqrt(4.25) + 0.5) / 2)
    with pytest.raises(ValueError, match="reduction must be one of sum, mean, got 'max'"):
        charbonnier(found, wanted, reduction="max")


def test_divergence_by_hand():
    found = divergence(torch.tensor([2.0, 0.0]), torch.tensor([-0.5, 0.0]))
    wanted = 4 + 0.25 - math.log(0.25 + 1e-8) - 1 - math.log(1e-8) - 1
    assert float(found) == pytest.approx(wanted, rel=1e-6)


def test_the_rate_restarts():
    settings = Settings(20, learning_rate=1.0, decay="restarts", periods=(4, 8), least_rate=0.2)
    rates = [settings.rate(step) for step in range(14)]
    assert rates[0] == rates[4] == 1
    assert rates[2] == pytest.approx(0.6)
    assert rates[8] == pytest.approx(0.6)
    assert rates[6] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[12] == rates[13] == 0.2
    with pytest.raises(ValueError, match="periods must be positive"):
        Settings(20, decay="restarts")


def test_the_option_files():
    reds, vae = settings_of("reds"), settings_of("gopro-vae")
    assert (reds.batch_size, reds.least_rate, reds.betas) == (13, 1e-6, (0.9, 0.99))
    assert (vae.batch_size, vae.least_rate, vae.steps) == (8, 1e-8, 600_000)
    assert [reds.rate(step) for step in (50_000, 150_000, 300_000, 450_000)] == [1e-4] * 4


def picture(path, value, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 2 * value, 255)).save(path)


def values(source):
    return [
        tuple(int(image[0, 0, 0] * 255 + 0.5) for image in source.read(i))
        for i in range(len(source))
    ]


def test_folders(tmp_path):
    for number, clip in enumerate(("000", "003", "011", "100")):
        picture(tmp_path / f"R/train/train_sharp/{clip}/00000000.png", number)
        picture(tmp_path / f"R/train/train_blur/{clip}/00000000.png", 50 + number)
    assert values(FilePairs(datasets.reds(tmp_path / "R"))) == [(1, 51), (3, 53)]
    both = FilePairs(
        datasets.two_folders(tmp_path / "R/train/train_sharp", tmp_path / "R/train/train_blur")
    )
    assert values(both) == [(n, 50 + n) for n in range(4)]
    picture(tmp_path / "G/train/GOPR1/sharp/000001.png", 7)
    picture(tmp_path / "G/train/GOPR1/blur/000001.png", 8)
    gopro = FilePairs(datasets.gopro(tmp_path / "G", split="train"))
    assert values(gopro) == [(7, 8)]
    mixed = Mixed([FilePairs(datasets.reds(tmp_path / "R")), gopro], [1, 10])
    assert values(mixed) == [(1, 51), (3, 53)] + [(7, 8)] * 10
    with pytest.raises(ValueError, match="weights must be a positive whole number for each of 1"):
        Mixed([gopro], [1, 10])
    picture(tmp_path / "R/train/train_blur/003/00000001.png", 1)
    with pytest.raises(ValueError, match="must have a twin"):
        datasets.two_folders(tmp_path / "R/train/train_sharp", tmp_path / "R/train/train_blur")


def database(path, frames, resolution="3_2_3"):
    lmdb = pytest.importorskip("lmdb", reason="reading LMDB files needs the package lmdb")
    base = lmdb.open(str(path), map_size=1 << 20)
    with base.begin(write=True) as transaction:
        for key, frame in frames.items():
            transaction.put(key.encode(), frame)
    base.close()
    meta = {"name": "x", "resolution": resolution, "keys": list(frames)}
    (path / "meta_info.pkl").write_bytes(pickle.dumps(meta))


def test_the_authors_databases(tmp_path):
    frames = {f"{clip}_00000000": bytes(range(n, n + 18)) for n, clip in enumerate(("000", "002"))}
    database(tmp_path / "sharp", frames)
    database(tmp_path / "blur", {key: frame[::-1] for key, frame in frames.items()})
    source = LMDBPairs(tmp_path / "sharp", tmp_path / "blur", without=("000",))
    sharp, blurry = pickle.loads(pickle.dumps(source)).read(0)
    # Rows of pixels, blue first: red is the third byte of each.
    assert (sharp * 255).round().tolist()[0] == [[3, 6, 9], [12, 15, 18]]
    assert (blurry * 255).round().tolist()[2] == [[18, 15, 12], [9, 6, 3]]
    assert len(source) == 1
    source._open = None
    database(tmp_path / "short", dict.fromkeys(frames, b"1"))
    with pytest.raises(
        ValueError, match=r"frame '000_00000000' of .*short' must have 18 bytes, got 1"
    ):
        LMDBPairs(tmp_path / "short", tmp_path / "blur").read(0)
    database(tmp_path / "other", frames, "3_3_2")
    with pytest.raises(ValueError, match="must have keys and resolution"):
        LMDBPairs(tmp_path / "sharp", tmp_path / "other")
    (tmp_path / "other/meta_info.pkl").write_bytes(pickle.dumps(print))
    with pytest.raises(ValueError, match=r"asks for builtins\.print"):
        LMDBPairs(tmp_path / "sharp", tmp_path / "other")


class Numbered:
    """Pairs whose pixels say where they come from; the blurry twin is the negative."""

    record = None

    def __len__(self):
        return 3

    def read(self, index):
        sharp = torch.arange(20.0).reshape(1, 4, 5).expand(3, -1, -1) + 100 * index
        return sharp, -sharp


def test_crops_mirror_and_transpose_both_images_alike():
    crops = Crops(Numbered(), 3, seed=1)
    seen, firsts = set(), []
    for index in range(240):
        crop = crops[index]
        assert torch.equal(crop[0], -crop[1])
        across, down = crop[0, 0, 0, 1] - crop[0, 0, 0, 0], crop[0, 0, 1, 0] - crop[0, 0, 0, 0]
        seen.add((int(across), int(down)))
        firsts.append(int(crop[0, 0].min()) // 100)
    steps = {(a, b) for x in (1, -1) for y in (5, -5) for a, b in ((x, y), (y, x))}
    assert seen == steps
    assert all(sorted(firsts[i : i + 3]) == [0, 1, 2] for i in range(0, 240, 3))
    assert firsts != [0, 1, 2] * 80
    assert torch.equal(crops[5], Crops(Numbered(), 3, seed=1)[5])
    corners = {int(Crops(Numbered(), 3, turn=False)[i][0, 0, 0, 0]) % 100 for i in range(60)}
    assert corners == {0, 1, 2, 5, 6, 7}
    with pytest.raises(ValueError, match="side must be at most"):
        Crops(Numbered(), 5)[0]


class Shaded:
    """Two blurs that are none: darker, and its red and blue exchanged; quick to learn."""

    record = "shaded"

    def __len__(self):
        return 4

    def read(self, index):
        generator = torch.Generator().manual_seed(index)
        low = torch.rand(1, 3, 8, 8, generator=generator)
        sharp = torch.nn.functional.interpolate(low, (256, 256), mode="bilinear")[0]
        return sharp, 0.5 * sharp if index % 2 else sharp.flip(0)


def task(**options):
    network = KernelWizard(2, 4, **options)
    initialise(network, 3)
    return PairsTask(network, Crops(Shaded(), 256, turn=False))


SETTINGS = Settings(
    4, batch_size=2, learning_rate=1e-3, betas=(0.9, 0.99), decay="restarts", periods=(2, 2),
    checkpoint_every=2, log_every=1,
)  # fmt: skip


class Killed(Exception):
    """Stands for a signal between two steps."""


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path):
    # The deviation's noise is drawn from torch's generator, which must go on as well.
    train(task(vae=True), SETTINGS, tmp_path / "whole")

    def kill(step, losses):
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        train(task(vae=True), SETTINGS, tmp_path / "killed", on_step=kill)
    torch.rand(5)
    train(task(vae=True), SETTINGS, tmp_path / "killed")
    found = [checkpoints.load(tmp_path / n / training.WEIGHTS).tensors for n in ("whole", "killed")]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert KernelWizard.from_pretrained(tmp_path / "whole" / training.WEIGHTS).architecture["vae"]
    with pytest.raises(ValueError, match="betas must be that of the training"):
        train(task(vae=True), replace(SETTINGS, betas=(0.9, 0.9)), tmp_path / "whole")


@torch.no_grad()
def test_parts_of_a_batch_have_the_whole_sum_as_their_mean():
    learned = task(vae=False)
    whole = learned.losses(
        learned.network, learned.samples(0, 4, slice(None)), 0, torch.device("cpu")
    )
    parts = [
        learned.losses(
            learned.network, learned.samples(0, 4, slice(r, None, 2)), 0, torch.device("cpu")
        )
        for r in (0, 1)
    ]
    mean = sum(float(part["data"]) for part in parts) / 2
    assert mean == pytest.approx(float(whole["data"]), rel=1e-5)


@torch.no_grad()
def test_the_mean_keeps_the_balance_of_both_terms():
    learned, terms = task(vae=True), []
    made = learned.samples(0, 2, slice(None))
    for reduction in ("sum", "mean"):
        learned.settings = replace(learned.settings, reduction=reduction)
        torch.manual_seed(0)
        terms.append(learned.losses(learned.network, made, 0, torch.device("cpu")))
    assert terms[0].keys() == {"data", "divergence"}
    for name, value in terms[0].items():
        assert float(terms[1][name]) == pytest.approx(float(value) / (2 * 3 * 256 * 256), rel=1e-5)


def initialised(seed):
    network = KernelWizard(8, 16, detail=32)
    initialise(network, seed)
    return network


@torch.no_grad()
@pytest.mark.parametrize("seed", range(3))
def test_k_changes_the_features_of_every_level_from_the_start(seed):
    network, found = initialised(seed), []
    level = network.adapter.model
    while level is not None:
        level.up.register_forward_hook(lambda *call: found.append(call[-1]))
        level = getattr(level, "submodule", None)
    generator = torch.Generator().manual_seed(seed)
    sharp = torch.rand(1, 3, 256, 256, generator=generator)
    for k in torch.rand(2, 1, 16, 1, 1, generator=generator):
        result = network.apply_blur(sharp, k.expand(-1, -1, 2, 2))
        assert 0 < float((result - sharp).abs().mean()) < 0.01
    for one, other in zip(found[:5], found[5:], strict=True):
        assert float((one - other).std()) > 0.1 * float(one.std())


@torch.no_grad()
def test_k_begins_as_a_gate_of_what_the_image_holds():
    trunk = initialised(0).recon_trunk
    generator = torch.Generator().manual_seed(0)
    details, gates, others = torch.randn(3, 1, 4, 8, 8, generator=generator)
    found, opposite, shut = (
        trunk(torch.cat(both, dim=1))
        for both in ((details, gates), (-details, gates), (details, others))
    )
    size = float(found.abs().max())
    assert float((found + opposite).abs().max()) < 1e-4 * size
    assert float((found - shut).abs().max()) > 0.05 * size
    assert float(trunk(torch.cat([0 * details, gates], dim=1)).abs().max()) < 1e-4 * size


@torch.no_grad()
def test_k_of_no_blur_begins_at_zero():
    network = initialised(0)
    sharp, blurry = torch.rand(2, 1, 3, 129, 140)
    wanted = float(network.extract_kernel(sharp, blurry).abs().max())
    assert float(network.extract_kernel(sharp, sharp).abs().max()) < 1e-4 * wanted


def test_a_short_training_lowers_the_loss(tmp_path):
    seen = []
    settings = Settings(16, batch_size=2, learning_rate=3e-3, betas=(0.9, 0.99), clip=1e9)
    train(task(), settings, tmp_path, on_step=lambda step, losses: seen.append(losses["loss"]))
    # Four steps are all pairs twice: of a network that learns nothing, both sums are the same.
    assert sum(seen[-4:]) < 0.95 * sum(seen[:4])


def test_generated_pairs_are_blurred_by_their_kernel():
    kernels = torch.zeros(2, 3, 3)
    kernels[0, 1, 1] = kernels[1, 1, 2] = 1
    source = GeneratedPairs(kernels, 20, 4, seed=1)
    for index in range(4):
        sharp, blurry = source.read(index)
        moved = torch.cat([sharp[..., 1:], sharp[..., -2:-1]], -1) if index % 2 else sharp
        assert torch.allclose(blurry, moved, atol=1e-6)
        assert not torch.allclose(sharp, moved, atol=1e-2) or index % 2 == 0


def test_gray_files_have_three_equal_channels(tmp_path):
    Image.new("L", (3, 2), 9).save(tmp_path / "x.png")
    sharp, _ = FilePairs(datasets.two_folders(tmp_path, tmp_path)).read(0)
    assert sharp.shape == (3, 2, 3)
