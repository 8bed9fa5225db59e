# SPDX-License-Identifier: BSD-3-Clause
"""`blurops deblur-face` and `blurops face-curves`."""

import argparse
import time
from typing import Any

from torch import Tensor

from blurops.cli import options
from blurops.files import check_output
from blurops.images import check_suffix, read_image, write_image

_OPERATORS = ("encoded", "uniform", "bicubic")

_DEBLUR = """\
Find the face on the manifold of StyleGAN or StyleGAN2 that becomes FACE when it is blurred or made
smaller. FACE is square and cropped as the generator's training images are, for which no weights
come with blurops. Its side divides that of the generator's pictures: 256 for the encoded blur."""

_CURVES = """\
Search for FACE under three kinds of blur and draw how their losses fall, side by side, figure 6 of
Tran et al.: a convolution kernel under a deep prior, bicubic downsampling, and, with --weights, the
encoded kernel."""

# Arguments of `Settings` and how they are read; None where there are choices.
_SETTINGS: tuple[tuple[str, Any, str], ...] = (
    ("epochs", options.whole(1), "rounds of steps on the face and on the kernel (default: 25)"),
    ("image_steps", options.whole(1), "on the face in each round (default: 300)"),
    ("kernel_steps", options.whole(0), "on the kernel in each round (default: 200)"),
    ("warm_up", options.whole(0), "of the kernel's prior towards --latent (default: 150)"),
    ("image_rate", options.number(above=0), "learning rate of the face (default: 0.2)"),
    ("kernel_rate", options.number(above=0), "of the kernel (default: 1e-4, StyleGAN2 5e-4)"),
    ("optimiser", ("adam", "adamax", "sgd", "sgdm"), "of the face (default: adam)"),
    (
        "schedule", ("linear1cycledrop", "linear1cycle", "fixed"),
        "of the face's learning rate (default: linear1cycledrop)",
    ),
    (
        "noise", ("trainable", "fixed", "zero"),
        "five maps are optimised, or none, or there is no noise (default: trainable)",
    ),
)  # fmt: skip


def register(commands: Any) -> None:
    """Adds the commands."""
    parser = options.add_command(
        commands, "deblur-face", _deblur, help="deblur a face on a generator's manifold",
        description=_DEBLUR,
        epilog="examples:\n"
        "  blurops deblur-face face.png --generator stylegan2.pt --weights F.pth -o sharp.png\n"
        "  blurops deblur-face small.png --generator mapping.pt synthesis.pt --operator bicubic"
        " -o large.png",
    )  # fmt: skip
    _add_search(parser)
    parser.add_argument(
        "--operator", choices=_OPERATORS,
        help="what FACE has gone through: F of --weights with a latent kernel, one convolution"
        " kernel, or bicubic downsampling (default: encoded with --weights, else uniform)",
    )  # fmt: skip
    parser.add_argument(
        "--state", metavar="F",
        help="keep the run in this file (.safetensors), and go on from it if it exists",
    )  # fmt: skip
    parser.add_argument("--plot", metavar="P", help="draw the loss: .png, .pdf or .svg")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="image to write, .png, .jpg, .tif"
    )
    options.add_running(parser)

    parser = options.add_command(
        commands, "face-curves", _curves, help="how the search for a face converges, by its blur",
        description=_CURVES,
        epilog="example:\n"
        "  blurops face-curves face.png --generator stylegan2.pt --weights F.pth -o curves.png",
    )  # fmt: skip
    _add_search(parser)
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="plot to write, .png, .pdf or .svg"
    )
    options.add_running(parser)


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="FACE", help="PNG, JPEG or TIFF, square")
    weights = parser.add_argument_group("weights")
    weights.add_argument(
        "--generator", nargs="+", required=True, metavar="G",
        help="of the generator: one file, or StyleGAN's two, of mapping and synthesis",
    )  # fmt: skip
    weights.add_argument("--weights", metavar="W", help="of F, for the encoded blur")
    weights.add_argument(
        "--latent", metavar="K", help="of encoded: file of a latent kernel to warm up to"
    )
    weights.add_argument(
        "--gaussian", metavar="N",
        help="file of mean and deviation of the generator's latent vectors, written if it does not"
        " exist (default: computed each time)",
    )  # fmt: skip
    search = parser.add_argument_group("the search")
    for name, kind, text in _SETTINGS:
        how = {"choices": kind} if isinstance(kind, tuple) else {"type": kind, "metavar": "N"}
        search.add_argument(f"--{name.replace('_', '-')}", help=text, **how)
    search.add_argument(
        "--tile-latent", action="store_true", help="one latent vector for all layers"
    )
    search.add_argument(
        "--kernel-size", type=options.whole(1), metavar="K",
        help="side of the convolution kernel, odd (default: 31)",
    )  # fmt: skip
    search.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    options.add_seed(search, "where the search starts")


