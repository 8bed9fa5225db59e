# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the Triton kernels and in what prepares and finishes their work."""

from proof.engine import Mutant, Selection

_CONTRACT = ("tests/test_contract.py",)
_TRITON = ("tests/test_triton.py",)
_STEP_TESTS = ("tests/test_triton_step.py",)
VALUES = Selection(_CONTRACT, "equals_the_float64_reference and triton and float32")
HALVES = Selection(_CONTRACT, "half_types and triton")
NAN = Selection(_CONTRACT, "nan and triton")
FOLD = Selection(_TRITON, "Fold")
CHUNKS = Selection(_TRITON, "GradientByTheKernels")
ROUNDING = Selection(_TRITON, "TensorCores")
STEP = Selection(_STEP_TESTS, "Step and not backward")
BACKWARD = Selection(_STEP_TESTS, "Step and backward")
RESPONSE = Selection(_STEP_TESTS, "Response")
LAUNCHES = Selection(("tests/test_cuda_launches.py",), "the_step_blurs")
CHOICE = Selection(_TRITON, "Choice")
_GATHER = ("tests/test_gather_ops.py", "tests/test_triton_gather.py")
CONV = Selection(
    _GATHER, "triton and nu_conv and (float32 and (reflect or zeros) or gather) and not test_lay"
)
MOTION = Selection(
    _GATHER,
    "triton and motion and (float32 and equals and replicate or unfolds or long or lengths)",
)
MISSING = Selection(("tests/test_triton_gather.py",), "no_motion and adjoint")
COMPILED = Selection(_TRITON, "compiles_for_gpus and 90")

_FAMILY = "blurops/ops/basis_blur/triton.py"
_KERNELS = "blurops/ops/basis_blur/triton_kernels.py"
_CONV = "blurops/ops/nu_conv/triton_kernels.py"
_MOTION = "blurops/ops/motion_blur/triton_kernels.py"
_SHARED = "blurops/_triton_kernels.py"
_AVAILABLE = "blurops/_triton.py"
_TILES = "blurops/_triton_tiles.py"
_STEP = "blurops/ops/rl_step/triton_kernels.py"
_SETS = "blurops/ops/rl_step/triton.py"
_GRADIENTS = "blurops/ops/rl_step/triton_gradients.py"
_RESPONSE = "blurops/ops/saturate/triton_kernels.py"

