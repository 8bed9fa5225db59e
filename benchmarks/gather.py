# SPDX-License-Identifier: BSD-3-Clause
"""NU-Conv and motion blur beside what one can write in plain torch.

    python -m benchmarks.gather [--size 1024] [--threads 2] [--rounds 3]

Filters of 31 x 31 out of a bank of 361, four per pixel and three channels, picked smoothly as for a
smooth motion field, and at random; motions of up to 25 pixels, likewise. Every contender is held to
the reference on a small image first. What is proportional to the rows of the image and slow is
timed on an eighth of them, and multiplied. Prints a line per contender and writes the lines to
benchmarks/results/gather-<machine>.csv.
"""

import argparse
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import blurops
from benchmarks import machine, turns
from benchmarks.contenders.base import good_length
from blurops._boundary import pad
from blurops.testing import accuracy, relative_error

SIDE, FILTERS, PICKED, LONGEST = 31, 361, 4, 25
SHARE = 8


class Field(NamedTuple):
    """One problem: an image and what each of its pixels does."""

    image: Tensor
    bank: Tensor
    index: Tensor
    weight: Tensor
    length: Tensor
    angle: Tensor


def make_field(height: int, width: int, smooth: bool) -> Field:
    """Lengths and angles of pixels, and the four motions of a bank around each."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    y, x = (a / width for a in torch.meshgrid(
        torch.arange(height), torch.arange(width), indexing="ij"
    ))  # fmt: skip
    if smooth:
        length = 1 + 24 * (0.5 + 0.5 * torch.sin(3 * x + 2 * y))
        angle = (math.pi / 2 * (1 + torch.sin(2 * y - x))).clamp(max=math.pi * 0.999)
    else:
        length, angle = 1 + 24 * random(height, width), math.pi * random(height, width)
    steps, turns = ((length - 1) / 2).floor().clamp(max=11), (angle / math.pi * 30).floor()
    picked = [
        torch.where(steps + m == 0, 0, 12 * ((turns + q) % 30) + steps + m)
        for m in (0, 1) for q in (0, 1)
    ]  # fmt: skip
    weight = random(1, PICKED, height, width).softmax(1)
    bank = torch.randn(FILTERS, SIDE, SIDE, generator=generator) / SIDE
    index = torch.stack(picked)[None].int()
    return Field(random(1, 3, height, width), bank, index, weight, length[None], angle[None])


def conv_ours(field: Field) -> Tensor:
    """Our own op."""
    return blurops.nu_conv(field.image, field.bank, field.index, field.weight, backend="native")


def conv_taps(field: Field) -> Tensor:
    """A loop over the taps, each gathered out of the bank for all pixels."""
    extended = pad(field.image, (SIDE // 2, SIDE // 2), "reflect")
    height, width = field.image.shape[-2:]
    taps = field.bank.flatten(1).T.contiguous()
    index, out = field.index[0].flatten().long(), torch.zeros_like(field.image)
    for i in range(SIDE * SIDE):
        dy, dx = divmod(i, SIDE)
        own = taps[i].index_select(0, index).view(PICKED, height, width)
        own = (own * field.weight[0]).sum(0)
        out.addcmul_(own, extended[..., dy : dy + height, dx : dx + width])
    return out


def conv_unfold(field: Field) -> Tensor:
    """Every pixel's filter by embedding_bag, times its unfolded window, a few rows at a time."""
    extended = pad(field.image, (SIDE // 2, SIDE // 2), "reflect")
    windows = extended[0].unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # (C, H, W, K, K)
    height, width = field.image.shape[-2:]
    out, bank = torch.empty_like(field.image), field.bank.flatten(1)
    for y in range(height):
        index = field.index[0, :, y].T.contiguous()
        weights = field.weight[0, :, y].T.contiguous()
        own = F.embedding_bag(index.long(), bank, per_sample_weights=weights, mode="sum")
        out[0, :, y] = torch.einsum("cpk,pk->cp", windows[:, y].reshape(3, width, -1), own)
    return out


def conv_fft(field: Field) -> Tensor:
    """A whole-image transform per filter that some pixel picks, then mixed."""
    height, width = field.image.shape[-2:]
    lengths = [good_length(n + SIDE - 1) for n in (height, width)]
    extended = pad(field.image, (SIDE // 2, SIDE // 2), "reflect")
    spectrum, out = torch.fft.rfft2(extended, s=lengths), torch.zeros_like(field.image)
    for f in field.index.unique().tolist():
        kernel = torch.fft.rfft2(field.bank[f], s=lengths).conj()
        response = torch.fft.irfft2(spectrum * kernel, s=lengths)[..., :height, :width]
        out.addcmul_((field.weight * (field.index == f)).sum(1, keepdim=True), response)
    return out


def motion_ours(field: Field) -> Tensor:
    """Our own op."""
    return blurops.motion_blur(field.image, field.length, field.angle, backend="native")


def _weights(field: Field, q: Tensor | float, p: Tensor | float, rows: slice) -> Tensor:
    half = (field.length[0, rows] - 1) / 2
    cos, sin = field.angle[0, rows].cos(), field.angle[0, rows].sin()
    across = q * cos + p * sin
    beyond = (p * cos - q * sin).abs() - half
    ends = half * half <= q * q + p * p
    return (1 - torch.where(ends, torch.hypot(across, beyond), across.abs())).clamp_(min=0)


def motion_offsets(field: Field) -> Tensor:
    """A loop over the window, the weight of each offset computed for all pixels."""
    reach = LONGEST // 2
    extended = pad(field.image, (reach, reach), "reflect")
    height, width = field.image.shape[-2:]
    out, total = torch.zeros_like(field.image), torch.zeros(height, width)
    half, cos, sin = (field.length[0] - 1) / 2, field.angle[0].cos(), field.angle[0].sin()
    square = half * half
    for q in range(-reach, reach + 1):
        for p in range(-reach, reach + 1):
            across = q * cos + p * sin
            beyond = (p * cos - q * sin).abs_().sub_(half)
            ends = square <= q * q + p * p
            weight = torch.where(ends, torch.hypot(across, beyond), across.abs_())
            weight = weight.neg_().add_(1).clamp_(min=0)
            total += weight
            y, x = reach + q, reach + p
            out.addcmul_(weight, extended[..., y : y + height, x : x + width])
    return out / total


def motion_unfold(field: Field) -> Tensor:
    """Every pixel's weights, times its unfolded window, a row at a time."""
    reach = LONGEST // 2
    side = 2 * reach + 1
    extended = pad(field.image, (reach, reach), "reflect")
    windows = extended[0].unfold(1, side, 1).unfold(2, side, 1)
    offset = torch.arange(-reach, reach + 1.0)
    q, p = offset[:, None, None], offset[:, None]
    out, width = torch.empty_like(field.image), field.image.shape[-1]
    for y in range(field.image.shape[-2]):
        weight = _weights(field, q, p, y).view(-1, width)  # (K K, W)
        window = windows[:, y].reshape(3, width, -1)
        out[0, :, y] = torch.einsum("cpk,kp->cp", window, weight) / weight.sum(0)
    return out


# name -> (function, whether it is timed on some rows only)
CONTENDERS: dict[str, dict[str, tuple[Callable[[Field], Tensor], bool]]] = {
    "nu_conv": {
        "blurops": (conv_ours, False),
        "taps": (conv_taps, True),
        "embedding_bag and unfold": (conv_unfold, True),
        "FFT per filter": (conv_fft, False),
    },
    "motion_blur": {
        "blurops": (motion_ours, False),
        "offsets": (motion_offsets, True),
        "unfold": (motion_unfold, True),
    },
}


def exact(op: str, field: Field) -> Tensor:
    """The reference in float64."""
    double = Field(*(t.double() if t.is_floating_point() else t for t in field))
    if op == "nu_conv":
        parts = (double.image, double.bank, double.index, double.weight)
        return blurops.nu_conv(*parts, backend="reference")
    return blurops.motion_blur(double.image, double.length, double.angle, backend="reference")


def check(op: str, contender: Callable[[Field], Tensor], smooth: bool) -> None:
    """Raise when a contender computes something else."""
    field = make_field(33, 37, smooth)
    # A plain sum of float32 numbers, and angles whose sines are rounded, err a few times more.
    allowed = 4 * accuracy(torch.float32).relative
    error = relative_error(contender(field), exact(op, field))
    if not error <= allowed:
        raise ArithmeticError(f"{op}: a contender errs by {error:.1e}, more than {allowed:.1e}")


def seconds(call: Callable[[], Tensor], rounds: int) -> float:
    """The shortest of some calls, after one that is not counted."""
    call()
    least = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least


def rows(size: int, threads: int, rounds: int) -> list[dict[str, object]]:
    """One row per contender and kind of field."""
    found = []
    for op, contenders in CONTENDERS.items():
        for kind in ("smooth", "random"):
            whole = make_field(size, size, kind == "smooth")
            part = make_field(size // SHARE, size, kind == "smooth")
            for name, (contender, sampled) in contenders.items():
                if name == "FFT per filter" and kind == "random":
                    continue  # every filter is picked somewhere: minutes
                check(op, contender, kind == "smooth")
                field = part if sampled else whole
                least = seconds(lambda f=field, c=contender: c(f), 1 if sampled else rounds)
                found.append({
                    "op": op, "field": kind, "contender": name, "size": size, "threads": threads,
                    "seconds": round(least * (SHARE if sampled else 1), 5), "sampled": sampled,
                    **machine.place(),
                })  # fmt: skip
                print(
                    f"{op:12} {kind:7} {name:26} {found[-1]['seconds'] * 1e3:10.1f} ms", flush=True
                )
    return found


def main() -> None:
    """Check, time, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    folder = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=folder / f"gather-{platform.machine()}.csv")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = rows(options.size, options.threads, options.rounds)
    turns.write(options.out, found)


if __name__ == "__main__":
    main()
