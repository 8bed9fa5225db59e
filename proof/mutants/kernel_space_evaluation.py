# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in the evaluation of the encoded blur kernel space."""

from proof.engine import Mutant, Selection

LPIPS = Selection(("tests/test_lpips.py",), "published_definition")
FIT = Selection(("tests/test_kernel_space_experiments.py",), "TestLeastSquares and true_kernel")
SWAPS = Selection(("tests/test_kernel_space_experiments.py",), "anothers_blur")
TABLES = Selection(("tests/cli/test_evaluate_kernel_space.py",), "disjoint or g_alone")
ROWS = Selection(("tests/test_kernel_space_transfer.py",), "each_row")
TAUGHT = Selection(("tests/test_kernel_space_transfer.py",), "taught_by_codes")
START = Selection(("tests/test_kernel_space_training.py",), "k_changes or k_begins")
LEVIN = Selection(("tests/test_datasets.py",), "levin")

_EXPERIMENTS = "python/blurmodels/kernel_space/experiments"

MUTANTS = (
    Mutant(
        "lpips: values of [0, 1] are taken for [-1, 1]",
        f"{_EXPERIMENTS}/lpips.py",
        "x = 2 * image.float().expand(-1, 3, -1, -1) - 1",
        "x = image.float().expand(-1, 3, -1, -1)",
        LPIPS,
    ),
    Mutant(
        "least squares: pixels that light from outside reaches count",
        f"{_EXPERIMENTS}/least_squares.py",
        "image.diff(dim=2)[:, :, :, 1:]",
        "image.diff(dim=2, append=image[:, :, :1])[:, :, 1:, 1:]",
        FIT,
    ),
    Mutant(
        "swap: every scene keeps its own blur",
        f"{_EXPERIMENTS}/swapping.py",
        "others[scene] = int(order[(place + 1) % count])",
        "others[scene] = int(order[place])",
        SWAPS,
    ),
    Mutant(
        "table 1: the targets are the sources",
        f"{_EXPERIMENTS}/evaluate.py",
        "return both[::2], both[1::2]",
        "return both[::2], both[::2]",
        TABLES,
    ),
    Mutant(
        "table 3: compared with the sharp image",
        f"{_EXPERIMENTS}/evaluate.py",
        "psnr(again(sharp, blurred), blurred)",
        "psnr(again(sharp, blurred), sharp)",
        TABLES,
    ),
    Mutant(
        "levin: point-spread functions are not turned",
        "python/blurmodels/datasets/levin.py",
        "flip(taps[None, None])[0, 0].float()",
        "taps.float()",
        LEVIN,
    ),
    Mutant(
        "transfer: the truth is the target under its own kernel",
        f"{_EXPERIMENTS}/transfer.py",
        "truth = targets[index], truths[index][None]",
        "truth = targets[index], every[(index + 1) % count][1][None]",
        ROWS,
    ),
    Mutant(
        "transfer: each target gets its own k",
        f"{_EXPERIMENTS}/transfer.py",
        "NETWORKS: network.apply_blur(target[None], k),",
        "NETWORKS: network.apply_blur(target[None], latents[(index + 1) % count]),",
        ROWS,
    ),
    Mutant(
        "transfer: F takes G's k from the start",
        f"{_EXPERIMENTS}/transfer.py",
        "wanted if step < self.until else None",
        "None",
        TAUGHT,
    ),
    Mutant(
        "initialise: k adds to an image by itself",
        "python/blurmodels/kernel_space/task.py",
        "block.conv2.weight[details:] = 0",
        "block.conv2.weight[:details] *= 2",
        START,
    ),
)
