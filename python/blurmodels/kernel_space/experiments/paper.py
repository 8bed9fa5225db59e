# SPDX-License-Identifier: BSD-3-Clause
"""The tables of the paper and of its supplement (table 5 and the time), number by number."""

from blurmodels.evaluation import Row, Table

_SRN = "SRN-Deblur"

TABLES = {
    "1": Table(
        "Table 1: blur transferred to another image against the true convolution, Levin's kernels,"
        " PSNR",
        tuple(f"kernel {number}" for number in range(1, 9)),
        (
            Row(
                "the paper",
                ("49.48", "51.93", "52.06", "53.74", "49.91", "49.49", "51.43", "50.38"),
            ),
        ),
    ),
    "2": Table(
        "Table 2: deblurring networks trained on a dataset and on its blurs swapped, PSNR",
        ("REDS", "GOPRO"),
        (
            Row(f"{_SRN}, original data", ("30.70", "30.20")),
            Row(f"{_SRN}, blur-swapped data", ("29.43", "28.49")),
        ),
    ),
    "3": Table(
        "Table 3: blurred images, made again from the sharp ones with the kernels retrieved, PSNR",
        ("REDS4", "GOPRO"),
        (
            Row("the paper, trained on REDS", ("34.35", "30.67")),
            Row("the paper, trained on GOPRO", ("31.38", "35.13")),
        ),
    ),
    "4": Table(
        "Table 4: deblurring networks on faces, by the kernels that they are tested on, PSNR",
        ("imgaug", "REDS", "GOPRO"),
        (
            Row(f"{_SRN}, imgaug", ("28.64", "24.22", "22.96")),
            Row(f"{_SRN}, imgaug and encoded REDS", ("28.30", "28.37", "23.92")),
        ),
    ),
    "5": Table(
        "Table 5, supplement: each trained on the other dataset, PSNR",
        ("GOPRO", "HIDE"),
        (
            Row("DeblurGANv2", ("24.35", "24.65")),
            Row(_SRN, ("25.21", "25.25")),
            Row("the paper", ("26.17", "25.97")),
        ),
    ),
    "time": Table(
        "Supplement, section 5: time of generic deblurring",
        ("seconds per 256 x 256 image",),
        (Row("the paper, on a V100", ("209.53",)),),
    ),
}
