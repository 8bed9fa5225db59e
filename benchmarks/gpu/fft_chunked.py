# SPDX-License-Identifier: BSD-3-Clause
"""cuFFT through CuPy, as many bases per call as fit into the device's cache.

Plans are kept, kernel spectra prepared. Without CuPy, and in tests, NumPy and SciPy stand in.
"""

import contextlib
import importlib
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from benchmarks.borders import extend, fold
from benchmarks.contenders.base import Call, Contender, fastest, good_length
from benchmarks.inputs import Inputs

_CHUNKS = (1, 2, 4, 8, 32)


def modules(device: torch.device) -> tuple[ModuleType, ModuleType]:
    """Arrays and transforms for tensors of a device."""
    if device.type == "cuda":
        return importlib.import_module("cupy"), importlib.import_module("cupyx.scipy.fft")
    return importlib.import_module("numpy"), importlib.import_module("scipy.fft")


class ChunkedFFT:
    """The blur of one kernel set and mixing, ``chunk`` bases per call of the transforms.

    Args:
        kernels: (B, K, K).
        mixing: (B, H, W).
        chunk: bases per call.
    """

    def __init__(self, kernels: Tensor, mixing: Tensor, chunk: int) -> None:
        self._arrays, self._fft = modules(kernels.device)
        self._size, self._side = tuple(mixing.shape[-2:]), kernels.shape[-1]
        self._grown = tuple(n + self._side - 1 for n in self._size)
        self._lengths = tuple(good_length(n) for n in self._grown)
        spectra = self._transform(self._array(kernels))
        bounds = range(0, len(kernels), chunk)
        self._parts = [
            (spectra[b : b + chunk], self._array(mixing[b : b + chunk].contiguous()))
            for b in bounds
        ]

    def on_stream(self):
        """CuPy queues where torch does."""
        if self._arrays.__name__ != "cupy":
            return contextlib.nullcontext()
        return self._arrays.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream)

    def _array(self, tensor: Tensor):
        return self._arrays.asarray(tensor.detach())

    def _transform(self, planes):
        return self._fft.rfft2(planes, s=self._lengths, axes=(-2, -1))

    def _inverse(self, spectra):
        return self._fft.irfft2(spectra, s=self._lengths, axes=(-2, -1))

    def forward(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        height, width = self._size
        spectrum = self._transform(self._array(extend(image, self._side // 2)))[:, None]
        total = 0
        for spectra, coefficients in self._parts:
            responses = self._inverse(spectrum * spectra.conj())[..., :height, :width]
            total = total + (responses * coefficients).sum(1)
        return torch.as_tensor(total, device=image.device)

    def adjoint(self, image: Tensor) -> Tensor:
        """(C, H, W) -> (C, H, W)."""
        planes, total = self._array(image)[:, None], 0
        for spectra, coefficients in self._parts:
            total = total + (self._transform(planes * coefficients) * spectra).sum(1)
        rows, columns = self._grown
        extended = self._arrays.ascontiguousarray(self._inverse(total)[:, :rows, :columns])
        return fold(torch.as_tensor(extended, device=image.device), self._side // 2)


def _prepare(member: str) -> Callable[[Inputs], Call]:
    def prepare(inputs: Inputs) -> Call:
        image = (inputs.image if member == "forward" else inputs.grad)[0]

        def prepared(chunk: int) -> Call:
            blur = ChunkedFFT(inputs.kernels[0], inputs.mixing[0], chunk)

            def call() -> list[Tensor]:
                with blur.on_stream():
                    return [getattr(blur, member)(image)[None]]

            return call

        return fastest(inputs.case.size, [lambda chunk=chunk: prepared(chunk) for chunk in _CHUNKS])

    return prepare


CONTENDER = Contender(
    name="cuFFT chunked (CuPy)",
    about="Several bases per transform, the fastest of five numbers; kernel spectra prepared.",
    members={"forward": _prepare("forward"), "adjoint": _prepare("adjoint")},
)
