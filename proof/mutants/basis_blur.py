# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the basis-mixed family: reference, spectra, borders, gradients, C++."""

from proof.engine import Mutant, Selection

_FILES = ("tests/test_contract.py", "tests/test_basis_blur.py")
VALUES = Selection(_FILES, "equals or dot_test")
DEFINITION = Selection(("tests/test_basis_blur.py",), "dense or hand or conv2d or delta")
DERIVATIVES = Selection(_FILES, "gradients and native")
NATIVE_VALUES = Selection(_FILES, "(equals or dot_test or layouts) and native")

_OP = "blurops/ops/basis_blur/op.py"
_REFERENCE = "blurops/ops/basis_blur/reference.py"
_FFT = "blurops/ops/basis_blur/fft.py"
_NATIVE = "blurops/ops/basis_blur/native.py"
_BORDERS = "blurops/_boundary.py"
_CPU = "csrc/basis_blur/cpu.cpp"
_DIRECT = "csrc/basis_blur/direct.cpp"
_STRIP = "csrc/basis_blur/direct_strip.h"
_CXX_BORDERS = "csrc/common/boundary.h"

_RESPONSE = "response = F.conv2d(xn.unsqueeze(1), kn[part].unsqueeze(1))  # (C, part, H, W)"
_FOLD_ROWS = "rows = index_map(-ry, height + 2 * ry, height, boundary, padded.device)"
_PAD_ROWS = "rows = index_map(-ry, height + 2 * ry, height, boundary, image.device)"


def _folded_as(wrong: str, boundary: str) -> str:
    """The fold's rows, with one boundary taken for another."""
    choice = f'"{wrong}" if boundary == "{boundary}" else boundary'
    return _FOLD_ROWS.replace("boundary", choice)


# Every path alike: comparing one with the other shows nothing, only the definition does.
_CALL = "return getattr(module, declared.name)(*args, **options)"
_IF_BLUR = 'if declared.name in ("basis_blur", "basis_blur_adjoint"):\n        '
_FLIPPED = "args[1].flip(-2, -1)"
EVERYWHERE = (
    Mutant(
        "every path: kernels are flipped",
        "blurops/_register.py",
        _CALL,
        f"{_IF_BLUR}args = (args[0], {_FLIPPED}, *args[2:])\n    {_CALL}",
        DEFINITION,
    ),
    Mutant(
        "every path: mixing comes before blurring",
        "blurops/_register.py",
        _CALL,
        f"{_IF_BLUR}other = {{'basis_blur': 'basis_blur_adjoint'}}.get(declared.name, 'basis_blur')\n"
        f"        return getattr(module, other)(args[0], {_FLIPPED}, *args[2:], **options)\n    {_CALL}",
        DEFINITION,
    ),
)

REFERENCE = (
    Mutant(
        "reference: mixes before blurring",
        _REFERENCE,
        "out[n] += (mn[part] * response).sum(1)",
        "weighted = xn.unsqueeze(1) * pad(mn[part].unsqueeze(0), (size[0] // 2, size[1] // 2), boundary)\n"
        "            out[n] += F.conv2d(weighted, kn[part].unsqueeze(1), groups=len(kn[part])).sum(1)",
        VALUES,
    ),
    Mutant(
        "reference: kernels are flipped",
        _REFERENCE,
        f"{_RESPONSE}\n            out[n] +=",
        f"{_RESPONSE.replace('kn[part]', 'kn[part].flip(-2, -1)')}\n            out[n] +=",
        VALUES,
    ),
    Mutant(
        "reference: every sample takes the first one's kernels and mixing",
        _REFERENCE,
        "yield n, [t[n if t.shape[0] > 1 else 0] for t in tensors]",
        "yield n, [t[n if t is tensors[0] else 0] for t in tensors]",
        VALUES,
    ),
    Mutant(
        "reference: half types are summed in half",
        _REFERENCE,
        "return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor",
        "return tensor",
        VALUES,
    ),
    Mutant(
        "fft: a kernel's spectrum is not conjugated",
        _FFT,
        "response = irfft2(spectrum * factor, lengths)[..., :height, :width]\n        out +=",
        "response = irfft2(spectrum * factor.conj(), lengths)[..., :height, :width]\n        out +=",
        VALUES,
    ),
    Mutant(
        "fft: the adjoint's transform is too short and wraps around",
        _FFT,
        "lengths = _lengths((height, width))",
        "lengths = _lengths(image.shape[-2:])",
        VALUES,
    ),
    Mutant(
        "fft: a last basis kernel without a partner is left out",
        _FFT,
        "range(0, basis, _CHUNK)",
        "range(0, max(basis - 1, 1), _CHUNK)",
        VALUES,
    ),
)

