# SPDX-License-Identifier: BSD-3-Clause
"""`blurops train basis_kernels`."""

import argparse
from dataclasses import replace
from typing import Any

from blurmodels.train_command import SETTINGS, add_changes, add_folder, add_run, flag, given, run
from blurops.cli import options

_DESCRIPTION = """\
Train the network that estimates blur, on blurred images made as they are needed: out of ADE20K
photographs (--ade20k), or of generated scenes.

FOLDER gets the weights, a table of losses, and a state from which the same command goes on after
an interruption. To train on several GPUs:
  torchrun --nproc-per-node 4 -m blurops train basis_kernels FOLDER --device cuda"""

_EPILOG = """\
examples:
  blurops train basis_kernels out/ --recipe paper --ade20k ADE20K/images/training --device cuda
  blurops train basis_kernels out/ --recipe starter --seed 1 --threads 1"""

# Options that change the recipe: name, type, help.
_RECIPE = (
    ("width", options.whole(1), "channels of the network's first level"),
    ("basis_size", options.whole(1), "B, number of basis kernels"),
    ("kernel_size", int, "K, 33 or 65"),
    ("patch", options.whole(32), "side of the blurred images"),
    ("batch_size", options.whole(1), "images of a step, all processes together"),
    ("epoch", options.whole(1), "generated scenes of an epoch"),
    ("l2_epochs", options.number(least=0), "epochs with squared errors in the kernel loss"),
    ("l1_epochs", options.number(least=0), "epochs with absolute errors after those"),
    ("learning_rate", options.number(above=0), "of Adam"),
    ("objects", options.whole(0), "largest number of objects in a scene"),
    ("kernels", options.whole(1), "size of the bank of kernels"),
)
_BLUR = (
    ("brightness_domain", ("linear", "values"), "what the random brightness multiplies"),
    ("brightness", options.numbers("LOW", "HIGH"), "range of the random brightness"),
    ("noise", options.numbers("LOW", "HIGH"), "range of the noise's deviation, linear light"),
    ("photons", options.number(above=0), "light of white for Poisson noise (default: none)"),
)


def register_train(models: Any) -> None:
    """Adds the command; what it needs is imported when it runs."""
    parser = options.add_command(
        models, "basis_kernels", _run, help="the two-headed network of Carbajal et al.",
        description=_DESCRIPTION, epilog=_EPILOG,
    )  # fmt: skip
    add_folder(parser, ("paper", "default", "starter"))
    data = parser.add_argument_group("data")
    data.add_argument("--ade20k", metavar="DIR", help="folder of the ADE20K data set")
    data.add_argument(
        "--ade20k-list", metavar="FILE", help="images of DIR to take, one path a line"
    )
    data.add_argument("--saturation", action="store_true", help="the sensor's response, eq. 4")
    for name, kind, text in _BLUR:
        how = {"choices": kind} if isinstance(kind, tuple) else {"type": kind}
        data.add_argument(flag(name), help=text, **how)
    recipe = add_changes(parser, _RECIPE)
    recipe.add_argument(
        "--reblur", choices=("linear", "values"), default="linear",
        help="form of the reblur loss (default: linear, as the paper's code)",
    )  # fmt: skip
    add_run(parser, "initial weights, scenes, kernels and noise")


def _run(args: argparse.Namespace) -> None:
    from blurmodels.basis_kernels import recipes
    from blurmodels.basis_kernels.data import ADE20K, BlurSettings

    recipe = replace(recipes.RECIPES[args.recipe], **given(args, _RECIPE))
    blur = BlurSettings(saturation=args.saturation, **given(args, _BLUR))
    if args.ade20k is not None:
        scenes = ADE20K(args.ade20k, objects=recipe.objects, names=args.ade20k_list, seed=args.seed)
        recipe = replace(recipe, epoch=len(scenes))
    else:
        scenes = recipes.scenes_of(recipe, seed=args.seed)
    settings = recipes.settings_of(recipe, seed=args.seed, **given(args, SETTINGS))
    task = recipes.task_of(
        recipe, recipes.samples_of(recipe, scenes, blur=blur, seed=args.seed), seed=args.seed,
        form=args.reblur,
    )  # fmt: skip
    run(args, task, settings)
