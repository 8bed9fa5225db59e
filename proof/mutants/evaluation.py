# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in alignment, protocols, dataset readers, the reblur loss and DeblurGAN's generator."""

from proof.engine import Mutant, Selection

ALIGNMENT = Selection(("tests/test_evaluation.py",), "known_homography or lies_outside")
SCORES = Selection(("tests/test_evaluation.py",), "TestProtocols or TestMetrics")
READERS = Selection(("tests/test_datasets.py",), "TestKohler or TestCUHK")
REBLUR = Selection(("tests/test_reblur.py",), "TestReblurLoss and not derivative")
GENERATOR = Selection(("tests/test_reblur.py",), "weights_say or names_shapes")
TABLES = Selection(("tests/cli/test_evaluate.py",), "test_kohler or realblur")

_ALIGNMENT = "python/blurmodels/evaluation/alignment.py"
_METRICS = "python/blurmodels/evaluation/metrics.py"
_PROTOCOLS = "python/blurmodels/evaluation/protocols.py"
_KOHLER = "python/blurmodels/datasets/kohler.py"
_REBLUR = "python/blurmodels/basis_kernels/reblur.py"
_GENERATOR = "python/blurmodels/basis_kernels/deblurgan.py"
_COLUMNS = "python/blurmodels/basis_kernels/experiments/columns.py"

MUTANTS = (
    Mutant(
        "ecc: perspective entries of the Jacobian have the wrong sign",
        _ALIGNMENT,
        "perspective = -(over_x * points[0] + over_y * points[1])",
        "perspective = over_x * points[0] + over_y * points[1]",
        ALIGNMENT,
    ),
    Mutant(
        "ecc: the mask is half a pixel too wide",
        _ALIGNMENT,
        "(x >= -0.5) & (x < width - 0.5)",
        "(x >= -1) & (x < width)",
        ALIGNMENT,
    ),
    Mutant(
        "protocol: the gain is that of the other image",
        _PROTOCOLS,
        "energy = float(restored.square().sum())",
        "energy = float(sharp.square().sum())",
        SCORES,
    ),
    Mutant(
        "protocol: shifts go the other way",
        _PROTOCOLS,
        "= -float(right), -float(down)",
        "= float(right), float(down)",
        SCORES,
    ),
    Mutant(
        "average precision: equal scores are called one by one",
        _METRICS,
        "last_of_equals = np.append(values[1:] != values[:-1], True)",
        "last_of_equals = np.ones(len(values), dtype=bool)",
        SCORES,
    ),
    Mutant(
        "kohler: the frame after the missing one is left out",
        _KOHLER,
        "{(1, 3): (29,)}",
        "{(1, 3): (30,)}",
        READERS,
    ),
    Mutant(
        "kohler: restored with the gamma of photographs",
        _COLUMNS,
        '"kohler", "Kohler", _kohler(True, True), 1.0, False,',
        '"kohler", "Kohler", _kohler(True, True), 2.2, False,',
        TABLES,
    ),
    Mutant(
        "reblur: gradients reach the kernels",
        _REBLUR,
        "self.reblur(restored, kernels.detach(), mixing.detach())",
        "self.reblur(restored, kernels, mixing.detach())",
        REBLUR,
    ),
    Mutant(
        "reblur: highlights are cut before the blur",
        _REBLUR,
        "light = restored.clamp(min=_DARKEST) ** self.gamma",
        "light = restored.clamp(min=_DARKEST, max=1) ** self.gamma",
        REBLUR,
    ),
    Mutant(
        "deblurgan: the input is not added",
        _GENERATOR,
        "x = (x + self.model(x)).clamp(-1, 1)",
        "x = self.model(x).clamp(-1, 1)",
        GENERATOR,
    ),
)
