# SPDX-License-Identifier: BSD-3-Clause
"""Blur fields: made, observed, saved, loaded and drawn.

Everything random is drawn from streams of its own, addressed by seed; torch's global generator is
never touched. Kernels are in correlation orientation, see `blurops.fields.motion`.
"""

from blurops.fields.field import BlurField
from blurops.fields.files import load_field, save_field
from blurops.fields.generate import camera_motion_field, camera_shake_field, moving_objects_field
from blurops.fields.kernel_field import (
    DenseKernelField,
    KernelField,
    LayeredKernelField,
    MotionKernelField,
    UniformKernelField,
)
from blurops.fields.linear_motion import linear_motion_kernel
from blurops.fields.mixing import segment_mixing, smooth_mixing
from blurops.fields.motion import CameraMotion, ObjectMotion
from blurops.fields.motion_bank import (
    bank_motions,
    interpolate_motion,
    linear_motion_bank,
    motion_labels,
)
from blurops.fields.motion_files import MotionField, load_motion_field, save_motion_field
from blurops.fields.observe import observe
from blurops.fields.plots import ErrorCurve, plot_basis, plot_error_curve, plot_kernel_field
from blurops.fields.reduce import ReductionError, error_curve, reduce_kernel_field
from blurops.fields.splat import render_paths
from blurops.fields.tremor import camera_shake_kernels, hand_tremor, tremor_spectrum

__all__ = [
    "BlurField",
    "CameraMotion",
    "DenseKernelField",
    "ErrorCurve",
    "KernelField",
    "LayeredKernelField",
    "MotionField",
    "MotionKernelField",
    "ObjectMotion",
    "ReductionError",
    "UniformKernelField",
    "bank_motions",
    "camera_motion_field",
    "camera_shake_field",
    "camera_shake_kernels",
    "error_curve",
    "hand_tremor",
    "interpolate_motion",
    "linear_motion_bank",
    "linear_motion_kernel",
    "load_field",
    "load_motion_field",
    "motion_labels",
    "moving_objects_field",
    "observe",
    "plot_basis",
    "plot_error_curve",
    "plot_kernel_field",
    "reduce_kernel_field",
    "render_paths",
    "save_field",
    "save_motion_field",
    "segment_mixing",
    "smooth_mixing",
    "tremor_spectrum",
]
