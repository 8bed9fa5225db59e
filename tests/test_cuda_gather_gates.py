# SPDX-License-Identifier: BSD-3-Clause
"""What nvcc makes of the CUDA kernels of NU-Conv and motion blur, where it is installed."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cubins import compile_cubin, cuobjdump, innermost_loop, nvcc
from tests.test_cuda_gates import ARCHITECTURES

pytestmark = pytest.mark.skipif(nvcc() is None, reason="the gates need nvcc")

# Two blocks of 256 threads share a multiprocessor's 65,536 registers.
REGISTERS = 128
# This one fills the shared memory alone.
ALONE = 255
SOURCES = (
    "csrc/nu_conv/cuda/spread.cu",
    "csrc/nu_conv/cuda/synthesis.cu",
    "csrc/nu_conv/cuda/gather.cu",
    "csrc/motion_blur/cuda/blur.cu",
    "csrc/gpu/planes.cu",
)
# Of a double's sine and cosine, for angles of more than a hundred thousand radians.
SINES = 40


@pytest.fixture(scope="module", params=ARCHITECTURES)
def compiled(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)

    def compile_one(number):
        cubin = folder / f"{number}.cubin"
        return cubin, compile_cubin(SOURCES[number], request.param, 1, 1, cubin)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(compile_one, range(len(SOURCES))))


def test_nothing_is_spilled_and_blocks_share_a_multiprocessor(compiled):
    for (_, kernels), least, stack in zip(
        compiled, (5, 9, 6, 5, 3), (0, 0, 0, SINES, 0), strict=True
    ):
        assert len(kernels) >= least
        for kernel, used in kernels.items():
            assert used.spills == 0, kernel
            assert used.stack <= stack, kernel
            assert used.registers <= (ALONE if "spread_listed" in kernel else REGISTERS), kernel


@pytest.mark.skipif(cuobjdump() is None, reason="no cuobjdump: Triton or a full toolkit has it")
@pytest.mark.parametrize(
    ("number", "kernel", "channels", "budget"),
    [(1, "synthesise_tile", 3, 475), (1, "synthesise_tile", 1, 275),
     (0, "spread_listed", 3, 380), (0, "spread_listed", 1, 210)],
)  # fmt: skip
def test_the_innermost_loop(compiled, number, kernel, channels, budget):
    """Those of basis_blur, the first with the listed filters' taps on their way."""
    loop = innermost_loop(compiled[number][0], f"{kernel}ILi5ELi{channels}E")
    assert loop["HMMA"] == 40
    assert loop["FFMA"] == 80 * channels
    assert not loop["LDL"] + loop["STL"]
    assert loop["LDS.128"] == (7 if number else 13 + 2 * channels)
    assert sum(loop.values()) <= budget
