# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the tile method on CUDA, the step's epilogue, the choice between methods, the replay."""

from proof.engine import Mutant, Selection

_TILES = Selection(("tests/test_cuda_tiles.py",), "every_member and (reflect or circular)")
_ORDERS = Selection(("tests/test_cuda_tiles.py",), "every_member and circular or schedule and held")
_EPILOGUE = Selection(("tests/test_cuda_tiles.py",), "epilogue and tiles")
_CHOICE = Selection(("tests/test_cuda_tiling.py",))
_REPLAY = Selection(("tests/test_replay.py",))

_FFT = "csrc/basis_blur/cuda/tile_fft.h"
_SIZES = "csrc/basis_blur/cuda/tile_sizes.h"
_LINEAR = "csrc/basis_blur/cuda/tile_linear.h"
_GRADIENTS = "csrc/basis_blur/cuda/tile_gradients.h"
_RATIOS = "csrc/basis_blur/cuda/ratios.h"
_RULE = "blurops/ops/basis_blur/cuda_tiling.py"
_LOOP = "blurops/solvers/replay.py"


def _bug(name: str, file: str, old: str, new: str, tests: Selection = _TILES) -> Mutant:
    return Mutant(f"cuda tiles: {name}", file, old, new, tests)


MUTANTS = (
    _bug(
        "no barrier before a spectrum overwrites the tile",
        _FFT,
        "    gpu::barrier();\n    BLUROPS_UNROLL\n    for (int u = 0; u < Of::kVectors; ++u) {\n"
        "      const int k1",
        "    BLUROPS_UNROLL\n    for (int u = 0; u < Of::kVectors; ++u) {\n      const int k1",
        _ORDERS,
    ),
    _bug(
        "lines that were never filled count too",
        _FFT,
        "line < count ? gpu::read(place(line)) : float2{0, 0}",
        "line <= count ? gpu::read(place(line)) : float2{0, 0}",
    ),
    _bug("the inverse is turned back", _FFT, "kSign > 0 ? root : conjugate(root)", "root"),
    _bug(
        "a part's window lies where the first one's does",
        _SIZES,
        "spot.left + part % s.parts_across * s.part_width + x",
        "spot.left + x",
    ),
    _bug(
        "the second kernel of a pair is not the imaginary part's negative",
        _SIZES,
        "second ? -load_at(args.kernels",
        "second ? load_at(args.kernels",
    ),
    _bug(
        "the last part takes taps beyond the kernel's row",
        _SIZES,
        "top + y < s.kernel_height && left + x < s.kernel_width;\n    const int64_t tap",
        "top + y < s.kernel_height;\n    const int64_t tap",
    ),
    _bug(
        "a tile is added one too few times at a seam",
        _LINEAR,
        "at < window ? 0 : (at - window) / tile + 1",
        "at < window ? 0 : (at - window) / tile + 2",
    ),
    _bug(
        "by mixing: each channel replaces the sum",
        _GRADIENTS,
        "r[n1].y, term == 0 ? 0.f : *second",
        "r[n1].y, 0.f",
    ),
    _bug(
        "by kernels: the first tile of a chunk counts alone",
        _GRADIENTS,
        "work == begin ? float2{0.f, 0.f} : total[at]",
        "float2{0.f, 0.f}",
    ),
    _bug(
        "the ratios of the second set are those of the first",
        _RATIOS,
        "to[channels * pixels] = ratio(asked, response, weight);",
        "to[channels * pixels] = to[0];",
        _EPILOGUE,
    ),
    _bug(
        "above the level the slope is that of below",
        _RATIOS,
        "weight = (t > 0 ? power : 1.f)",
        "weight = 1.f",
        _EPILOGUE,
    ),
    _bug(
        "the adjoint decides for itself",
        _RULE,
        "    if work.member in _TRANSPOSES:\n",
        "    if work.member == _TRANSPOSES[0]:\n",
        _CHOICE,
    ),
    _bug(
        "one iteration too many is replayed",
        _LOOP,
        "    for _ in range(count - WARM_UPS):\n        replay()",
        "    for _ in range(count):\n        replay()",
        _REPLAY,
    ),
)
