# SPDX-License-Identifier: BSD-3-Clause
"""Native calls from several threads, and in children of a process that has used threads."""

import os
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import blurops
from blurops.testing import Shape, family_tensors

# Large enough to be shared out among threads.
SHAPE = Shape(1, 3, 64, 96, 5, 9, 9)
SECONDS = 60


def blurred(seed=0):
    tensors = family_tensors(SHAPE, "reflect", torch.float32, seed)
    args = [tensors[name] for name in ("image", "kernels", "mixing")]
    return blurops.basis_blur(*args, backend="native")


class Blurred(Dataset):
    """Samples that are blurred by whoever loads them."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return blurred(index)[0]


@pytest.fixture
def _forking():
    """Python 3.12 warns of any fork beside threads, which is what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@pytest.mark.usefixtures("native", "_forking")
def test_a_forked_child_computes_the_same(threads):
    threads(2)
    expected = blurred()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)  # a child that waits for lost threads would wait for ever
        os.write(writing, b"same" if torch.equal(blurred(), expected) else b"different")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() == b"same"
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.usefixtures("native", "_forking")
def test_data_loader_workers(threads):
    threads(2)
    expected = torch.cat([blurred(index) for index in range(4)])
    loader = DataLoader(
        Blurred(), batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=SECONDS
    )
    assert torch.equal(torch.cat(list(loader)), expected)


@pytest.mark.usefixtures("native")
def test_four_threads_at_once(threads):
    threads(2)
    expected = [blurred(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(blurred, [seed for _ in range(5) for seed in range(4)]))
    assert all(torch.equal(result, expected[i % 4]) for i, result in enumerate(results))
