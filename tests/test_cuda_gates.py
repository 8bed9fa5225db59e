# SPDX-License-Identifier: BSD-3-Clause
"""What nvcc makes of the CUDA kernels, where it is installed: no device is needed.

The instances looked at are those of the reference case, kernels of 33 x 33. A kernel row of a warp
is 40 products of tensor cores and 240 multiply-adds of 64 pixels with three channels; what comes on
top of these, addresses, barriers and copies, has a budget.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cubins import compile_cubin, cuobjdump, innermost_loop, nvcc

pytestmark = pytest.mark.skipif(nvcc() is None, reason="the gates need nvcc")

ARCHITECTURES = ("sm_80", "sm_90a")
# All of a multiprocessor's 65,536 registers, over the threads that are to share them. The source
# that takes longest to compile comes first.
REGISTERS = {"grad_mixing": 255, "blur": 128, "tiles": 128, "adjoint": 168, "grad_kernels": 255,
             "tile_gradients": 128, "pack": 255}  # fmt: skip
# make proof looks at every instance.
FIRST, LAST = 5, 5
if os.environ.get("BLUROPS_ALL_INSTANCES"):
    FIRST, LAST = 1, 10
    REGISTERS = {"grad_mixing_wide": 255, **REGISTERS}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def compiled(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)

    def compile_one(name):
        cubin, source = folder / f"{name}.cubin", f"csrc/basis_blur/cuda/{name}.cu"
        return cubin, compile_cubin(source, request.param, FIRST, LAST, cubin)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(REGISTERS, pool.map(compile_one, REGISTERS), strict=True))


def test_nothing_is_spilled(compiled):
    for name, (_, kernels) in compiled.items():
        assert len(kernels) >= 4, name
        for kernel, used in kernels.items():
            assert (used.stack, used.spills) == (0, 0), kernel


def test_registers(compiled):
    """As many blocks share a multiprocessor as the kernels are made for."""
    for name in ("blur", "adjoint", "tiles", "tile_gradients"):
        for kernel, used in compiled[name][1].items():
            if "tileILi5E" in kernel or "tiles" in name or "tile_" in name:
                assert used.registers <= REGISTERS[name], kernel


def test_no_tile_is_forgotten(compiled):
    """Both sides of every kernel that transforms; those with one part keep spectra in registers."""
    for name, kernels in {
        "tiles": ("blur_tiles", "spread_tiles", "transform_kernels", "fold_tiles"),
        "tile_gradients": ("grad_mixing_tiles", "grad_kernels_tiles", "finish_taps"),
    }.items():
        for kernel in kernels:
            for side in (64, 128):
                assert any(f"{kernel}ILi{side}E" in found for found in compiled[name][1])
    for kernel in ("blur_tiles", "spread_tiles"):
        assert any(f"{kernel}ILi64ELb1E" in found for found in compiled["tiles"][1])


@pytest.mark.skipif(cuobjdump() is None, reason="no cuobjdump: Triton or a full toolkit has it")
@pytest.mark.parametrize(
    ("kernel", "channels", "budget"),
    [("blur", 3, 375), ("blur", 1, 175), ("adjoint", 3, 380), ("adjoint", 1, 210)],
)
def test_the_innermost_loop(compiled, kernel, channels, budget):
    tile = {"blur": "blur_tile", "adjoint": "spread_tile"}[kernel]
    loop = innermost_loop(compiled[kernel][0], f"{tile}ILi5ELi2ELi{channels}E")
    assert loop["HMMA"] == 40
    assert loop["FFMA"] == 80 * channels
    assert not loop["LDL"] + loop["STL"]
    # Operands come as vectors: five of a kernel row, for the adjoint 8 of coefficients and two of
    # pixels for each channel besides.
    assert loop["LDS.128"] == (5 if kernel == "blur" else 13 + 2 * channels)
    assert sum(loop.values()) <= budget
