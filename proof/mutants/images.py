# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in reading and writing photographs."""

from proof.engine import Mutant, Selection

FILES = Selection(("tests/test_images.py", "tests/test_image_errors.py"))

_READ = "blurops/images/_read.py"
_WRITE = "blurops/images/_write.py"

MUTANTS = (
    Mutant(
        "images: samples are cut off, not rounded",
        _WRITE,
        "np.rint(np.clip(planes, 0, 1) *",
        "np.floor(np.clip(planes, 0, 1) *",
        FILES,
    ),
    Mutant(
        "images: white is a step below 1",
        _READ,
        "np.float32(np.iinfo(samples.dtype).max)",
        "np.float32(np.iinfo(samples.dtype).max + 1)",
        FILES,
    ),
    Mutant(
        "images: the limit of size looks at one side",
        _READ,
        "if width * height > max_pixels:",
        "if width > max_pixels:",
        FILES,
    ),
    Mutant(
        "images: the EXIF orientation is not applied",
        _READ,
        "samples = _exif.upright(raw.samples, _exif.orientation(raw.exif))",
        "samples = raw.samples",
        FILES,
    ),
    Mutant(
        "images: the colour profile is lost",
        _READ,
        "icc=raw.icc,",
        "icc=None,",
        FILES,
    ),
)
