# SPDX-License-Identifier: BSD-3-Clause
"""`blurops deblur IMAGE --model kernel_space`."""

import argparse
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from blurops import BasisBlur, richardson_lucy, save_field
from blurops.cli import options
from blurops.fields import plot_kernel_field
from blurops.files import check_output, write_report

_NAME = "kernel_space"
_EXPLICIT = ("uniform", "basis")
_OPERATORS = (*_EXPLICIT, "encoded")
# Options that only one kind of operator has.
_OF_ENCODED = ("losses", "vgg", "latent")
_OF_EXPLICIT = ("kernel_size", "grid", "precision")


def add_deblur(group: argparse._ArgumentGroup) -> None:
    """Adds the options that `blurops deblur` has for this model only."""
    group.add_argument(
        "--operator",
        choices=_OPERATORS,
        help="the blur: one kernel, or a few that every pixel mixes (both without weights, of"
        " --kernel-size and --grid as above, default: 15 and 2,2), or the network F of --weights"
        " with a latent kernel (default: encoded with --weights, else basis)",
    )
    group.add_argument(
        "--scheme",
        choices=("joint", "alternate", "algorithm1"),
        help="image and blur together (default), in turns, or, of encoded, the blur anew before"
        " each step of the image",
    )
    group.add_argument(
        "--steps",
        type=options.whole(1),
        metavar="N",
        help="on each level of the pyramid (default: 200), or in all with encoded (default: 5000)",
    )
    group.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="of explicit kernels: bfloat16 is quicker where the processor computes in it"
        " (default: float32)",
    )
    group.add_argument(
        "--losses",
        choices=("paper", "authors"),
        help="of encoded: the paper's, or those of its code, which need --vgg (default: paper)",
    )
    group.add_argument(
        "--vgg", metavar="W", help="of --losses authors: weights of VGG19 as torchvision names them"
    )
    group.add_argument(
        "--latent", metavar="K", help="of encoded: file of a latent kernel to warm up to"
    )
    group.add_argument(
        "--seed", type=options.whole(0), metavar="N", help="which random start (default: 0)"
    )
    group.add_argument(
        "--patience",
        type=options.whole(1),
        metavar="N",
        help="stop early where N steps have not lowered the loss (default: never)",
    )
    group.add_argument(
        "--state",
        metavar="F",
        help="keep the run in this file (.safetensors), and go on from it if it exists",
    )


def deblur(args: argparse.Namespace) -> None:
    """Runs `blurops deblur IMAGE --model kernel_space`."""
    kind = args.operator or ("basis" if args.weights is None else "encoded")
    _check(args, kind)
    if args.output is None:
        source = Path(args.image)
        args.output = f"{source.stem}-deblurred{source.suffix}"
    options.check_photo_output(args)
    if args.state is not None:
        check_output(args.state)
    (_encoded if kind == "encoded" else _explicit)(args, kind)


def _explicit(args: argparse.Namespace, kind: str) -> None:
    from blurmodels.kernel_space.blind import fit_operator

    beside = _beside(args, "field.safetensors", "kernels.png", "report.json")
    photo = options.load_blind_photo(args)
    began = time.perf_counter()
    chosen = _chosen(args, *_OF_EXPLICIT, "scheme", "steps", "seed", "patience", "state")
    found = fit_operator(
        photo.pixels,
        operator=kind,
        gamma=args.gamma,
        progress=options.show_progress(args),
        **chosen,
    )
    fitted = time.perf_counter()
    field = found.field
    operator = BasisBlur(field.kernels, field.mixing, boundary=args.boundary or field.boundary)
    known = options.richardson_lucy_arguments(args)
    result = richardson_lucy(photo.pixels, operator, **known)
    ended = time.perf_counter()
    options.save_photo(args, options.central(result.image, photo.pixels.shape[2:]), photo)
    save_field(beside["field.safetensors"], field.kernels, field.mixing, **field.meta)
    picture = plot_kernel_field(photo.pixels, field, orientation="convolution")
    options.save_figure(picture, beside["kernels.png"], "png")
    _report(
        args, beside, photo.pixels, operator=kind, chosen=chosen, losses="paper",
        steps=len(found.losses), final_loss=found.losses[-1], iterations=result.iterations,
        seconds_estimating=round(fitted - began, 3), seconds_restoring=round(ended - fitted, 3),
    )  # fmt: skip
    print(
        f"{args.output}: B = {field.kernels.shape[1]}, K = {field.kernel_size},"
        f" {len(found.losses)} steps in {fitted - began:.1f} s (the paper's losses),"
        f" {result.iterations} iterations in {ended - fitted:.1f} s"
    )
    for path in beside.values():
        print(f"  {path.name}")


