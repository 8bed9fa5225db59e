# SPDX-License-Identifier: BSD-3-Clause
"""`blurops evaluate basis_kernels`: tables from tiny datasets, and its experiments in miniature."""

import json

import numpy as np
import pytest
import torch
from scipy.io import savemat

from blurmodels.basis_kernels.deblurgan import DeblurGANGenerator
from blurmodels.basis_kernels.experiments.columns import COLUMNS
from blurmodels.basis_kernels.experiments.paper import TABLES
from blurmodels.basis_kernels.network import TwoHeadsNetwork
from blurmodels.evaluation import aligned_scores, plain_scores, shifted_scores
from blurops.cli import main
from blurops.images import write_image
from tests.cli.scenes import scene

pytest_plugins: list[str] = []
