# SPDX-License-Identifier: BSD-3-Clause
"""Sharp scenes that the models of this package learn from, made as they are needed.

Everything is addressed by index and seed, nothing is stored: scene 7 is the same whether it is
asked for alone, after a restart, or by another process.
"""

from blurmodels.scenes.leaves import DeadLeaves
from blurmodels.scenes.scene import Repeated, Scene, Scenes, random_stream

__all__ = ["DeadLeaves", "Repeated", "Scene", "Scenes", "random_stream"]
