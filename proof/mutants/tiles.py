# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the tile method: butterflies, passes, windows, pairs, parts, the fold, the choice."""

from proof.engine import Mutant, Selection

_TILES = ("tests/test_tiles.py",)
LENGTHS = Selection(_TILES, "every_pair_of_lengths or half_a_tile")
PARTS = Selection(_TILES, "parts or larger_than_a_tile")
SHARING = Selection(_TILES, "batches or channels")
SIZES = Selection(_TILES, "images_around or kernels_much or reflection")
MANY = Selection(_TILES, "sums_over_many")
THREADS = Selection(_TILES, "thread_count")
STRUCTURE = Selection(("tests/test_exact_structure.py",))
PRUNE = Selection(("tests/test_prune.py",))
CHOICE = Selection(("tests/test_tiling.py",))

_BUTTERFLY = "csrc/tile_fft/butterfly.h"
_TRANSFORM = "csrc/tile_fft/transform.h"
_TRANSPOSE = "csrc/tile_fft/transpose.h"
_TABLES = "csrc/tile_fft/lengths.h"
_KERNELS = "csrc/basis_blur/tiles.cpp"
_SUMS = "csrc/basis_blur/tile_sums.h"
_PASSES = "csrc/basis_blur/tile_passes.h"
_WINDOW = "csrc/basis_blur/tile_window.h"
_LAUNCH = "csrc/basis_blur/tile_launch.cpp"
_TARGET = "csrc/basis_blur/tile_target.h"
_NATIVE = "blurops/ops/basis_blur/native.py"
_TILING = "blurops/ops/basis_blur/tiling.py"
_PRUNE = "blurops/ops/basis_blur/prune.py"

TRANSFORMS = (
    Mutant(
        "tile transforms: the 3-point butterfly turns the wrong way",
        _BUTTERFLY,
        "kSin = A(0.866025403784438646763723170752936183)",
        "kSin = A(-0.866025403784438646763723170752936183)",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: a twiddle of the 8-point butterfly has the wrong sign",
        _BUTTERFLY,
        "q = {d3.im - d3.re, -(d3.re + d3.im)};",
        "q = {d3.im - d3.re, d3.re + d3.im};",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: two outputs of the 12-point butterfly stay exchanged",
        _BUTTERFLY,
        "    swap(x[7], x[1]);\n",
        "",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: a twiddle of the 16-point butterfly is conjugated",
        _BUTTERFLY,
        "x[15] = times(x[15], -kCos, kSin);",
        "x[15] = times(x[15], -kCos, -kSin);",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: a third input of zero is taken for a second one",
        _BUTTERFLY,
        "Butterfly<3>::run_first_two<A>(x[6], x[2], x[10]);",
        "Butterfly<3>::run_first_two<A>(x[6], x[10], x[2]);",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: a first input of zero is taken for the third",
        _BUTTERFLY,
        "x0 = x1 + x2;",
        "x0 = x1;",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: the tables turn the wrong way",
        _TABLES,
        "const double angle = -2 *",
        "const double angle = 2 *",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: a first twiddle of the forward is left out",
        _TRANSFORM,
        "if (kTwiddle == Twiddle::kAfter && i > 0)",
        "if (kTwiddle == Twiddle::kAfter && i > 1)",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: a first twiddle of the inverse is left out",
        _TRANSFORM,
        "if (kTwiddle == Twiddle::kBefore && i > 0)",
        "if (kTwiddle == Twiddle::kBefore && i > 1)",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: the inverse does not exchange the parts of its input",
        _TRANSFORM,
        "return swapped(load(base + i * kPair));",
        "return load(base + i * kPair);",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: the inverse does not exchange the parts of its output",
        _TRANSFORM,
        "store(i, swapped(value));",
        "store(i, value);",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: the last column is taken for zero",
        _TRANSFORM,
        "return i < columns ? read_pair(from + i * kPair)",
        "return i + 1 < columns ? read_pair(from + i * kPair)",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: cells are turned halfway",
        _TRANSPOSE,
        "      interleave<2>(rows[1], rows[3]);\n",
        "",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: columns of the second half of a vector come from the first",
        _TRANSPOSE,
        "Half::gather(from + kWidth / 2 / kCell * stride, stride)",
        "Half::gather(from, stride)",
        LENGTHS,
        wide=True,
    ),
    Mutant(
        "tile transforms: inputs that are not zero are left out",
        _TRANSFORM,
        "if (inputs <= 8) return",
        "if (inputs <= 9) return",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: outputs that are wanted are left out",
        _TRANSFORM,
        "if (outputs <= 8) return",
        "if (outputs <= 9) return",
        LENGTHS,
    ),
    Mutant(
        "tile transforms: the halves of large cells are not exchanged",
        _TRANSPOSE,
        "interleave<kUnit, kCell>(rows[k], rows[k + kUnit]);",
        "interleave<kUnit, kCell>(rows[k], rows[k]);",
        LENGTHS,
        wide=True,
    ),
)

