# SPDX-License-Identifier: BSD-3-Clause
"""The bank of camera-shake kernels, each made when it is asked for."""

from typing import Any

from torch import Tensor

from blurops.fields import camera_shake_kernels


class KernelBank:
    """Half a million kernels of hand-held exposures, addressed by index and never stored.

    Carbajal et al. (section 4) train on 500,000 kernels of at most one second, their first version
    on 100,000 of one second. Kernel i is that of `blurops.fields.camera_shake_kernels`, which says
    how a hand trembles.

    Args:
        size: number of kernels.
        kernel_size: K, odd.
        exposure: seconds, or (low, high) to draw from uniformly.
        focal_length: in pixels.
        seed: which bank; banks of two seeds have no kernel in common.

    Raises:
        TypeError, ValueError: an argument is of another kind, or out of range.

    Example:
        >>> bank = KernelBank(seed=3)
        >>> len(bank), bank[499_999].shape
        (500000, torch.Size([33, 33]))
    """

    def __init__(
        self,
        size: int = 500_000,
        kernel_size: int = 33,
        *,
        exposure: float | tuple[float, float] = (0.05, 1.0),
        focal_length: float = 1000.0,
        seed: int = 0,
    ) -> None:
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"KernelBank: size must be a positive integer, got {size!r}")
        self.size, self.kernel_size = size, kernel_size
        self._options = {"exposure": exposure, "focal_length": focal_length, "seed": seed}
        self[0]  # an argument that is wrong says so now, not in the middle of an epoch

    @property
    def record(self) -> dict[str, Any]:
        """What it was made with, as JSON values."""
        exposure = self._options["exposure"]
        pair = list(exposure) if isinstance(exposure, tuple) else exposure
        own = {"size": self.size, "kernel_size": self.kernel_size}
        return {**own, **self._options, "exposure": pair}

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Tensor:
        """Kernel `index`, (K, K) float32 of unit sum, in correlation orientation."""
        if not 0 <= index < self.size:
            raise IndexError(f"KernelBank: index must be from 0 to {self.size - 1}, got {index}")
        return camera_shake_kernels(1, self.kernel_size, first=int(index), **self._options)[0]
