# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the inverse filters and in their files."""

from proof.engine import Mutant, Selection

FILTERS = Selection(
    ("tests/test_inverse_filters.py",), "definition or share or delta or symmetric or periodic"
)
CACHE = Selection(("tests/test_inverse_filters.py",), "TestCache")

_SYSTEMS = "blurops/solvers/inverse_systems.py"
_FILTERS = "blurops/solvers/inverse_filters.py"
_CACHE = "blurops/solvers/filter_cache.py"

MUTANTS = (
    Mutant(
        "filters: an asymmetric kernel is taken for its mirror image",
        _SYSTEMS,
        "wanted = _window(kernels.flip(1, 2), size // 2).flatten(1)",
        "wanted = _window(kernels, size // 2).flatten(1)",
        FILTERS,
    ),
    Mutant(
        "filters: the odd part is left out",
        _SYSTEMS,
        "filters[:, count + 1 :] -= odd.flip(1)",
        "filters[:, :count] -= odd",
        FILTERS,
    ),
    Mutant(
        "filters: the middle tap counts twice",
        _SYSTEMS,
        "right[:, count] = wanted[:, count]",
        "right[:, count] = right[:, count]",
        FILTERS,
    ),
    Mutant(
        "filters: correlations of two filters are turned",
        _SYSTEMS,
        "torch.fft.rfft2(first, (height, width)).conj() * torch.fft.rfft2(\n        second, (height, width)\n    )",
        "torch.fft.rfft2(first, (height, width)) * torch.fft.rfft2(\n        second, (height, width)\n    ).conj()",
        FILTERS,
    ),
    Mutant(
        "filters: rows that no filter reaches stay in",
        _SYSTEMS,
        "reached = np.flatnonzero(np.diff(system.indptr))",
        "reached = np.arange(shape[0])",
        FILTERS,
    ),
    Mutant(
        "filters: the ridge is forgotten",
        _SYSTEMS,
        "gram.diagonal(dim1=1, dim2=2).add_(ridge)",
        "gram.diagonal(dim1=1, dim2=2).add_(0)",
        FILTERS,
    ),
    Mutant(
        "filters: the penalty's root is left out of the result",
        _FILTERS,
        "filters[i, 1:] *= weight",
        "filters[i, 1:] *= 1",
        FILTERS,
    ),
    Mutant(
        "filters: the Wiener filter is not conjugated",
        _SYSTEMS,
        "spectra.conj() / power",
        "spectra / power",
        FILTERS,
    ),
    Mutant(
        "filters: the larger grid is left out",
        _FILTERS,
        "systems.solve_periodic(parts, size, ridge, grid)",
        "systems.solve_periodic(parts, size, ridge)",
        FILTERS,
    ),
    Mutant(
        "filters: a singular system is solved all the same",
        _SYSTEMS,
        "if bool(failed.any()) or not bool((pivots.amin(1) > least).all()):",
        "if bool(failed.all()) and bool((pivots.amin(1) > least).all()):",
        FILTERS,
    ),
    Mutant(
        "filter files: the settings are no part of the key",
        _CACHE,
        "json.dumps([_VERSION, settings], sort_keys=True)",
        "json.dumps([_VERSION], sort_keys=True)",
        CACHE,
    ),
    Mutant(
        "filter files: a damaged file is believed",
        _CACHE,
        "if hashlib.sha256(content).digest() != checksum:",
        "if hashlib.sha256(content).digest() == b'':",
        CACHE,
    ),
    Mutant(
        "filter files: kept only when all is done",
        _FILTERS,
        "for i in some if kept else ():",
        "for i in todo if kept and some[-1] == todo[-1] else ():",
        CACHE,
    ),
)
