# SPDX-License-Identifier: BSD-3-Clause
"""The networks of the authors' later paper: their tensors, their equations, their files."""

import pytest
import torch
import torch.nn.functional as F

from blurmodels import checkpoints
from blurmodels.irc import LCHQS, NULCHQS
from blurops import inverse_filters, linear_motion_bank
from blurops.testing import accuracy


def layers(stages=5, inner=2):
    """Names and shapes of the weights of all convolutions, in the published order."""
    shapes = [(64, 1, 5, 5), *[(64, 64, 3, 3)] * 4, (1, 64, 3, 3)]
    found = [(f"denoiser.{i}.conv.{j}", s) for i in range(stages) for j, s in enumerate(shapes)]
    shapes = [(32, 3, 3, 3), *[(32, 32, 3, 3)] * 4, (1, 32, 3, 3)]
    return found + [
        (f"pooling.{i}.conv{j}", s) for i in range(stages * inner) for j, s in enumerate(shapes, 1)
    ]


def published(bank=0):
    wanted = [("weight", (2, 1, 5, 5))]
    for name, shape in layers():
        wanted += [(f"{name}.weight", shape), (f"{name}.bias", shape[:1])]
    if bank:
        wanted += [("inv_nu_conv.weight", (bank, 1, 31, 31)), ("inv_nu_conv.bias", (bank,))]
    return wanted


@pytest.mark.parametrize(
    ("kind", "bank", "tensors", "numbers"),
    [(LCHQS, 0, 181, 1_131_585), (NULCHQS, 361, 183, 1_478_867)],
)
def test_tensors_are_the_published_ones(kind, bank, tensors, numbers):
    with torch.device("meta"):
        state = kind().state_dict()
    assert [(name, tuple(t.shape)) for name, t in state.items()] == published(bank)
    assert (len(state), sum(t.numel() for t in state.values())) == (tensors, numbers)


def random(network, seed=0):
    """Weights under which every layer matters."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.ndim == 4 and parameter.shape[-1] < 31:
            fan = parameter[0].numel()
            parameter.data.normal_(std=(1.5 / fan) ** 0.5, generator=generator)
    return network.double()


def correlate(x, kernel, mode="replicate"):
    down, right = (side // 2 for side in kernel.shape[-2:])
    padded = F.pad(x, (right, right, down, down), mode=mode)
    return F.conv2d(padded, kernel.reshape(1, 1, *kernel.shape[-2:]))


def transcribed(state, y, blur, inverse, stages, inner):
    """One channel (1, 1, H, W), from the equations and the tensors' names."""
    horizontal, vertical = torch.zeros(2, 5, 5, dtype=y.dtype)
    horizontal[2, 2] = vertical[2, 2] = 1
    horizontal[2, 1] = vertical[1, 2] = -1
    first, second = (inverse_filters(k, size=31, ridge=1e-2)[0, 0] for k in (horizontal, vertical))

    def denoise(z, i):
        for j in range(6):
            name = f"denoiser.{i}.conv.{j}"
            radius = 2 if j == 0 else 1
            z = F.pad(z, (radius,) * 4, mode="reflect")
            z = F.conv2d(z, state[f"{name}.weight"], state[f"{name}.bias"])
            z = z.clamp(min=0) if j < 5 else z
        return z

    def pool(parts, i):
        r = torch.cat(parts, 1)
        for j in range(1, 7):
            name = f"pooling.{i}.conv{j}"
            r = F.conv2d(r, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)
            r = torch.where(r > 0, r, r.exp() - 1) if j < 6 else r
        return r

    x = y
    for i in range(stages):
        z1 = denoise(correlate(x, horizontal), i)
        z2 = denoise(correlate(x, vertical).mT, i).mT
        for j in range(inner):
            r0 = inverse(y - blur(x))
            r1 = correlate(z1 - correlate(x, horizontal), first)
            r2 = correlate(z2 - correlate(x, vertical), second)
            x = x + pool([r0, r1, r2], i * inner + j)
    return x


# Convolutions one after the other in two stages of two steps; each may err as much as one op.
DEPTH = 2 * (6 + 2 * 8)


