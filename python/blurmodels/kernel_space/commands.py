# SPDX-License-Identifier: BSD-3-Clause
"""What this model adds to the command line: `transfer` and others, and its part of the common."""

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor

from blurmodels.kernel_space.commands_deblur import add_deblur, deblur
from blurmodels.kernel_space.experiments.commands import register_evaluate
from blurmodels.kernel_space.faces import commands as faces
from blurmodels.kernel_space.train_command import register_train
from blurops.cli import options
from blurops.files import check_output
from blurops.images import check_suffix, read_image, write_image

__all__ = ["add_deblur", "deblur", "register", "register_evaluate", "register_train"]

_TRANSFER = """\
Blur TARGET as BLURRY is blurred, whose sharp twin is SHARP: F(TARGET, G(SHARP, BLURRY)) of Tran et
al. Images may have any size from 129 x 129 pixels on; TARGET may have another than the pair."""

_SAMPLE = """\
Blur IMAGE by a random latent kernel; needs weights that were trained with a VAE."""

_RETRIEVE = """\
Find the latent kernel between SHARP and BLURRY by optimising it, write what F makes of SHARP with
it, and print its PSNR to BLURRY."""

_AUGMENT = """\
Make pairs for training: each takes the blur between a random pair of SHARP_DIR and BLURRY_DIR to a
random image of TARGETS. FOLDER gets `sharp/000/00000000.png`, ..., and their twins in `blur`."""


def register(commands: Any) -> None:
    """Adds the commands."""
    parser = options.add_command(
        commands, "transfer", _transfer, help="blur one photograph like another",
        description=_TRANSFER,
        epilog="example:\n  blurops transfer s.png b.png photo.jpg --weights W.pth -o blurred.png",
    )  # fmt: skip
    _add_images(parser, ("sharp", "blurry", "target"), output=True)

    parser = options.add_command(
        commands, "sample-blur", _sample, help="blur a photograph at random",
        description=_SAMPLE,
        epilog="example:\n  blurops sample-blur photo.jpg --weights VAE.pth --seed 3 -o out.png",
    )  # fmt: skip
    _add_images(parser, ("image",), output=True)
    options.add_seed(parser, "the kernel")

    parser = options.add_command(
        commands, "retrieve", _retrieve, help="find the latent kernel between two photographs",
        description=_RETRIEVE,
        epilog="example:\n  blurops retrieve sharp.png blurry.png --weights W.pth -o reblurred.png",
    )  # fmt: skip
    _add_images(parser, ("sharp", "blurry"), output=True)
    parser.add_argument(
        "--steps", type=options.whole(0), default=500, metavar="N",
        help="of the optimisation; 0 takes what G says (default: 500)",
    )  # fmt: skip

    parser = options.add_command(
        commands, "augment", _augment, help="make blurry pairs out of other pairs' blur",
        description=_AUGMENT,
        epilog="example:\n  blurops augment sharp/ blur/ faces/ --weights W.pth -n 1000 -o pairs/",
    )  # fmt: skip
    for name, text in (
        ("sharp_dir", "sharp images of the source"),
        ("blurry_dir", "their blurry twins, with the same names"),
        ("targets", "folder of the images to be blurred"),
    ):
        parser.add_argument(name, metavar=name.upper(), help=text)
    _add_images(parser, (), output=False)
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="where to write; made if need be"
    )
    parser.add_argument(
        "-n", "--count", type=options.whole(1), required=True, metavar="N", help="pairs to make"
    )
    options.add_seed(parser, "the choice of pairs, images and, with a VAE, kernels")
    faces.register(commands)


def _add_images(parser: argparse.ArgumentParser, names: tuple[str, ...], *, output: bool) -> None:
    for name in names:
        parser.add_argument(name, metavar=name.upper(), help="PNG, JPEG or TIFF, colour or gray")
    parser.add_argument("--weights", required=True, metavar="W", help="weights of F and G")
    if output:
        parser.add_argument(
            "-o", "--output", required=True, metavar="OUT", help="image to write, .png, .jpg, .tif"
        )
    options.add_running(parser)


def _read(path: str | Path) -> Tensor:
    """A photograph's three channels; gray gets three equal ones."""
    return read_image(path).pixels.expand(-1, 3, -1, -1)


def _network(args: argparse.Namespace) -> Any:
    from blurmodels.kernel_space.network import KernelWizard

    return KernelWizard.from_pretrained(args.weights).requires_grad_(False)


def _check_output(args: argparse.Namespace) -> None:
    check_suffix(args.output, None)
    check_output(args.output)


def _transfer(args: argparse.Namespace) -> None:
    from blurmodels.kernel_space.synthesis import transfer

    _check_output(args)
    network, target = _network(args), read_image(args.target)
    pixels = target.pixels.expand(-1, 3, -1, -1)
    found = transfer(network, _read(args.sharp), _read(args.blurry), pixels)
    # A gray target stays one.
    found = found if target.pixels.shape[1] == 3 else found.mean(1, keepdim=True)
    write_image(args.output, found, like=target)
    print(f"{args.output}: '{args.target}' with the blur of '{args.blurry}'")


def _sample(args: argparse.Namespace) -> None:
    from blurmodels.kernel_space.synthesis import sample

    _check_output(args)
    found = sample(_network(args), _read(args.image), seed=args.seed)
    write_image(args.output, found)
    print(f"{args.output}: '{args.image}' with random blur {args.seed}")


def _retrieve(args: argparse.Namespace) -> None:
    from blurmodels.kernel_space.synthesis import retrieve

    _check_output(args)
    found = retrieve(
        _network(args), _read(args.sharp), _read(args.blurry), steps=args.steps,
        progress=options.show_progress(args),
    )  # fmt: skip
    write_image(args.output, found.image)
    print(f"{args.output}: PSNR {found.psnr:.2f} dB to '{args.blurry}'")


def _augment(args: argparse.Namespace) -> None:
    import torch

    from blurmodels.datasets import two_folders
    from blurmodels.datasets._files import images_in, some
    from blurmodels.kernel_space.pairs import FilePairs
    from blurmodels.kernel_space.synthesis import transfer
    from blurmodels.scenes import random_stream

    source = FilePairs(two_folders(args.sharp_dir, args.blurry_dir))
    targets = some(images_in(Path(args.targets)), Path(args.targets), "images")
    network, folder = _network(args), Path(args.output)
    for number in range(args.count):
        random = random_stream(args.seed, "augment", number)
        sharp, blurry = source.read(int(random.integers(len(source))))
        target = _read(targets[int(random.integers(len(targets)))])
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        found = transfer(network, sharp[None], blurry[None], target, generator=generator)
        name = f"{number // 100:03d}/{number:08d}.png"
        for kind, image in (("sharp", target), ("blur", found)):
            path = folder / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, image)
    print(f"{folder}: {args.count} pairs")
