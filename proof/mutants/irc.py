# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in residual compensation, the splittings and the baselines."""

from proof.engine import Mutant, Selection

IRC = Selection(("tests/test_irc.py",), "not rejects")
SPLITTING = Selection(("tests/test_splitting.py",), "TestThresholds or TestStages or TestMinimal")
BASELINES = Selection(
    ("tests/test_splitting.py", "tests/test_fft_deblur.py"),
    "TestConjugateGradients or TestFourier or TestAgreement and 0.5",
)
PATCHES = Selection(("tests/test_patches.py",), "not reject")

_IRC = "blurops/solvers/irc.py"
_INVERSE = "blurops/solvers/inverse_blur.py"
_PROBLEM = "blurops/solvers/problem.py"
_SPLITTING = "blurops/solvers/splitting.py"
_ADMM = "blurops/solvers/admm.py"
_COMPENSATION = "blurops/solvers/compensation.py"
_CG = "blurops/solvers/conjugate_gradients.py"
_FFT = "blurops/solvers/fft_deblur.py"
_PATCHES = "blurops/solvers/patches.py"

COMPENSATION = (
    Mutant(
        "irc: residuals are those of the image before",
        _IRC,
        "        residuals = residuals_of(image)\n        size",
        "        residuals = residuals\n        size",
        IRC,
    ),
    Mutant(
        "irc: divergence goes unnoticed",
        _PROBLEM,
        "return not self.residuals[-1] <= most",
        "return self.residuals[-1] > 1e300",
        IRC,
    ),
    Mutant(
        "irc: after divergence the last image is returned",
        _PROBLEM,
        'image = self._best if self.status == "diverged" else self._image',
        "image = self._image",
        IRC,
    ),
    Mutant(
        "irc: stops one iteration late",
        _IRC,
        '        if size <= tol:\n            track.status = "converged"\n            break\n        image = image',
        '        if len(track.residuals) > 1 and track.residuals[-2] <= tol:\n            track.status = "converged"\n            break\n        image = image',
        IRC,
    ),
    Mutant(
        "irc: the radius is that of D H",
        _IRC,
        "image = image + correction(residuals)\n            growth",
        "image = 0 * image + correction(residuals)\n            growth",
        IRC,
    ),
    Mutant(
        "irc: outputs are averaged with equal weights",
        _IRC,
        "image = sum(weight * part.image for",
        "image = sum(0 * weight + part.image / len(parts) for",
        IRC,
    ),
    Mutant(
        "irc: the inverse of a valid blur lies in the corner",
        _INVERSE,
        "return F.pad(x, (right, right, down, down))",
        "return F.pad(x, (0, 2 * right, 0, 2 * down))",
        IRC,
    ),
    Mutant(
        "irc: entries of the whole bank in the bank that occurs",
        _INVERSE,
        "_gathered(bank, places.to(torch.int32), weight, options)",
        "_gathered(bank, index.clamp(max=len(bank) - 1), weight, options)",
        IRC,
    ),
    Mutant(
        "irc: the residual goes on beyond the image",
        _INVERSE,
        'options["boundary"] = boundary',
        'options["boundary"] = "replicate"',
        IRC,
    ),
)

PRIORS = (
    Mutant(
        "splitting: multipliers have the wrong sign",
        _SPLITTING,
        "targets = [z - b for z, b",
        "targets = [z + b for z, b",
        SPLITTING,
    ),
    Mutant(
        "splitting: multipliers in HQS",
        _SPLITTING,
        "if chosen.multipliers:",
        "if chosen.rate:",
        SPLITTING,
    ),
    Mutant(
        "splitting: the hard threshold lacks its root",
        _SPLITTING,
        "math.sqrt(2 * weight / penalty)",
        "(2 * weight / penalty)",
        SPLITTING,
    ),
    Mutant(
        "splitting: the inverses are made for rho",
        _ADMM,
        "share = penalty / (2 * chosen.data_weight)",
        "share = penalty",
        SPLITTING,
    ),
    Mutant(
        "splitting: only the first step of a stage sees the data",
        _COMPENSATION,
        "            rests = [z - k.forward(image) for",
        "            rests = [rests[0] if k is self._forward[0] else z - k.forward(image) for",
        SPLITTING,
    ),
    Mutant(
        "splitting: filters that share transforms are not turned",
        _COMPENSATION,
        "self._kernels = flip(torch.cat([each.kernels for each in inner], dim=1))",
        "self._kernels = torch.cat([each.kernels for each in inner], dim=1)",
        SPLITTING,
    ),
    Mutant(
        "splitting: minimal steps weigh the data by 1/2",
        _COMPENSATION,
        "weights = [self._data_weight, *",
        "weights = [0.5, *",
        SPLITTING,
    ),
    Mutant(
        "splitting: directions are not orthogonal",
        _COMPENSATION,
        "along = share(effects, before_effects, size)",
        "along = 0 * share(effects, before_effects, size)",
        SPLITTING,
    ),
    Mutant(
        "splitting: old directions outlive their penalty",
        _COMPENSATION,
        "self._penalty, self._kept = penalty, []",
        "self._penalty = penalty",
        SPLITTING,
    ),
    Mutant(
        "cg: the penalty is not halved",
        _CG,
        "*[penalty / 2] * len(filters)]",
        "*[penalty] * len(filters)]",
        BASELINES,
    ),
    Mutant(
        "cg: one step length for all samples",
        _CG,
        "return each.square().sum((1, 2, 3), keepdim=True)",
        "return each.square().sum((0, 1, 2, 3), keepdim=True)",
        BASELINES,
    ),
    Mutant(
        "cg: directions are not conjugate",
        _CG,
        "direction = slope + share * direction",
        "direction = slope + 0 * share * direction",
        BASELINES,
    ),
    Mutant(
        "fft: kernels are convolved",
        _FFT,
        "placed = F.pad(flip(kernel), ",
        "placed = F.pad(kernel, ",
        BASELINES,
    ),
    Mutant(
        "fft: the data weight is left out below",
        _FFT,
        "below = self._share * self._spectra.power",
        "below = self._spectra.power",
        BASELINES,
    ),
    Mutant(
        "fft: borders are extended and not tapered",
        _FFT,
        "_PASSES = 4",
        "_PASSES = 0",
        BASELINES,
    ),
    Mutant(
        "patches: kernels are those of another pixel",
        _PATCHES,
        "found.append(around[:, 0, row : row + size, column : column + size])",
        "found.append(around[:, 0, row : row + size, column : column + size].flip(1))",
        PATCHES,
    ),
    Mutant(
        "patches: motions are read with rows and columns exchanged",
        _PATCHES,
        "rows, columns = zip(*self.middles, strict=True)",
        "columns, rows = zip(*self.middles, strict=True)",
        PATCHES,
    ),
    Mutant(
        "patches: margins at the image's edge are cut off too",
        _PATCHES,
        "first = 0 if start == 0 else margin",
        "first = margin",
        PATCHES,
    ),
)

MUTANTS = COMPENSATION + PRIORS