def _deblur(args: argparse.Namespace) -> None:
    from blurmodels.kernel_space.faces.curves import plot_curves
    from blurmodels.kernel_space.faces.manifold import deblur_face

    kind = args.operator or ("uniform" if args.weights is None else "encoded")
    _check_options(args, kind)
    check_suffix(args.output, None)
    check_output(args.output)
    figure = None if args.plot is None else options.check_figure_output(args.plot)
    if args.state is not None:
        check_output(args.state)
    photo = read_image(args.image).pixels
    generator, common = _prepared(args, photo)
    began = time.perf_counter()
    found = deblur_face(
        photo, generator, _operator(args, kind), warm_latent=_latent(args), state=args.state,
        **common,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    write_image(args.output, found.image.cpu())
    if figure is not None:
        plot = plot_curves(photo, {kind: found}, common["settings"])
        options.save_figure(plot, args.plot, figure)
    print(
        f"{args.output}: loss {found.loss:.4f} ({kind}), {len(found.losses)} steps in"
        f" {seconds:.1f} s"
    )


def _curves(args: argparse.Namespace) -> None:
    from blurmodels.kernel_space.faces.curves import compare_operators, plot_curves

    figure = options.check_figure_output(args.output)
    if args.weights is None and args.latent is not None:
        _refuse(args, "latent", "goes with --weights only")
    photo = read_image(args.image).pixels
    generator, common = _prepared(args, photo)
    encoded = None if args.weights is None else _operator(args, "encoded")
    size = {} if args.kernel_size is None else {"kernel_size": args.kernel_size}
    found = compare_operators(
        photo, generator, encoded=encoded, warm_latent=_latent(args), **size, **common
    )
    options.save_figure(plot_curves(photo, found, common["settings"]), args.output, figure)
    left_out = "" if encoded is not None else ", without the encoded kernel, which needs --weights"
    print(f"{args.output}: {len(found)} operators{left_out}")
    for name, each in found.items():
        print(f"  {name}: loss {each.loss:.4f}, L2 {min(each.errors):.3g} at best")


def _prepared(args: argparse.Namespace, photo: Tensor) -> tuple[Any, dict[str, Any]]:
    """The generator, and the arguments that both commands pass on."""
    from blurmodels.kernel_space.faces.manifold import check_face, settings_of
    from blurmodels.kernel_space.faces.weights import from_pretrained

    generator = from_pretrained(*args.generator).requires_grad_(False).to(args.device)
    check_face(photo, generator)
    chosen = {name: value for name, *_ in _SETTINGS if (value := getattr(args, name)) is not None}
    progress = options.show_progress(args)
    return generator, {
        "settings": settings_of(generator)._replace(**chosen, tile_latent=args.tile_latent),
        "gaussian": generator.gaussian(cache=args.gaussian, progress=progress),
        "seed": args.seed,
        "progress": progress,
    }


def _operator(args: argparse.Namespace, kind: str) -> Any:
    from blurmodels.kernel_space.faces import operators
    from blurmodels.kernel_space.network import KernelWizard
    from blurmodels.kernel_space.priors import KernelDIP

    if kind == "bicubic":
        return operators.bicubic()
    if kind == "uniform":
        return operators.uniform(*([] if args.kernel_size is None else [args.kernel_size]))
    network = KernelWizard.from_pretrained(args.weights).requires_grad_(False).to(args.device)
    dim = network.architecture["kernel_dim"]
    return operators.encoded(network.apply_blur, lambda: KernelDIP(kernel_dim=dim))


def _latent(args: argparse.Namespace) -> Tensor | None:
    from blurmodels.kernel_space.blind_encoded import read_latent

    return None if args.latent is None else read_latent(args.latent)


def _refuse(args: argparse.Namespace, name: str, reason: str) -> None:
    option = name.replace("_", "-")
    raise options.UsageError(f"{args.command}: argument --{option}: {reason}")


def _check_options(args: argparse.Namespace, kind: str) -> None:
    """Raises where the options do not fit together."""
    if kind == "encoded" and args.weights is None:
        _refuse(args, "operator", "encoded needs --weights W, those of F")
    for name in ("weights", "latent"):
        if kind != "encoded" and getattr(args, name) is not None:
            _refuse(args, name, f"goes without --operator {kind}")
    if kind != "uniform" and args.kernel_size is not None:
        _refuse(args, "kernel_size", "goes with --operator uniform only")
