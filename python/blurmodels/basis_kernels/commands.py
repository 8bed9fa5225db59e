# SPDX-License-Identifier: BSD-3-Clause
"""What this model adds to the command line: `blurops deblur --model basis_kernels` and `detect`."""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from blurmodels.basis_kernels.experiments.commands import register_evaluate
from blurmodels.basis_kernels.train_command import register_train
from blurops import BasisBlur, load_field, richardson_lucy, save_field
from blurops.cli import options
from blurops.fields import BlurField, plot_kernel_field
from blurops.files import check_output, write_report
from blurops.images import Image, check_suffix, read_image, write_image

__all__ = ["add_deblur", "deblur", "register", "register_evaluate", "register_train"]

_NAME = "basis_kernels"


_DETECT = """\
Write a gray map of where IMAGE is blurred: how much of each pixel comes through kernels whose L2
norm is below --limit. The kernels are those of a field, or estimated from IMAGE."""


def add_deblur(group: argparse._ArgumentGroup) -> None:
    """Adds the options that `blurops deblur` has for this model only."""
    group.add_argument(
        "--refine",
        action="store_true",
        help="estimate the blur from IMAGE alone, without weights: minutes, for small photographs"
        " with edges and kernels up to --kernel-size",
    )
    _add_refinement(group)
    group.add_argument(
        "--fit-steps",
        type=options.whole(1),
        metavar="N",
        help="of --weights: restore, fit all weights to IMAGE and that restoration by N steps of"
        " Adam, and estimate again (the authors' code has 100)",
    )
    group.add_argument(
        "--scale",
        type=options.number(above=0),
        metavar="S",
        help="work at so much of IMAGE's size, which OUT then has; 0.5 lets kernels of 33 pixels"
        " serve blur of 66 (default: 1)",
    )
    group.add_argument(
        "--plug-and-play",
        metavar="D",
        help="restore as the paper's first version, by hybrid steepest descent with a denoiser: tv,"
        " wavelet, or a file that torch.export.save wrote",
    )


def _add_refinement(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--kernel-size",
        type=options.whole(3, 101),
        metavar="K",
        help="of --refine and kernel_space: largest kernel, odd; a tight one is quicker and safer"
        " (default of --refine: 25)",
    )
    group.add_argument(
        "--grid",
        type=_grid,
        metavar="ROWS,COLUMNS",
        help="of --refine and kernel_space: kernels estimated down and across IMAGE; 1,1 is one for"
        " all (default of --refine: 2,3)",
    )
    group.add_argument(
        "--sparsity",
        type=options.number(above=0),
        metavar="X",
        help="of --refine: multiplies what an edge costs; 4 suits few strong edges, 0.25 soft"
        " pictures (default: 1)",
    )


def _grid(text: str) -> tuple[int, ...]:
    """An argparse type: two whole numbers with a comma between."""
    options.numbers("ROWS", "COLUMNS")(text)
    return tuple(options.whole(1, 16)(part) for part in text.split(","))


