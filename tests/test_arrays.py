# SPDX-License-Identifier: BSD-3-Clause
"""NumPy, CuPy and other DLPack arrays in, the same kind out."""

import numpy as np
import pytest
import torch

import blurops
from blurops.testing import Shape, family_tensors


def arguments():
    tensors = family_tensors(Shape(1, 2, 6, 7, 3, 3, 3), "reflect", torch.float64, 49)
    return [tensors[name].numpy() for name in ("image", "kernels", "mixing")]


def expected():
    return blurops.basis_blur(*map(torch.from_numpy, arguments())).numpy()


def test_numpy_in_numpy_out():
    result = blurops.basis_blur(*arguments())
    assert isinstance(result, np.ndarray)
    assert np.array_equal(result, expected())


def test_read_only_and_reversed_arrays():
    image, kernels, mixing = arguments()
    image.setflags(write=False)
    backwards = np.ascontiguousarray(kernels[..., ::-1, ::-1])[..., ::-1, ::-1]
    assert min(backwards.strides) < 0
    result = blurops.basis_blur(image, backwards, mixing=mixing)
    assert np.array_equal(result, expected())


def test_an_array_beside_tensors_decides_the_kind():
    image, kernels, mixing = arguments()
    result = blurops.basis_blur(torch.from_numpy(image), kernels, torch.from_numpy(mixing))
    assert isinstance(result, np.ndarray)


def test_a_producer_known_only_by_dlpack():
    """CuPy and JAX arrays are used through the protocol alone; so is this one."""

    class Array:
        def __init__(self, values):
            self.values = np.asarray(values)

        def __dlpack__(self, **keywords):
            return self.values.__dlpack__(**keywords)

        def __dlpack_device__(self):
            return self.values.__dlpack_device__()

        @classmethod
        def from_dlpack(cls, tensor):
            return cls(np.from_dlpack(tensor))

    result = blurops.basis_blur(*map(Array, arguments()))
    assert isinstance(result, Array)
    assert np.array_equal(result.values, expected())


def test_cupy_on_a_device():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not torch.cuda.is_available():
        pytest.skip("CuPy needs a CUDA device")
    result = blurops.basis_blur(*map(cupy.asarray, arguments()))
    assert isinstance(result, cupy.ndarray)
    assert np.allclose(result.get(), expected())


def test_complex_and_integer_arrays_are_refused_like_tensors():
    image, kernels, mixing = arguments()
    with pytest.raises(TypeError, match="image must have dtype"):
        blurops.basis_blur(image.astype(np.int64), kernels, mixing)
