# SPDX-License-Identifier: BSD-3-Clause
"""Faces on a generator's manifold: what Tran et al. (CVPR 2021, section 3.3) search for sharp ones.

The generators are those of Karras et al., in the forms whose weights the authors load.
"""

from blurmodels.kernel_space.faces.generator import FaceGenerator

__all__ = ["FaceGenerator"]
