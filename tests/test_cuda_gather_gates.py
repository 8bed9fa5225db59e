# SPDX-License-Identifier: BSD-3-Clause
"""What nvcc makes of the CUDA kernels of NU-Conv and motion blur, where it is installed."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cubins import compile_cubin, nvcc
from tests.test_cuda_gates import ARCHITECTURES

pytestmark = pytest.mark.skipif(nvcc() is None, reason="the gates need nvcc")

# Two blocks of 256 threads share a multiprocessor's 65,536 registers.
REGISTERS = 128
SOURCES = ("csrc/nu_conv/cuda/gather.cu", "csrc/motion_blur/cuda/blur.cu", "csrc/gpu/planes.cu")
# Of a double's sine and cosine, for angles of more than a hundred thousand radians.
SINES = 40


@pytest.fixture(scope="module", params=ARCHITECTURES)
def compiled(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)

    def compile_one(number):
        return compile_cubin(SOURCES[number], request.param, 1, 1, folder / f"{number}.cubin")

    with ThreadPoolExecutor() as pool:
        return list(pool.map(compile_one, range(len(SOURCES))))


def test_nothing_is_spilled_and_blocks_share_a_multiprocessor(compiled):
    for kernels, least, stack in zip(compiled, (6, 5, 3), (0, SINES, 0), strict=True):
        assert len(kernels) >= least
        for kernel, used in kernels.items():
            assert used.spills == 0, kernel
            assert used.stack <= stack, kernel
            assert used.registers <= REGISTERS, kernel