WINDOWS = (
    Mutant(
        "tiles: windows but the first begin one row late",
        _WINDOW,
        "const int64_t top = tile.y + part",
        "const int64_t top = tile.y + (tile.y > 0) + part",
        LENGTHS,
    ),
    Mutant(
        "tiles: the windows of further parts begin one column early",
        _WINDOW,
        "const int64_t left = tile.x + part % parts_across * plan.part_width;",
        "const int64_t left = tile.x + part % parts_across * (plan.part_width - 1);",
        PARTS,
    ),
    Mutant(
        "tiles: a stretch across the border is read as if it were plain",
        _WINDOW,
        "map[columns - 1] - map[0] == columns - 1;",
        "map[columns - 1] > map[0];",
        LENGTHS,
    ),
    Mutant(
        "tiles: rows of the tile before stay in a short last tile",
        _WINDOW,
        "  clear(to, (height - tile.rows) * stride);\n",
        "",
        SIZES,
    ),
    Mutant(
        "tiles: every sample takes the first one's mixing",
        _WINDOW,
        "const int64_t n = p.mixing_batched ? tile.n : 0, size",
        "const int64_t n = 0, size",
        SHARING,
    ),
    Mutant(
        "tiles: a pair is skipped when its second basis is not mixed",
        _WINDOW,
        "any |= load_plane(plan, tile, from, s.stride, height, to);",
        "any = load_plane(plan, tile, from, s.stride, height, to);",
        STRUCTURE,
    ),
)