def _encoded(args: argparse.Namespace, kind: str) -> None:
    from blurmodels.kernel_space import KernelWizard
    from blurmodels.kernel_space.blind_encoded import deblur_encoded, read_latent

    beside = _beside(args, "report.json")
    network = KernelWizard.from_pretrained(args.weights).eval().requires_grad_(False)
    latent = None if args.latent is None else read_latent(args.latent)
    photo = options.load_blind_photo(args)
    began = time.perf_counter()
    chosen = _chosen(args, "scheme", "losses", "vgg", "steps", "seed", "patience", "state")
    found = deblur_encoded(
        photo.pixels,
        network.apply_blur,
        warm_latent=latent,
        progress=options.show_progress(args),
        **chosen,
    )
    seconds = time.perf_counter() - began
    image = found.image if photo.pixels.shape[1] == 3 else found.image.mean(1, keepdim=True)
    options.save_photo(args, image, photo)
    losses = args.losses or "paper"
    _report(
        args, beside, photo.pixels, operator=kind, chosen=chosen, losses=losses,
        steps=len(found.losses), final_loss=found.losses[-1],
        seconds_estimating=round(seconds, 3),
    )  # fmt: skip
    whose = "the authors' losses" if losses == "authors" else "the paper's losses, without VGG19"
    print(f"{args.output}: {len(found.losses)} steps in {seconds:.1f} s ({whose})")


def _chosen(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _beside(args: argparse.Namespace, *kinds: str) -> dict[str, Path]:
    """What is written beside OUT, by its kind."""
    output = Path(args.output)
    return {kind: check_output(output.with_name(f"{output.stem}-{kind}")) for kind in kinds}


def _report(
    args: argparse.Namespace, beside: dict[str, Path], pixels: Tensor, **notes: Any
) -> None:
    report = {
        "image": args.image,
        "model": _NAME,
        "weights": args.weights,
        "width": pixels.shape[3],
        "height": pixels.shape[2],
        "gamma": args.gamma,
        **notes,
    }
    write_report(beside["report.json"], report)


def _check(args: argparse.Namespace, kind: str) -> None:
    """Raises where the options do not fit together."""

    def refuse(name: str, reason: str) -> None:
        option = name.replace("_", "-")
        raise options.UsageError(f"deblur: argument --{option}: {reason}")

    if kind == "encoded" and args.weights is None:
        refuse("operator", "encoded needs --weights W, those of F")
    if kind != "encoded" and args.weights is not None:
        refuse("weights", f"goes without --operator {kind}")
    if kind == "uniform" and args.grid is not None:
        refuse("grid", "goes with --operator basis only")
    if kind != "encoded" and args.scheme == "algorithm1":
        refuse("scheme", "algorithm1 goes with --operator encoded only")
    foreign = _OF_ENCODED if kind != "encoded" else _OF_EXPLICIT
    for name in foreign:
        if getattr(args, name) is not None:
            refuse(name, f"goes without --operator {kind}")
    if args.losses == "authors" and args.vgg is None:
        refuse("losses", "authors needs --vgg W, weights of VGG19")
    if args.vgg is not None and args.losses != "authors":
        refuse("vgg", "goes with --losses authors only")
    for name in ("refine", "sparsity", "scale", "plug_and_play"):
        if getattr(args, name, None):
            refuse(name, "goes with --model basis_kernels only")
