# SPDX-License-Identifier: BSD-3-Clause
"""The tables of both versions of the paper, number by number.

Cells in parentheses the paper took from elsewhere. "second" is "Non-uniform Blur Kernel Estimation
via Adaptive Basis Decomposition" as revised, "first" its first version of the same authors.
"""

from blurmodels.evaluation import Row, Table

VERSIONS = ("second", "first")
_QUALITY = "PSNR/SSIM"


def _rows(text: str) -> tuple[Row, ...]:
    """One row a line, cells separated by bars."""
    lines = (line.split("|") for line in text.strip().splitlines())
    return tuple(Row(line[0].strip(), tuple(cell.strip() for cell in line[1:])) for line in lines)


_SECOND = {
    "1": Table(
        "Table 1, second version: Köhler's real photographs",
        (f"Köhler {_QUALITY}",),
        _rows("""
            DeblurGAN                        | 26.05/0.75
            Nah et al., K = 2                | (26.02)/(0.81)
            SRN                              | 27.18/0.79
            DMPHN 1-2-4                      | 25.69/0.75
            DeblurGANv2 Inception            | 27.25/0.79
            DeblurGANv2 MobileNet            | 25.88/0.74
            SRN, on RealBlur-J               | (26.57)/(0.80)
            SRN, on GoPro, BSD, RealBlur-J   | 27.85/0.81
            MPRNet                           | 26.57/0.78
            Sun et al.                       | (25.22)/(0.77)
            Gong et al.                      | 25.23/0.74
            the paper                        | 28.39/0.82
        """),
    ),
    "2": Table(
        "Table 2, second version: RealBlur",
        (f"RealBlur-R {_QUALITY}", f"RealBlur-J {_QUALITY}"),
        _rows("""
            Hu et al.     | 33.67/0.916 | 26.41/0.803
            Pan et al.    | 34.01/0.916 | 27.22/0.790
            Xu et al.     | 34.46/0.937 | 27.14/0.830
            Nah et al.    | 32.51/0.841 | 27.87/0.827
            DeblurGAN     | 33.79/0.903 | 27.97/0.834
            DeblurGANv2   | 35.26/0.944 | 28.70/0.866
            Zhang et al.  | 35.48/0.947 | 27.80/0.847
            SRN           | 35.66/0.947 | 28.56/0.867
            DMPHN         | 35.70/0.948 | 28.42/0.860
            MPRNet        | 35.99/0.952 | 28.70/0.873
            the paper     | 36.17/0.946 | 28.95/0.865
        """),
    ),
    "3": Table(
        "Table 3, second version: blurring to deblur, on GoPro",
        (f"GoPro {_QUALITY}",),
        _rows("""
            DeblurGAN                      | 27.25/0.81
            DeblurGAN, resumed             | 27.57/0.83
            DeblurGAN, with Reblur2Deblur  | (28.03)/(0.90)
            DeblurGAN, the paper's loss    | 28.08/0.85
        """),
    ),
    "4": Table(
        "Table 4, second version: basis size against training schedule, on RealBlur-J",
        ("B = 15 PSNR", "B = 25 PSNR", "B = 40 PSNR"),
        _rows("""
            L2, 300 epochs                 | 28.52 | 28.64 | 28.56
            L2, 450 epochs                 | 28.64 | 28.70 | 28.86
            L2, 300 epochs, then L1, 150   | 28.95 | 28.85 | 28.93
        """),
    ),
}

_FIRST = {
    "1": Table(
        "Table 1, first version",
        tuple(f"{name} {_QUALITY}" for name in ("Köhler", "GoPro", "DVD", "RealBlur-J")),
        _rows("""
            DeblurGAN                       | 26.05/0.75     | 27.92/0.84     | 28.27/0.84 | (27.97)/(0.83)
            Nah et al., K = 2               | (26.02)/(0.81) | (29.23)/(0.92) | -          | 27.87/0.83
            SRN                             | 27.18/0.79     | 30.72/0.91     | 29.80/0.88 | 28.56/0.87
            DMPHN 1-2-4                     | 25.69/0.75     | 29.98/0.90     | 28.28/0.84 | 27.80/0.85
            DeblurGANv2 Inception           | 27.25/0.79     | 29.49/0.88     | 29.55/0.93 | 28.69/0.87
            DeblurGANv2 MobileNet           | 25.88/0.74     | 27.40/0.83     | 28.70/0.85 | 28.09/0.84
            SRN, on RealBlur-J              | (26.57)/(0.80) | (26.68)/(0.84) | -          | (31.02)/(0.90)
            SRN, on GoPro, BSD, RealBlur-J  | 27.85/0.81     | 30.30/0.90     | 29.98/0.89 | 31.38/0.91
            Sun et al.                      | (25.22)/(0.77) | (24.64)/(0.84) | -          | -
            Gong et al.                     | 25.23/0.74     | (26.06)/(0.86) | -          | -
            the paper                       | 28.23/0.81     | 27.51/0.84     | 28.23/0.85 | 27.86/0.82
        """),  # noqa: E501
    ),
    "2": Table(
        "Table 2, first version: Köhler's photographs, without homography",
        ("all PSNR", "without kernels 8-11 PSNR"),
        _rows("""
            Cho et al.    | 28.98 | 31.09
            Whyte et al.  | 28.07 | 31.71
            Xu et al.     | 29.53 | 31.69
            the paper     | 28.02 | 31.23
        """),
    ),
    "3": Table(
        "Table 3, first version: blurring to deblur, on GoPro",
        (f"GoPro {_QUALITY}",),
        _rows("""
            DeblurGAN                      | 27.25/0.81
            DeblurGAN, resumed             | 27.57/0.83
            DeblurGAN, with Reblur2Deblur  | (28.03)/(0.90)
            DeblurGAN, the paper's loss    | 28.06/0.85
        """),
    ),
    "4": Table(
        "Table 4, first version: blur detection on CUHK, motion blur",
        ("CUHK mean average precision",),
        _rows("""
            Shi et al.       | 0.6944
            HiFST            | 0.7484
            Ma et al.        | (0.784)
            self-supervised  | (0.838)
            the paper        | 0.8199
        """),
    ),
}

TABLES = {"second": _SECOND, "first": _FIRST}
