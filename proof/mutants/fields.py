# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the blur fields: orientation, the observation model, the files."""

from proof.engine import Mutant, Selection

KERNELS = Selection(("tests/test_fields_kernels.py",))
MOTION = Selection(("tests/test_fields_motion.py", "tests/test_fields_objects.py"))
OBSERVE = Selection(("tests/test_fields_observe.py",))
FILES = Selection(("tests/test_fields_files.py",))

MUTANTS = (
    Mutant(
        "fields: rendered kernels have x and y exchanged",
        "blurops/fields/splat.py",
        "corner = ((cell[..., 1] + radius) * kernel_size + cell[..., 0] + radius).long()",
        "corner = ((cell[..., 0] + radius) * kernel_size + cell[..., 1] + radius).long()",
        KERNELS,
    ),
    Mutant(
        "fields: a shifting camera sees the wrong side",
        "blurops/fields/motion.py",
        "return seen + _resample(self.translation, steps) - local[:, None]",
        "return seen - _resample(self.translation, steps) - local[:, None]",
        MOTION,
    ),
    Mutant(
        "fields: a turning object turns the other way",
        "blurops/fields/motion.py",
        "back = -_resample(self.rotation, steps)[:, 0]",
        "back = _resample(self.rotation, steps)[:, 0]",
        MOTION,
    ),
    Mutant(
        "fields: gamma is applied the wrong way round",
        "blurops/fields/observe.py",
        "blurred.pow(1 / gamma)",
        "blurred.pow(gamma)",
        OBSERVE,
    ),
    Mutant(
        "fields: the observation forgets the field's boundary",
        "blurops/fields/observe.py",
        "operator.mixing, boundary=operator.boundary)",
        "operator.mixing)",
        OBSERVE,
    ),
    Mutant(
        "fields: any orientation is taken for correlation",
        "blurops/fields/files.py",
        'if meta["orientation"] != "correlation":',
        'if meta["orientation"] == "":',
        FILES,
    ),
    Mutant(
        "files: a failed write destroys the old file",
        "blurops/_atomic.py",
        'with open(temporary, "x+b") as file:',
        'with open(temporary, "x+b") as file, open(target, "wb"):',
        FILES,
    ),
)