BORDERS = (
    Mutant(
        "reflect: the edge pixel is repeated",
        _BORDERS,
        "torch.where(position >= size, 2 * (size - 1) - position, position)",
        "torch.where(position >= size, 2 * size - 1 - position, position)",
        VALUES,
    ),
    Mutant(
        "the centre is off by one when padding",
        _BORDERS,
        _PAD_ROWS,
        _PAD_ROWS.replace("(-ry,", "(1 - ry,"),
        VALUES,
    ),
    *(
        Mutant(
            f"{boundary}: the adjoint folds rows as {wrong}",
            _BORDERS,
            _FOLD_ROWS,
            _folded_as(wrong, boundary),
            VALUES,
        )
        for boundary, wrong in (
            ("reflect", "replicate"),
            ("replicate", "circular"),
            ("circular", "replicate"),
        )
    ),
    Mutant(
        "zeros: the adjoint crops at the corner",
        _BORDERS,
        "return padded[..., ry : ry + height, rx : rx + width]",
        "return padded[..., :height, :width]",
        VALUES,
    ),
)

GRADIENTS = (
    Mutant(
        "autograd: the adjoint's kernel gradient has its images exchanged",
        _OP,
        "_form_gradients(blurred, grad, kernels,",
        "_form_gradients(grad, blurred, kernels,",
        DERIVATIVES,
    ),
    Mutant(
        "autograd: the image's gradient is the blur, not its adjoint",
        _OP,
        "_adjoint(grad, kernels, mixing, **options)",
        "_blur(grad, kernels, mixing, **options)",
        DERIVATIVES,
    ),
    Mutant(
        "autograd: a second derivative goes to the wrong member",
        _OP,
        "_adjoint(blurred, kernels, grad, **options)",
        "_blur(blurred, kernels, grad, **options)",
        DERIVATIVES,
    ),
    Mutant(
        "autograd: the options are forgotten on the way back",
        "blurops/_register.py",
        "ctx.options = dict(keyword_only_inputs)",
        'ctx.options = {**keyword_only_inputs, "boundary": "reflect"}',
        DERIVATIVES,
    ),
)

NATIVE = (
    Mutant(
        "native: inputs are taken for contiguous",
        _NATIVE,
        "*(t.contiguous() for t in tensors)",
        "*tensors",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: reflect repeats the edge pixel",
        _CXX_BORDERS,
        "return i < 0 ? -i : 2 * (n - 1) - i;",
        "return i < 0 ? -i - 1 : 2 * n - 1 - i;",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: replicate wraps at the far end",
        _CXX_BORDERS,
        "return i < 0 ? 0 : n - 1;",
        "return 0;",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: circular is off by one",
        _CXX_BORDERS,
        "return (i % n + n) % n;",
        "return (i % n + n + 1) % n;",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: zeros reads the first pixel",
        _CXX_BORDERS,
        "return -1;",
        "return 0;",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: the adjoint does not fold what lies left of the image",
        _DIRECT,
        "if (column >= 0) scratch.folded[column]",
        "if (column >= 0 && u >= plan.first_column) scratch.folded[column]",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: the adjoint leaves out the first blurred row",
        _DIRECT,
        "if (y >= 0 && y < p.out_height) spread_strip",
        "if (y > 0 && y < p.out_height) spread_strip",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: every sample takes the first one's mixing",
        _STRIP,
        "const int64_t sample = p.mixing_batched ? n : 0;",
        "const int64_t sample = 0 * n;",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: every sample takes the first one's kernels",
        _STRIP,
        "const int64_t sample = p.kernels_batched ? n : 0;",
        "const int64_t sample = 0 * n;",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: kernels are flipped along x",
        _CPU,
        "load(source[dx]);",
        "load(source[p.kernel_width - 1 - dx]);",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: a kernel row is off by one",
        _DIRECT,
        "const int64_t row = plan.row_map[y + dy];\n      if (row < 0) continue;\n      multiply",
        "const int64_t row = plan.row_map[y + (dy + 1) % p.kernel_height];\n"
        "      if (row < 0) continue;\n      multiply",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: the shared mixing's gradient is the first sample's",
        _DIRECT,
        "end = p.mixing_batched ? sample + 1 : p.count;",
        "end = sample + 1;",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: the kernels' gradient drops each chunk's last row",
        _DIRECT,
        "y < p.out_height * (chunk + 1) / plan.chunks;",
        "y < p.out_height * (chunk + 1) / plan.chunks - 1;",
        NATIVE_VALUES,
    ),
    Mutant(
        "native: partial sums of one chunk are taken for all",
        _CPU,
        "for (int64_t chunk = 0; chunk < chunks; ++chunk) sum +=",
        "for (int64_t chunk = 0; chunk < 1; ++chunk) sum +=",
        NATIVE_VALUES,
    ),
)

MUTANTS = (*EVERYWHERE, *REFERENCE, *BORDERS, *GRADIENTS, *NATIVE)
