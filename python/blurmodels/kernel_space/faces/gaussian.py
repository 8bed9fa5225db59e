# SPDX-License-Identifier: BSD-3-Clause
"""The normal distribution that a mapping network's output has behind its last activation."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from blurmodels import checkpoints
from blurmodels.evaluation._errors import message
from blurmodels.kernel_space import blind_state
from blurops.files import check_output

if TYPE_CHECKING:
    from blurmodels.kernel_space.faces.generator import FaceGenerator

# Of the authors.
SAMPLES = 1_000_000
# LeakyReLU_5(LeakyReLU_0.2(x)) = x.
SLOPE = 5.0

_CHUNK = 8192
# After so many chunks, what was summed is kept.
_KEEP_EVERY = 16


class _Sums(NamedTuple):
    """How many samples there were, their mean, and the squares of what is beside it."""

    done: int
    mean: Tensor
    squares: Tensor

    def added(self, y: Tensor) -> "_Sums":
        # Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
        # variances": two parts' sums from their means and squares.
        done, own = self.done + len(y), y.mean(0)
        apart, squares = own - self.mean, (y - own).square().sum(0)
        squares = squares + self.squares + apart.square() * (self.done * len(y) / done)
        return _Sums(done, self.mean + apart * (len(y) / done), squares)


def fit_gaussian(
    generator: "FaceGenerator",
    samples: int = SAMPLES,
    seed: int = 0,
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> tuple[Tensor, Tensor]:
    """See `FaceGenerator.gaussian`.

    Normal z are drawn on the CPU, so that they do not depend on where the weights are. Means and
    squares are summed in float64. What was summed so far lies in the file `<cache>.part`.
    """
    if not isinstance(samples, int) or samples < 2:
        raise ValueError(message("gaussian", "samples", "be at least 2", repr(samples)))
    like = next(generator.parameters())
    key = _key(generator, samples, seed)
    if cache is not None and Path(cache).exists():
        found = read_gaussian(cache, generator.width, key)
    else:
        found = _fit(generator, samples, seed, cache, key, progress)
        if cache is not None:
            checkpoints.write_pickled(cache, found | key)
            _part(cache).unlink(missing_ok=True)
    return found["mean"].to(like), found["std"].to(like)


def read_gaussian(
    path: str | os.PathLike[str], width: int, key: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Mean and deviation as the authors' programs keep them, {mean, std} by `torch.save`.

    Args:
        path: the file.
        width: of both.
        key: what it is of; files that say so must say the same. The authors' say nothing.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it holds something else, or is of another network, number of samples or seed.
    """
    found = checkpoints.read_pickled(path)
    wanted = f"hold 'mean' and 'std' of {width} numbers"
    for name in ("mean", "std"):
        if name not in found or found[name].shape != (width,):
            got = ", ".join(f"{n} {tuple(t.shape)}" for n, t in list(found.items())[:3])
            raise ValueError(message("gaussian", f"'{path}'", wanted, got))
    _check_key(path, found, key or {})
    return {name: found[name].float() for name in ("mean", "std")}


def _check_key(
    path: str | os.PathLike[str], found: dict[str, Tensor], key: dict[str, Tensor]
) -> None:
    for name, value in key.items():
        if name in found and not torch.equal(found[name], value):
            wanted = "be of this network, samples and seed"
            got = f"another {name}; delete it to fit anew"
            raise ValueError(message("gaussian", f"'{path}'", wanted, got))


def _key(generator: "FaceGenerator", samples: int, seed: int) -> dict[str, Tensor]:
    """What a fit depends on, as tensors, so that it can lie beside mean and std."""
    digest = bytes.fromhex(blind_state.digest(*generator.mapping_state().values()))
    network = torch.tensor(list(digest), dtype=torch.uint8)
    return {"network": network, "samples": torch.tensor(samples), "seed": torch.tensor(seed)}


def _part(cache: str | os.PathLike[str]) -> Path:
    return Path(f"{os.fspath(cache)}.part")


def _fit(
    generator: "FaceGenerator", samples: int, seed: int, cache: str | os.PathLike[str] | None,
    key: dict[str, Tensor], progress: bool,
) -> dict[str, Tensor]:  # fmt: skip
    if cache is not None:
        check_output(cache)
    like, random = next(generator.parameters()), torch.Generator().manual_seed(seed)
    sums = _Sums(0, *torch.zeros(2, generator.width, dtype=torch.float64))
    if cache is not None and _part(cache).exists():
        sums = _resumed(_part(cache), key, random)
    bar = tqdm(total=samples, initial=sums.done, unit="sample", disable=not progress)
    with bar, torch.no_grad():
        while sums.done < samples:
            count = min(_CHUNK, samples - sums.done)
            z = torch.randn(count, generator.width, generator=random)
            y = functional.leaky_relu(generator.mapping(z.to(like)), SLOPE)
            sums = sums.added(y.double().cpu())
            bar.update(count)
            if cache is not None and sums.done % (_CHUNK * _KEEP_EVERY) == 0:
                state = {"done": torch.tensor(sums.done), "random": random.get_state()}
                state |= {"mean": sums.mean, "squares": sums.squares}
                checkpoints.write_pickled(_part(cache), state | key)
    deviation = (sums.squares / (samples - 1)).sqrt()
    return {"mean": sums.mean.float(), "std": deviation.float()}


def _resumed(path: Path, key: dict[str, Tensor], random: torch.Generator) -> _Sums:
    """The sums that a stopped fit left, and the stream of random numbers where it was."""
    kept = checkpoints.read_pickled(path)
    _check_key(path, kept, key)
    if not kept.keys() >= {"done", "mean", "squares", "random"}:
        wanted = "be what a stopped fit left"
        raise ValueError(message("gaussian", f"'{path}'", wanted, "other tensors; delete it"))
    random.set_state(kept["random"])
    return _Sums(int(kept["done"]), kept["mean"], kept["squares"])