def deblur(args: argparse.Namespace) -> None:
    """Runs `blurops deblur IMAGE --model basis_kernels`."""
    _check_source(args, "deblur")
    if args.output is None:
        source = Path(args.image)
        args.output = f"{source.stem}-deblurred{source.suffix}"
    options.check_photo_output(args)
    beside = {
        kind: check_output(Path(args.output).with_name(f"{Path(args.output).stem}-{kind}"))
        for kind in ("field.safetensors", "kernels.png", "report.json")
    }
    original = options.load_blind_photo(args)
    photo = original if args.scale is None else _scaled(original, args.scale, args.gamma)
    began = time.perf_counter()
    field, notes = _field(args, photo.pixels, args.fit_steps)
    estimated = time.perf_counter()
    operator = BasisBlur(field.kernels, field.mixing, boundary=args.boundary or field.boundary)
    image, iterations = _restore(args, photo.pixels, operator)
    ended = time.perf_counter()
    report = {
        "image": args.image,
        "model": _NAME,
        "weights": args.weights,
        "original_width": original.pixels.shape[3],
        "original_height": original.pixels.shape[2],
        "scale": 1.0 if args.scale is None else args.scale,
        "width": photo.pixels.shape[3],
        "height": photo.pixels.shape[2],
        "gamma": args.gamma,
        "basis_size": field.kernels.shape[1],
        "kernel_size": field.kernel_size,
        "restoration": "plug-and-play" if args.plug_and_play else args.preset or "richardson-lucy",
        "iterations": iterations,
        "seconds_estimating": round(estimated - began, 3),
        "seconds_restoring": round(ended - estimated, 3),
        **notes,
    }
    options.save_photo(args, options.central(image, photo.pixels.shape[2:]), photo)
    save_field(beside["field.safetensors"], field.kernels, field.mixing, **field.meta)
    picture = plot_kernel_field(photo.pixels, field, orientation="convolution")
    options.save_figure(picture, beside["kernels.png"], "png")
    write_report(beside["report.json"], report)
    print(
        f"{args.output}: {report['width']} x {report['height']}, B = {report['basis_size']},"
        f" K = {report['kernel_size']}, estimated in {estimated - began:.1f} s, {iterations}"
        f" iterations in {ended - estimated:.1f} s"
    )
    for path in beside.values():
        print(f"  {path.name}")


def register(commands: Any) -> None:
    """Adds `blurops detect`."""
    parser = options.add_command(
        commands,
        "detect",
        _detect,
        help="show where a photograph is blurred",
        description=_DETECT,
        epilog=(
            "examples:\n"
            "  blurops detect photo.jpg --weights W.safetensors -o blur.png\n"
            "  blurops detect photo.jpg --field F.safetensors --truth mask.png -o blur.png"
        ),
    )
    options.add_photo(parser, "the photograph")
    source = parser.add_argument_group("the blur (one of these)").add_mutually_exclusive_group(
        required=True
    )
    source.add_argument("--field", metavar="F", help="blur field of IMAGE's size (.safetensors)")
    source.add_argument("--weights", metavar="W", help="weights of the network that estimates it")
    source.add_argument(
        "--refine", action="store_true", help="estimate it without weights (see blurops deblur)"
    )
    _add_refinement(parser.add_argument_group("the estimation"))
    parser.add_argument(
        "-o", "--output", required=True, metavar="MAP", help="the map to write, .png, .jpg or .tif"
    )
    parser.add_argument(
        "--limit",
        type=options.number(above=0),
        default=0.25,
        metavar="L",
        help="kernels of a smaller L2 norm count as blur; one that does nothing has 1 (default:"
        " 0.25)",
    )
    parser.add_argument(
        "--truth",
        metavar="MASK",
        help="picture of IMAGE's size, white where there is blur: print the average precision",
    )
    options.add_gamma(parser)
    options.add_running(parser)


def _detect(args: argparse.Namespace) -> None:
    from blurmodels.basis_kernels.detect import blur_map
    from blurmodels.evaluation import average_precision

    if args.field is None:
        _check_source(args, "detect")
    check_suffix(args.output, None)
    check_output(args.output)
    pixels = options.load_blind_photo(args).pixels
    if args.field is not None:
        field = options.as_float32(load_field(args.field))
        options.check_field_size(field, args.field, tuple(pixels.shape[2:]), args.image)
    else:
        field, _ = _field(args, pixels)
    scores = blur_map(field, args.limit)
    score = ""
    if args.truth is not None:
        truth = (
            read_image(args.truth, max_pixels=args.max_pixels).pixels.amax(1, keepdim=True) > 0.5
        )
        options.check_size(truth, args.truth, tuple(pixels.shape[2:]), args.image)
        score = f", average precision {average_precision(scores, truth):.4f}"
    write_image(args.output, scores.clamp(0, 1))
    print(f"{args.output}: {float(scores.mean()):.1%} of the light is blurred{score}")


