# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in F and G, in what they learn from, and in what is made with them."""

from proof.engine import Mutant, Selection

_NET = "python/blurmodels/kernel_space/network.py"
_FACES = "python/blurmodels/kernel_space/faces"
_PAIRS = "python/blurmodels/kernel_space/pairs.py"

NETWORKS = Selection(("tests/test_kernel_space.py",), "transcription or any_size or both_in_one")
DATA = Selection(
    ("tests/test_kernel_space_training.py",), "databases or crops or restarts or divergence"
)
FACES = Selection(
    ("tests/test_faces_generators.py", "tests/test_faces_gaussian.py"), "transcription or goes_on"
)
RETRIEVAL = Selection(("tests/cli/test_kernel_space.py",), "retrieve")
SEARCH = Selection(("tests/test_faces.py",), "spheres or bicubic_downsampling or best_is_kept")

MUTANTS = (
    Mutant(
        "kernel space: G sees the blurry image first",
        _NET,
        "for image in (sharp, blurry)]\n        return",
        "for image in (blurry, sharp)]\n        return",
        NETWORKS,
    ),
    Mutant(
        "kernel space: F takes up the blurry image's features",
        _NET,
        "self._blurred(sharp, features[0], k)",
        "self._blurred(sharp, features[1], k)",
        NETWORKS,
    ),
    Mutant(
        "kernel space: k comes before the features",
        _NET,
        "torch.cat([inner, k], dim=1)",
        "torch.cat([k, inner], dim=1)",
        NETWORKS,
    ),
    Mutant(
        "kernel space: results are cropped at their other ends",
        _NET,
        "[:, :, :height, :width]",
        "[:, :, -height:, -width:]",
        NETWORKS,
    ),
    Mutant(
        "kernel space: the databases' colours are taken in their own order",
        "python/blurmodels/datasets/lmdb_pairs.py",
        "frame[..., ::-1].transpose",
        "frame[..., :].transpose",
        DATA,
    ),
    Mutant(
        "kernel space: one image of a pair alone is transposed",
        _PAIRS,
        "crop = crop.transpose(-1, -2) if swap else crop",
        "crop = torch.stack([crop[0].transpose(-1, -2), crop[1]]) if swap else crop",
        DATA,
    ),
    Mutant(
        "kernel space: the deviation counts instead of its square",
        "python/blurmodels/kernel_space/losses.py",
        "variance = sigma.square()",
        "variance = sigma.abs()",
        DATA,
    ),
    Mutant(
        "kernel space: the rate after a restart is that of before",
        "python/blurmodels/training_settings.py",
        "if step < period",
        "if step <= period",
        DATA,
    ),
    Mutant(
        "kernel space: retrieval starts at no blur",
        "python/blurmodels/kernel_space/synthesis.py",
        "k = k.clone().requires_grad_()",
        "k = torch.zeros_like(k).requires_grad_()",
        RETRIEVAL,
    ),
    Mutant(
        "kernel space: StyleGAN doubles the finer sides as the coarser",
        f"{_FACES}/stylegan.py",
        "_FUSED = 128",
        "_FUSED = 4096",
        FACES,
    ),
    Mutant(
        "kernel space: a Gaussian fit that goes on draws its first samples again",
        f"{_FACES}/gaussian.py",
        'random.set_state(kept["random"])',
        'random.get_state().copy_(kept["random"])',
        FACES,
    ),
    Mutant(
        "kernel space: the last face is kept, not the best",
        f"{_FACES}/manifold.py",
        "if float(loss) < self.least:",
        "if True:",
        SEARCH,
    ),
    Mutant(
        "kernel space: all layers' latent vectors share a sphere",
        f"{_FACES}/spherical.py",
        "axes = tuple(range(2, parameter.ndim))",
        "axes = tuple(range(1, parameter.ndim))",
        SEARCH,
    ),
    Mutant(
        "kernel space: bicubic downsampling is a pixel aside",
        f"{_FACES}/operators.py",
        "before = (_TAPS - 1) * factor // 2",
        "before = (_TAPS - 1) * factor // 2 + 1",
        SEARCH,
    ),
)
