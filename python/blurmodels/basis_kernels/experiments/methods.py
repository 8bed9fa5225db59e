# SPDX-License-Identifier: BSD-3-Clause
"""What restores the images of a table: the network and Richardson-Lucy, a generator, or files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blurmodels.basis_kernels.experiments.columns import Column, Shot
from blurmodels.datasets import read_colours
from blurops import BasisBlur, richardson_lucy


class Method(NamedTuple):
    """A row of ours.

    Attributes:
        name: what the row is called.
        restore: (blurred, shot, column) to the restored image, of the same shape.
        basis_size: B of its network, if it has one.
        estimate: blurred image and gamma to its blur field, if it has one.
    """

    name: str
    restore: Callable[[Tensor, Shot, Column], Tensor]
    basis_size: int | None = None
    estimate: Callable[[Tensor, float], Any] | None = None


UNTOUCHED = Method("blurred input", lambda blurred, shot, column: blurred)


def by_network(weights: str | os.PathLike[str], preset: str | None, name: str) -> Method:
    """Blur estimated by the network with these weights, restored by Richardson-Lucy.

    As the authors' documentation advises, images without a saturating sensor (Köhler's) are
    restored by the basic iteration, with gamma 1.

    Args:
        weights: the network's file.
        preset: of `blurops.richardson_lucy`; None is its own default.
        name: what the row is called.
    """
    from blurmodels.basis_kernels.estimate import estimate_field
    from blurmodels.basis_kernels.network import TwoHeadsNetwork
    from blurops import Saturation

    network = TwoHeadsNetwork.from_pretrained(weights)

    def estimate(blurred: Tensor, gamma: float) -> Any:
        return estimate_field(blurred, network, gamma=gamma)

    def restore(blurred: Tensor, shot: Shot, column: Column) -> Tensor:
        field = estimate(blurred, column.gamma)
        options: dict[str, Any] = {"preset": preset, "gamma": column.gamma}
        if not column.saturated:
            options["variant"] = "basic"
        elif preset is None:
            options["saturation"] = Saturation()
        operator = BasisBlur(field.kernels, field.mixing, boundary=field.boundary)
        return richardson_lucy(blurred, operator, **options).image.clamp(0, 1)

    return Method(name, restore, network.architecture["basis_size"], estimate)


def by_generator(weights: str | os.PathLike[str], name: str) -> Method:
    """Restored by a DeblurGAN generator."""
    from blurmodels.basis_kernels.deblurgan import DeblurGANGenerator

    network = DeblurGANGenerator.from_pretrained(weights)

    def restore(blurred: Tensor, shot: Shot, column: Column) -> Tensor:
        with torch.inference_mode():
            return network(blurred).clone()

    return Method(name, restore)


def from_files(folder: str | os.PathLike[str], name: str) -> Method:
    """Images that were restored before: `FOLDER/GoPro/GOPR0384_11_00/000001.png` for that shot."""

    def restore(blurred: Tensor, shot: Shot, column: Column) -> Tensor:
        base = Path(folder) / column.folder / shot.name
        for suffix in (".png", ".jpg", ".tif"):
            path = base.with_name(base.name + suffix)
            if path.is_file():
                image = read_colours(path)
                if image.shape != blurred.shape:
                    wanted, got = (f"{x.shape[3]} x {x.shape[2]}" for x in (blurred, image))
                    raise ValueError(f"'{path}' must be {wanted} pixels like its input, got {got}")
                return image
        raise FileNotFoundError(
            2, "no restored image", os.fspath(base.with_name(f"{base.name}.png"))
        )

    return Method(name, restore)
