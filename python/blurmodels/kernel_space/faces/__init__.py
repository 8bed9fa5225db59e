# SPDX-License-Identifier: BSD-3-Clause
"""Faces on a generator's manifold: what Tran et al. (CVPR 2021, section 3.3) search for sharp ones.

The generators are those of Karras et al., in the forms whose weights the authors load.
"""

from blurmodels.kernel_space.faces.generator import FaceGenerator
from blurmodels.kernel_space.faces.manifold import Found, Settings, deblur_face
from blurmodels.kernel_space.faces.stylegan import StyleGAN
from blurmodels.kernel_space.faces.stylegan2 import StyleGAN2
from blurmodels.kernel_space.faces.weights import export_published, from_pretrained

__all__ = [
    "FaceGenerator",
    "Found",
    "Settings",
    "StyleGAN",
    "StyleGAN2",
    "deblur_face",
    "export_published",
    "from_pretrained",
]