def test_uniform_network_is_its_equations():
    torch.manual_seed(0)
    network = random(LCHQS(2, 2))
    kernel = torch.rand(5, 3, dtype=torch.float64)
    kernel /= kernel.sum()
    inverse = inverse_filters(kernel, size=11, ridge=1e-2)[0, 0]
    observed = torch.rand(2, 2, 17, 14, dtype=torch.float64)
    got = network(observed, kernel)
    state = network.state_dict()
    for n in range(2):
        for c in range(2):
            want = transcribed(
                state, observed[n : n + 1, c : c + 1], lambda x: correlate(x, kernel),
                lambda r: correlate(r, inverse), 2, 2,
            )  # fmt: skip
            error = (got[n, c] - want[0, 0]).norm() / want.norm()
            assert error < DEPTH * accuracy(torch.float64).relative
            assert (want[0, 0] - observed[n, c]).norm() > 0.01 * want.norm()


def test_non_uniform_network_is_its_equations():
    torch.manual_seed(1)
    network = random(NULCHQS(2, 1, max_length=5))
    # Motions of the bank, so that blur and inverse belong together; entry 2 q + m.
    q, m = torch.randint(30, (9, 12)), torch.randint(3, (9, 12))
    entry = torch.where(m == 0, 0, 2 * q + m)
    length, angle = (1 + 2 * m).double()[None], torch.deg2rad(6.0 * q.double())[None]
    kernels = linear_motion_bank(5).double()
    filters = network.state_dict()["inv_nu_conv.weight"][:, 0]

    def gather(bank):
        def apply(x):
            every = torch.cat([correlate(x, k) for k in bank], 1)[0]
            return every.gather(0, entry[None])[None]

        return apply

    observed = torch.rand(1, 2, 9, 12, dtype=torch.float64)
    got = network(observed, length, angle)
    for c in range(2):
        want = transcribed(
            network.state_dict(), observed[:, c : c + 1], gather(kernels), gather(filters), 2, 1
        )
        # The bank's kernels are float32.
        assert (got[0, c] - want[0, 0]).norm() / want.norm() < DEPTH * accuracy(
            torch.float32
        ).relative
    bank = inverse_filters(linear_motion_bank(5), size=31, ridge=1e-2)
    torch.testing.assert_close(filters, bank[:, 0].double())


def test_stages_learn_each_for_itself_and_the_bank_learns():
    network = NULCHQS(2, 1, max_length=3)
    length, angle = torch.full((1, 9, 9), 3.0), torch.full((1, 9, 9), 0.4)
    network.estimates(torch.rand(1, 1, 9, 9), length, angle)[1].sum().backward()
    assert network.denoiser[0].conv[0].weight.grad is None
    assert network.denoiser[1].conv[0].weight.grad.abs().sum() > 0
    touched = network.inv_nu_conv.weight.grad.flatten(1).abs().sum(1)
    assert touched.count_nonzero() == 1
    assert network.weight.grad is None


@pytest.mark.parametrize("kind", [LCHQS, NULCHQS])
def test_files_both_ways(tmp_path, kind):
    options = {"max_length": 3} if kind is NULCHQS else {}
    network = kind(2, 3, **options)
    checkpoints.write_pickled(tmp_path / "authors.pt", network.state_dict())
    network.save_pretrained(tmp_path / "ours.safetensors", noise=2.55)
    for name in ("authors.pt", "ours.safetensors"):
        found = kind.from_pretrained(tmp_path / name)
        assert found.architecture == network.architecture
        assert not found.weight.requires_grad
        for key, tensor in network.state_dict().items():
            assert torch.equal(found.state_dict()[key], tensor)
    other = LCHQS if kind is NULCHQS else NULCHQS
    with pytest.raises(ValueError, match="must hold weights of irc"):
        other.from_pretrained(tmp_path / "ours.safetensors")
    with pytest.raises(ValueError, match=r"2 (unknown|missing) \(inv_nu_conv.weight; inv"):
        other.from_pretrained(tmp_path / "authors.pt")


def test_bad_input_is_named():
    network = NULCHQS(1, 1, max_length=3)
    one = torch.ones(1, 9, 9)
    with pytest.raises(ValueError, match="length must be at most 3, the longest motion"):
        network(torch.rand(1, 1, 9, 9), 4 * one, one)
    with pytest.raises(TypeError, match="observed must be a torch"):
        network(torch.rand(1, 1, 9, 9, dtype=torch.float64), one, one)
    with pytest.raises(ValueError, match="sides of at least 3"):
        network(torch.rand(1, 1, 9, 2), one, one)
    with pytest.raises(ValueError, match="stages must be a positive integer, got 0"):
        LCHQS(0)