MUTANTS = (
    Mutant(
        "triton: taps of the blur are read along the columns",
        _KERNELS,
        "        offset = tap // kernel_width * width + tap % kernel_width\n        source",
        "        offset = tap % kernel_width * width + tap // kernel_width\n        source",
        VALUES,
    ),
    Mutant(
        "triton: the adjoint moves every column of weights alike",
        _KERNELS,
        "(TAPS - 1 - tl.arange(0, TAPS))[None, :]",
        "(TAPS - 1 - 0 * tl.arange(0, TAPS))[None, :]",
        VALUES,
    ),
    Mutant(
        "triton: the zeros adjoint has no centre",
        _FAMILY,
        'origin = radius if boundary == "zeros" else (0, 0)',
        "origin = (0, 0)",
        VALUES,
    ),
    Mutant(
        "triton: the adjoint leaves the last kernel row out",
        _KERNELS,
        "tl.minimum(first_row + ROWS + top, kernel_height)",
        "tl.minimum(first_row + ROWS + top, kernel_height - 1)",
        VALUES,
    ),
    Mutant(
        "triton: bases beyond the first block take its maps again",
        _KERNELS,
        "more = _mixing(mixing, pixel, inside, first, basis,",
        "more = _mixing(mixing, pixel, inside, 0, basis,",
        VALUES,
    ),
    Mutant(
        "triton: a batch's own mixing is read as the first sample's",
        _TILES,
        "return tensor[0].numel() if tensor.shape[0] > 1 else 0",
        "return 0",
        VALUES,
    ),
    Mutant(
        "triton: the last column of a ragged tile is masked, too",
        _SHARED,
        "return y, x, (y < rows) & (x < columns)",
        "return y, x, (y < rows) & (x < columns - 1)",
        VALUES,
    ),
    Mutant(
        "triton: the third plane of a group is not stored",
        _SHARED,
        "narrowed(sum2, out), there & (remaining > 2))",
        "narrowed(sum2, out), there & (remaining > 3))",
        VALUES,
    ),
    Mutant(
        "triton: gradients of shared fields sum the first sample only",
        _KERNELS,
        "for sample in range(result * count, (result + 1) * count):\n        for start",
        "for sample in range(result * count, result * count + 1):\n        for start",
        VALUES,
    ),
    Mutant(
        "triton: a chunk of the kernels' gradient loses its last tile",
        _KERNELS,
        "tl.minimum((chunk + 1) * length, tiles)",
        "tl.minimum((chunk + 1) * length - 1, tiles)",
        CHUNKS,
    ),
    Mutant(
        "triton: the partial sums of the kernels' gradient are not added",
        _FAMILY,
        "parts.sum(0)",
        "parts[0]",
        CHUNKS,
    ),
    Mutant(
        "triton: the fold forgets the reflection at the far end",
        _TILES,
        "image.narrow(axis, size - 1 - r, r).add_(after.flip(axis))",
        "pass",
        FOLD,
    ),
    Mutant(
        "triton: the circular fold goes around once only",
        _TILES,
        "for part in after.split(size, axis):",
        "for part in after.split(size, axis)[:1]:",
        FOLD,
    ),
    Mutant(
        "triton: the replicate fold overwrites the edge",
        _TILES,
        "image.narrow(axis, 0, 1).add_(before.sum(axis, keepdim=True))",
        "image.narrow(axis, 0, 1).copy_(before.sum(axis, keepdim=True))",
        FOLD,
    ),
    Mutant(
        "triton: operands are cut off, not rounded",
        _SHARED,
        "bitcast=True) + HALF) & (-2 * HALF)",
        "bitcast=True)) & (-2 * HALF)",
        ROUNDING,
    ),
    Mutant(
        "triton: rounding carries a NaN into its sign",
        _SHARED,
        "tl.where(values == values, bits.to(tl.float32, bitcast=True), values)",
        "bits.to(tl.float32, bitcast=True)",
        ROUNDING,
    ),
    Mutant(
        "triton: matrix units add up whole sums",
        _KERNELS,
        ", max_num_imprecise_acc=1 << 20)",
        ")",
        COMPILED,
    ),
    Mutant(
        "triton: the step's second set starts at the first set's planes",
        _STEP,
        "at = (careful_plane + channels) * pixels + pixel",
        "at = careful_plane * pixels + pixel",
        STEP,
    ),
    Mutant(
        "triton: the mask's channels are all the first one",
        _STEP,
        "channel * mask_channel_step",
        "0 * channel * mask_channel_step",
        STEP,
    ),
    Mutant(
        "triton: the divergence reads the wrong neighbour above",
        _STEP,
        "tl.load(at - columns + 1, above & right, 0)",
        "tl.load(at - columns, above & right, 0)",
        STEP,
    ),
    Mutant(
        "triton: pixels that no data see are divided by their sums",
        _STEP,
        "return tl.where(seen, value / tl.where(seen, sums, 1), 1)",
        "return value / tl.where(seen, sums, 1)",
        STEP,
    ),
    Mutant(
        "triton: clean data are those of the bright set",
        _SETS,
        "(blur(lost) <= formula.LOST_SHARE)",
        "(blur(lost) > formula.LOST_SHARE)",
        STEP,
    ),
    Mutant(
        "triton: the response's series ends early",
        _RESPONSE,
        "17 if tl.float64 == ACC else 8",
        "8",
        RESPONSE,
    ),
    Mutant(
        "triton: the interpreter serves whoever does not ask for a backend",
        _AVAILABLE,
        "not (asked and interpreting())",
        "not interpreting()",
        CHOICE,
    ),
    Mutant(
        "triton: the step's gradient leaves out the slope from the pixel to the left",
        _GRADIENTS,
        "from_west - across + from_north - down",
        "from_north - across - down",
        BACKWARD,
    ),
    Mutant(
        "triton: the step's gradient takes the clean data for the bright set too",
        _GRADIENTS,
        "by_ratio += tl.load(grad + near + channels * pixels, there, 0)",
        "by_ratio += tl.load(grad + near, there, 0)",
        BACKWARD,
    ),
    Mutant(
        "triton: a correction that was cut off has a derivative",
        _GRADIENTS,
        "return tl.where(value < 0, 0, passed)",
        "return passed",
        BACKWARD,
    ),
    Mutant(
        "triton: the step never takes the native module's blurs",
        _SETS,
        "return portable if native.supports((estimate, kernels, mixing), options) else native",
        "return portable",
        LAUNCHES,
    ),
    Mutant(
        "triton: an index outside the bank is not clamped",
        _CONV,
        "tl.minimum(tl.maximum(tl.load(index + pixel, there, 0), 0), filters - 1)",
        "tl.maximum(tl.load(index + pixel, there, 0), 0) % filters",
        Selection(_GATHER, "clamped and nu_conv"),
    ),
    Mutant(
        "triton: a filter of several planes is found as if it had one",
        _CONV,
        "(tap < taps)[None, :], filters, picked, maps, planes * taps, ACC,",
        "(tap < taps)[None, :], filters, picked, maps, taps, ACC,",
        CONV,
    ),
    Mutant(
        "triton: segments of the bank's gradient lose their last pick",
        _CONV,
        "there = (pick < end)[:, None]",
        "there = (pick < end - 1)[:, None]",
        CONV,
    ),
    Mutant(
        "triton: a filter's gradient has its first segment only",
        _CONV,
        "for segment in range(tl.load(firsts + f), tl.load(firsts + f + 1)):",
        "for segment in range(tl.load(firsts + f), tl.load(firsts + f) + 1):",
        CONV,
    ),
    Mutant(
        "triton: the transpose of motion blur drops what lies before an image",
        _MOTION,
        "for turn_x in range(-before, after + 1):",
        "for turn_x in range(0 * before, after + 1):",
        MOTION,
    ),
    Mutant(
        "triton: positions beyond the far edge begin at the edge",
        _MOTION,
        "tl.where(turn > 0, size - SIDE, 0)",
        "tl.where(turn > 0, size - SIDE - 1, 0)",
        MOTION,
    ),
    Mutant(
        "triton: the transpose takes a pixel without a motion for one of the sharp image",
        _MOTION,
        "_missing(lines + maps + maps + maps + maps, y - top, x - left,",
        "_missing(lines + maps + maps + maps + maps, y, x,",
        MISSING,
    ),
    Mutant(
        "triton: cosines of motions keep 12 bits",
        _MOTION,
        "across = q * cos + p * sin + (q * low_cos + p * low_sin)",
        "across = q * cos + p * sin",
        MOTION,
    ),
    Mutant(
        "triton: columns are those that the mirrored lines touch",
        _MOTION,
        "centre, spread = -q * cos / steep,",
        "centre, spread = q * cos / steep,",
        MOTION,
    ),
    Mutant(
        "triton: lengths are not shortened to the room there is",
        _MOTION,
        "(tl.minimum(tl.maximum(length, 1), 2 * room + 1) - 1) * 0.5",
        "(tl.minimum(tl.maximum(length, 1), 2 * room + 2) - 1) * 0.5",
        MOTION,
    ),
)