def _check_source(args: argparse.Namespace, command: str) -> None:
    """Raises where the options do not say how the blur is to be estimated."""
    if args.weights is None and not args.refine:
        raise options.UsageError(
            f"{command}: argument --model: {_NAME} needs --weights W, or --refine to do without"
        )
    if args.weights is not None and args.refine:
        raise options.UsageError(f"{command}: argument --refine: goes without --weights")
    if command == "deblur" and args.fit_steps is not None and args.weights is None:
        raise options.UsageError(f"{command}: argument --fit-steps: goes with --weights only")
    for name in ("kernel_size", "grid", "sparsity"):
        if getattr(args, name) is not None and not args.refine:
            option = name.replace("_", "-")
            raise options.UsageError(f"{command}: argument --{option}: goes with --refine only")


def _field(
    args: argparse.Namespace, pixels: Tensor, fit_steps: int | None = None
) -> tuple[BlurField, dict[str, Any]]:
    """The blur of a photograph, and what the report says of the estimation."""
    progress = options.show_progress(args)
    if args.refine:
        from blurmodels.basis_kernels.blind import estimate_blind

        chosen = {
            "kernel_size": args.kernel_size,
            "grid": args.grid,
            "sparsity": args.sparsity,
        }
        chosen = {name: value for name, value in chosen.items() if value is not None}
        field = estimate_blind(pixels, gamma=args.gamma, progress=progress, **chosen)
        return field, {"refine": chosen}
    from blurmodels.basis_kernels.estimate import estimate_field
    from blurmodels.basis_kernels.network import TwoHeadsNetwork

    network = TwoHeadsNetwork.from_pretrained(args.weights)
    field = estimate_field(pixels, network, gamma=args.gamma, progress=progress)
    if fit_steps is None:
        return field, {}
    from blurmodels.basis_kernels.image_refinement import refine_on_image

    known = options.richardson_lucy_arguments(args)
    sharp = richardson_lucy(pixels, BasisBlur(field.kernels, field.mixing), **known).image
    fitted = refine_on_image(
        network, pixels, sharp, gamma=args.gamma, steps=fit_steps,
        saturation=args.saturation is not False,
    )  # fmt: skip
    field = estimate_field(pixels, fitted.network, gamma=args.gamma, progress=progress)
    fit = {"steps": fit_steps, "reblur_loss": [fitted.losses[0], fitted.losses[-1]]}
    return field, {"fit": fit}


def _restore(args: argparse.Namespace, pixels: Tensor, operator: BasisBlur) -> tuple[Tensor, int]:
    if args.plug_and_play is None:
        result = richardson_lucy(pixels, operator, **options.richardson_lucy_arguments(args))
        return result.image, result.iterations
    from blurmodels.basis_kernels.denoisers import load_denoiser
    from blurmodels.basis_kernels.plug_and_play import plug_and_play

    result = plug_and_play(
        pixels,
        operator,
        denoiser=load_denoiser(args.plug_and_play),
        gamma=args.gamma,
        progress=options.show_progress(args),
        stop_tol=args.stop_tol,
        **({} if args.iterations is None else {"iterations": args.iterations}),
    )
    return result.image, result.iterations


def _scaled(photo: Image, scale: float, gamma: float) -> Image:
    """The photograph at another size, averaged in linear light."""
    size = [max(1, round(scale * side)) for side in photo.pixels.shape[2:]]

    def resize(planes: Tensor) -> Tensor:
        return functional.interpolate(planes, size, mode="bilinear", antialias=True)

    pixels = resize(photo.pixels**gamma).clamp(min=0) ** (1 / gamma)
    return replace(photo, pixels=pixels, alpha=None if photo.alpha is None else resize(photo.alpha))