PRODUCTS = (
    Mutant(
        "tiles: the forward's product is that of the conjugate",
        _PASSES,
        "return {x.re * f.re - x.im * f.im, x.re",
        "return {x.re * f.re + x.im * f.im, x.re",
        LENGTHS,
    ),
    Mutant(
        "tiles: the last part of the kernels is not summed",
        _PASSES,
        "for (int64_t part = 1; part < parts; ++part) {",
        "for (int64_t part = 1; part < parts - 1; ++part) {",
        PARTS,
    ),
    Mutant(
        "tiles: a pair's second basis takes the first one's response",
        _SUMS,
        "V::read(second + i) * value.im);",
        "V::read(second + i) * value.re);",
        LENGTHS,
    ),
    Mutant(
        "tiles: the adjoint's product is not conjugated",
        _SUMS,
        "sum.im += p.im * f.re - p.re * f.im;",
        "sum.im += p.im * f.re + p.re * f.im;",
        LENGTHS,
    ),
    Mutant(
        "tiles: the second kernel's gradient has the wrong sign",
        _SUMS,
        "to[p.kernel_height * p.kernel_width] -= scale",
        "to[p.kernel_height * p.kernel_width] += scale",
        LENGTHS,
    ),
    Mutant(
        "tiles: the kernels' gradient conjugates the image",
        _SUMS,
        "sum.im += p.re * x.im - p.im * x.re;",
        "sum.im += p.im * x.re - p.re * x.im;",
        LENGTHS,
    ),
    Mutant(
        "tiles: the kernels' gradient is not scaled",
        _SUMS,
        "const double scale = 1.0 / (static_cast<double>(t.y.size) * width);",
        "const double scale = 1.0 / static_cast<double>(t.y.size);",
        LENGTHS,
    ),
    Mutant(
        "tiles: the kernels are convolved, not correlated",
        _KERNELS,
        "const int64_t y = dy > 0 ? height - dy : 0;",
        "const int64_t y = dy;",
        LENGTHS,
    ),
    Mutant(
        "tiles: a short last part takes taps of the next row",
        _KERNELS,
        "smaller(plan.part_width, p.kernel_width - left); ++dx) {\n        const int64_t x =",
        "plan.part_width; ++dx) {\n        const int64_t x =",
        PARTS,
    ),
    Mutant(
        "tiles: every sample takes the first one's kernels",
        _PASSES,
        "const int64_t sample = plan.problem.kernels_batched ? n : 0, size",
        "const int64_t sample = 0 * n, size",
        SHARING,
    ),
)

SUMS = (
    Mutant(
        "tiles: sums are not cleared between tiles",
        _KERNELS,
        "      clear(s.sums, count * s.plane);\n",
        "      if (tiles[0].y == 0) clear(s.sums, count * s.plane);\n",
        SIZES,
    ),
    Mutant(
        "tiles: the adjoint's spectra are not cleared between tiles",
        _KERNELS,
        "  clear(s.adjoint, count * size);\n",
        "  if (tile.y == 0) clear(s.adjoint, count * size);\n",
        SIZES,
    ),
    Mutant(
        "tiles: products are counted again after they were flushed",
        _SUMS,
        "  clear(products, plan.parts * s.spectrum);\n",
        "",
        MANY,
    ),
    Mutant(
        "tiles: the last tiles of a chunk are not flushed",
        _SUMS,
        "(++summed % kTilesPerFlush == 0 || i + 1 == last)",
        "++summed % kTilesPerFlush == 0",
        LENGTHS,
    ),
    Mutant(
        "tiles: the kernels' shared gradient is the first sample's",
        _SUMS,
        "visit(p.kernels_batched ? chunk.sample : i / tiles, i % tiles);",
        "visit(chunk.sample, i % tiles);",
        SHARING,
    ),
    Mutant(
        "tiles: the mixing's shared gradient is the first sample's",
        _KERNELS,
        "const int64_t end = p.mixing_batched ? begin + 1 : p.count;",
        "const int64_t end = begin + 1;",
        SHARING,
    ),
    Mutant(
        "tiles: the mixing's gradient runs on from pair to pair",
        _KERNELS,
        "        if (!plan.keeps_all_bases) clear(s.sums, 2 * s.plane);\n",
        "",
        LENGTHS,
    ),
    Mutant(
        "tiles: a second group of channels is the first again",
        _PASSES,
        "plane_of<T>(image, tile.n, c0 + c, p.channels, p.height * p.width);",
        "plane_of<T>(image, tile.n, c, p.channels, p.height * p.width);",
        SHARING,
    ),
    Mutant(
        "tiles: a second group of channels is added to the first",
        _SUMS,
        "+ c0 + c) * p.height * p.width;",
        "+ c) * p.height * p.width;",
        SHARING,
    ),
    Mutant(
        "tiles: the fold takes every tile for the first",
        _PASSES,
        ": top(tile.y + part / plan.problem.tiling.parts_across * plan.part_height),",
        ": top(part / plan.problem.tiling.parts_across * plan.part_height),",
        LENGTHS,
    ),
    Mutant(
        "tiles: the fold keeps only the last of what lands on a border pixel",
        _PASSES,
        "if (map[v] >= 0) to[map[v]] += from[v];",
        "if (map[v] >= 0) to[map[v]] = from[v];",
        LENGTHS,
    ),
)

