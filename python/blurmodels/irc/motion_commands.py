# SPDX-License-Identifier: BSD-3-Clause
"""`blurops motion` and `blurops train motion`."""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from blurmodels.train_command import SETTINGS, add_changes, add_folder, add_run, given, run
from blurops.cli import options
from blurops.files import check_output

_MOTION = """\
Estimate the straight motion of every pixel of IMAGE by Motion-Net (Eboli et al.), and write it as a
motion field that `blurops deblur --motion-field` takes, or as a picture, or both."""

_TRAIN = """\
Train Motion-Net, which estimates the straight motion of every pixel, on images blurred as they are
needed: photographs before a turning and shifting camera (--voc), averages of the frames of
high-speed videos (--gopro), both, or generated scenes.

FOLDER gets the weights, a table of losses, and a state from which the same command goes on after
an interruption. To train on several GPUs:
  torchrun --nproc-per-node 4 -m blurops train motion FOLDER --device cuda"""

_TRAIN_EPILOG = """\
examples:
  blurops train motion out/ --recipe paper --voc VOCdevkit --gopro GOPRO_Large_all --device cuda
  blurops train motion out/ --recipe small --seed 1 --threads 1 --held-out 16"""

# Options that change the recipe: name, type, help.
_RECIPE = (
    ("width", options.whole(1), "channels of the first stage"),
    ("output_stride", options.whole(4), "4, 8, 16 or 32"),
    ("max_length", options.number(least=1), "longest motion, pixels"),
    ("size", options.whole(8), "side of the images"),
    ("noise", options.number(least=0), "standard deviation of the noise, white being 1"),
    ("epoch", options.whole(1), "generated scenes of an epoch"),
    ("epochs", options.number(above=0), "how many"),
    ("batch_size", options.whole(1), "images of a step, all processes together"),
    ("learning_rate", options.number(above=0), "of Adam"),
    ("loss", ("vector", "doubled", "polar"), "what is made small"),
    ("output", ("doubled", "polar"), "how the network codes angles"),
    ("normalisation", ("instance", "layer"), "of each channel, or of all together"),
    ("front", ("pixels", "differences"), "what the network is shown"),
)


def register(commands: Any) -> None:
    """Adds `blurops motion`."""
    parser = options.add_command(
        commands, "motion", _motion, help="estimate the motion of every pixel of a photograph",
        description=_MOTION,
        epilog="example:\n  blurops motion photo.jpg --weights W -o field.mat --picture arrows.png",
    )  # fmt: skip
    options.add_photo(parser, "the blurred photograph")
    parser.add_argument("--weights", required=True, metavar="W", help="weights of a Motion-Net")
    parser.add_argument("-o", "--output", metavar="FIELD", help="the motion field, .mat")
    parser.add_argument("--picture", metavar="P", help="arrows over the image, .png, .pdf or .svg")
    parser.add_argument(
        "--spacing", type=options.whole(1), metavar="N",
        help="pixels from arrow to arrow (default: about 24 along the longer side)",
    )  # fmt: skip
    options.add_running(parser)


def register_train(models: Any) -> None:
    """Adds `blurops train motion`; what it needs is imported when it runs."""
    parser = options.add_command(
        models, "motion", _train, help="Motion-Net of Eboli et al.", description=_TRAIN,
        epilog=_TRAIN_EPILOG,
    )  # fmt: skip
    add_folder(parser, ("paper", "default", "small"))
    data = parser.add_argument_group("data")
    data.add_argument("--voc", metavar="DIR", help="folder of PASCAL VOC 2012")
    data.add_argument("--gopro", metavar="DIR", help="folder of GoPro's frames, GOPRO_Large_all")
    data.add_argument(
        "--flow", metavar="DIR",
        help="of --gopro: Middlebury files DIR/VIDEO/FRAME.flo (default: scikit-image estimates)",
    )  # fmt: skip
    add_changes(parser, _RECIPE)
    group = add_run(parser, "initial weights, scenes, motions and noise")
    group.add_argument(
        "--held-out", type=options.whole(1), metavar="N",
        help="in the end, estimate the motion of so many other generated scenes and print the error"
        " beside those of the best constant motion and of none",
    )  # fmt: skip


def _motion(args: argparse.Namespace) -> None:
    import torch

    from blurmodels.irc.motion_net import MotionNet
    from blurmodels.irc.motion_picture import plot_motion_field
    from blurops import save_motion_field

    if args.output is None and args.picture is None:
        raise options.UsageError("motion: one of the arguments -o, --picture is required")
    if args.output is not None:
        if Path(args.output).suffix.lower() != ".mat":
            raise ValueError(f"'{args.output}' must end in .mat")
        check_output(args.output)
    kind = None if args.picture is None else options.check_figure_output(args.picture)
    network = MotionNet.from_pretrained(args.weights)
    pixels = options.load_blind_photo(args).pixels
    began = time.perf_counter()
    with torch.no_grad():
        length, angle = network(pixels)
    seconds = time.perf_counter() - began
    if args.output is not None:
        save_motion_field(args.output, length, angle)
    if args.picture is not None:
        figure = plot_motion_field(pixels, length, angle, spacing=args.spacing)
        options.save_figure(figure, args.picture, kind)
    written = ", ".join(path for path in (args.output, args.picture) if path is not None)
    print(
        f"{written}: {pixels.shape[3]} x {pixels.shape[2]}, motions of {float(length.min()):.1f} to"
        f" {float(length.max()):.1f} pixels, estimated in {seconds:.1f} s"
    )


def _train(args: argparse.Namespace) -> None:
    from blurmodels.irc import motion_recipes as recipes
    from blurmodels.irc.motion_score import motion_mse

    changes = given(args, _RECIPE)
    recipe = replace(recipes.RECIPES[args.recipe], **changes)
    examples = recipes.examples_of(recipe, seed=args.seed, **_data(args))
    settings = recipes.settings_of(
        recipe, len(examples), seed=args.seed,
        **given(args, SETTINGS),
    )  # fmt: skip
    task = recipes.task_of(recipe, examples, seed=args.seed)
    run(args, task, settings)
    if args.held_out:
        # Seeds of training are never negative, and hardly ever as large as this.
        others = recipes.examples_of(recipe, seed=args.seed + 2**40)
        network = task.network.to("cpu").eval()
        scores = motion_mse(network, others, range(args.held_out))
        print(
            f"  held out: squared error {scores.mse:.2f} pixels^2; the best constant motion has"
            f" {scores.constant:.2f}, none {scores.still:.2f}"
        )


def _data(args: argparse.Namespace) -> dict[str, Any]:
    """Photographs and videos, as far as there are folders of them."""
    from blurmodels.datasets import gopro_frames, voc
    from blurmodels.irc.motion_data_frames import flow_files

    if args.flow is not None and args.gopro is None:
        raise options.UsageError("train: argument --flow: goes with --gopro only")
    found: dict[str, Any] = {}
    if args.voc is not None:
        found["photographs"] = voc(args.voc)
    if args.gopro is not None:
        found["videos"] = gopro_frames(args.gopro)
    if args.flow is not None:
        found["flow"] = flow_files(args.flow)
    return found
