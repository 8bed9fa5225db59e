# SPDX-License-Identifier: BSD-3-Clause
"""The Gaussian fit of the generators' mapping networks: its value, its file, and going on."""

import pytest
import torch

from blurmodels.kernel_space.faces import StyleGAN, StyleGAN2, gaussian
from tests.faces import tiny


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(gaussian, "_CHUNK", 48)
    monkeypatch.setattr(gaussian, "_KEEP_EVERY", 2)


@pytest.mark.parametrize("kind", [StyleGAN, StyleGAN2])
def test_gaussian_fit_is_that_of_all_samples_at_once(short, kind):
    network = tiny(kind)
    z = torch.randn(500, 8, generator=torch.Generator().manual_seed(3))
    found = network.gaussian(500, seed=3)
    y = network.double().mapping(z.double())
    y = torch.where(y > 0, y, 5 * y)
    for one, other in zip(found, (y.mean(0), y.std(0)), strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).abs().max()) <= 1e-5 * float(y.abs().max())


def test_gaussian_fit_goes_on_where_it_was_stopped(short, tmp_path, monkeypatch):
    network, cache = tiny(StyleGAN), tmp_path / "fit.pt"
    wanted, mapping, calls = network.gaussian(250), StyleGAN.mapping, []

    def counted(network, z):
        calls.append(len(z))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return mapping(network, z)

    monkeypatch.setattr(StyleGAN, "mapping", counted)
    with pytest.raises(KeyboardInterrupt):
        network.gaussian(250, cache=cache)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.pt.part"]
    with pytest.raises(ValueError, match=r"fit.pt.part' must be of this .* another seed; delete"):
        network.gaussian(250, 1, cache=cache)
    found = network.gaussian(250, cache=cache)
    assert calls[4:] == [48, 48, 48, 10]
    again = network.gaussian(250, cache=cache)
    assert len(calls) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["fit.pt"]
    for one, other, third in zip(wanted, found, again, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def test_gaussian_fits_of_others(tmp_path):
    network, cache = tiny(StyleGAN), tmp_path / "gaussian_fit_stylegan.pt"
    mean, std = torch.rand(2, 8)
    torch.save({"mean": mean, "std": std}, cache)
    found = network.gaussian(cache=cache)
    assert torch.equal(found[0], mean)
    assert torch.equal(found[1], std)
    with pytest.raises(ValueError, match=r"'std' of 9 numbers, got mean \(8,\), std \(8,\)"):
        tiny(StyleGAN, width=9).gaussian(cache=cache)
    own = tmp_path / "own.pt"
    network.gaussian(20, cache=own)
    other = tiny(StyleGAN, seed=1)
    for fitted, arguments, got in (
        (network, (21,), "samples"),
        (network, (20, 1), "seed"),
        (other, (20,), "network"),
    ):
        with pytest.raises(ValueError, match=f"must be of this .* got another {got}; delete it"):
            fitted.gaussian(*arguments, cache=own)
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        network.gaussian(1)
    with pytest.raises(OSError, match="does not exist"):
        network.gaussian(20, cache=tmp_path / "none" / "fit.pt")