LAUNCH = (
    Mutant(
        "tiles: taps that no even share of parts holds are lost",
        _LAUNCH,
        "plan.part_height = ceil_div(p.kernel_height, p.tiling.parts_down);",
        "plan.part_height = p.kernel_height / p.tiling.parts_down;",
        PARTS,
    ),
    Mutant(
        "tiles: the mixing's gradient keeps one pair where channels and samples come in groups",
        _LAUNCH,
        "  launch.transform_kernels(kernels, threads);\n  const int64_t samples",
        "  plan.keeps_all_bases = false;\n"
        "  launch.transform_kernels(kernels, threads);\n  const int64_t samples",
        SHARING,
    ),
    Mutant(
        "tiles: the adjoint adds to whatever was in memory",
        _TARGET,
        "    std::memset(memory_, 0, bytes);\n",
        "",
        LENGTHS,
    ),
    Mutant(
        "tiles: tiles whose windows overlap are added at the same time",
        _TARGET,
        "while (group < groups.size() && std::any_of(begin, end, is_taken)) ++group;",
        "while (group < groups.size() && !std::any_of(begin, end, is_taken)) ++group;",
        THREADS,
    ),
    Mutant(
        "tiles: every sample is the first",
        _WINDOW,
        "Tile(plan, unit / units, index[count])",
        "Tile(plan, 0 * units, index[count])",
        SHARING,
    ),
)

PYTHON = (
    Mutant(
        "trim: the anchor stays where it was along y",
        _NATIVE,
        "(anchor[0] - top, anchor[1] - left)",
        "(anchor[0], anchor[1] - left)",
        STRUCTURE,
    ),
    Mutant(
        "trim: the first kernel decides for all",
        _NATIVE,
        "code, count * basis, height,",
        "code, 1, height,",
        STRUCTURE,
    ),
    Mutant(
        "trim: negative taps count as zero",
        "csrc/basis_blur/support.cpp",
        "return load(taps[x]) != 0;",
        "return load(taps[x]) > 0;",
        STRUCTURE,
    ),
    Mutant(
        "trim: nothing is trimmed",
        _NATIVE,
        "return kernels[..., top:bottom, left:right], (anchor[0] - top, anchor[1] - left)",
        "return kernels, anchor",
        STRUCTURE,
    ),
    Mutant(
        "tiling: a last part without taps",
        _TILING,
        "return math.ceil(taps / math.ceil(taps / parts))",
        "return parts",
        CHOICE,
    ),
    Mutant(
        "tiling: a block inside another ends both",
        _TILING,
        "_forced.reset(token)",
        "_forced.set(None)",
        CHOICE,
    ),
    Mutant(
        "tiling: the slower method is taken",
        _TILING,
        "<= tiled_time(work, best, costs)",
        ">= tiled_time(work, best, costs)",
        CHOICE,
    ),
)

PRUNING = (
    Mutant(
        "prune: the first kernel's box is every kernel's",
        _PRUNE,
        "magnitude.amax(0)",
        "magnitude[0]",
        PRUNE,
    ),
    Mutant(
        "prune: faint taps between strong ones are dropped",
        _PRUNE,
        "~(_between_ends(strong.any(1))[:, None] &",
        "~(strong.any(1)[:, None] &",
        PRUNE,
    ),
    Mutant(
        "prune: a limit between two numbers drops the one above it",
        _PRUNE,
        "return values < rounded if rounded > limit else values <= rounded",
        "return values <= rounded",
        PRUNE,
    ),
)

MUTANTS = (*TRANSFORMS, *WINDOWS, *PRODUCTS, *SUMS, *LAUNCH, *PYTHON, *PRUNING)
