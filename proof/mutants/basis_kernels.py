# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the blind estimator of basis kernels."""

from proof.engine import Mutant, Selection

_FOLDER = "python/blurmodels/basis_kernels/"
TILES = Selection(("tests/test_two_heads.py",), "tiles")
WEIGHTS = Selection(("tests/test_two_heads.py",), "weights or malicious")
BLIND = Selection(("tests/test_blind.py",), "step or centred or precision or written")

MUTANTS = (
    Mutant(
        "basis kernels: tiles see less than they depend on",
        f"{_FOLDER}estimate.py",
        '{"transposed": 192, "bilinear": 224}',
        '{"transposed": 128, "bilinear": 128}',
        TILES,
    ),
    Mutant(
        "basis kernels: tiles are averaged with their surroundings",
        f"{_FOLDER}estimate.py",
        "_sum(part, inner, level)",
        "_sum(part, [(0, 1 << 20)] * 2, level)",
        TILES,
    ),
    Mutant(
        "checkpoints: pickles may run code",
        "python/blurmodels/checkpoints.py",
        'map_location="cpu", weights_only=True',
        'map_location="cpu", weights_only=False',
        WEIGHTS,
    ),
    Mutant(
        "checkpoints: the first byte of a safetensors file is taken for a pickle's",
        "python/blurmodels/checkpoints.py",
        'start[8:] != b"{" and',
        "",
        WEIGHTS,
    ),
    Mutant(
        "blind: kernels are fitted to saturated pixels too",
        f"{_FOLDER}blind_steps.py",
        "seen * y, gradient, mixing, tuple(size)",
        "y, gradient, mixing, tuple(size)",
        BLIND,
    ),
    Mutant(
        "plug and play: the forward blur in place of its adjoint",
        f"{_FOLDER}plug_and_play.py",
        "(operator.T @ residual)",
        "(operator @ residual)",
        BLIND,
    ),
)
