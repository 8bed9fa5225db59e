# SPDX-License-Identifier: BSD-3-Clause
"""Models that stand on blurops, one package per paper.

Each uses only the public surface of `blurops`, keeps the layer names of the published weights, and
converts its paper's conventions in one named function. `blurmodels.pretrained` takes networks out
of weights files, which `blurmodels.checkpoints` reads and writes; `blurmodels.scenes` makes the
sharp pictures that all of them can learn from.
"""
