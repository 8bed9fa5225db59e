# SPDX-License-Identifier: BSD-3-Clause
"""Reblur consistency: a restored image, blurred again, must give the photograph back.

Carbajal et al., section 7.3 ("Blurring to Deblur"): any deblurring network is fine-tuned with this
loss beside its own, the blur field being estimated from the blurred photograph alone.
"""

import torch
from torch import Tensor, nn

import blurops
from blurops.fields import BlurField

_LOSSES = ("l2", "l1")
# A quarter of a level of 8 bits: the power 1 / gamma has an infinite slope at 0.
_DARKEST = 1e-3


class ReblurLoss(nn.Module):
    """The loss `mean |R(H restored^gamma)^(1/gamma) - blurred|^p` of a restored image.

    H is the blur that the kernels and mixing coefficients describe (eq. 2), R the sensor's response
    (eq. 4). Gradients reach the restored image, and nothing else: kernels, mixing and the blurred
    image are held fixed, even where they require gradients.

    Args:
        gamma: linear light = value ** gamma; 1 for values that are linear already.
        saturation: the sensor, whose `a` and `level` are used; None for one without a ceiling.
        boundary: of H; the paper's estimator has "reflect". With "valid" the outermost pixels,
            which would need light from outside the image, do not count.
        loss: "l2", the mean of squares, or "l1".

    Raises:
        ValueError: an argument is out of range.

    Note:
        The restored image is clamped at 0.001, a quarter of a level of 8 bits, before it is raised
        to the power gamma: below, there is no gradient. Memory does not grow with the number of
        kernels.

    Example:
        >>> from blurops.fields import camera_shake_field
        >>> field = camera_shake_field(40, 48, basis_size=3, kernel_size=9)
        >>> sharp = torch.rand(1, 3, 40, 48)
        >>> loss = ReblurLoss()
        >>> blurred = loss.reblur(sharp, field.kernels, field.mixing)
        >>> float(loss(sharp, blurred, field.kernels, field.mixing)) == 0
        True
        >>> float(loss(blurred, blurred, field.kernels, field.mixing)) > 1e-4
        True
    """

    def __init__(
        self,
        *,
        gamma: float = 2.2,
        saturation: blurops.Saturation | None = blurops.Saturation(),  # noqa: B008
        boundary: str = "reflect",
        loss: str = "l2",
    ) -> None:
        super().__init__()
        if not isinstance(gamma, int | float) or not 0 < gamma < float("inf"):
            raise ValueError(f"ReblurLoss: gamma must be positive and finite, got {gamma!r}")
        if loss not in _LOSSES:
            raise ValueError(f"ReblurLoss: loss must be one of {', '.join(_LOSSES)}, got {loss!r}")
        self.gamma, self.saturation, self.boundary, self.loss = gamma, saturation, boundary, loss

    @classmethod
    def for_field(cls, field: BlurField, **options: object) -> "ReblurLoss":
        """The loss with the gamma and the boundary that a field was made for."""
        given = {"gamma": field.meta["gamma"], "boundary": field.boundary, **options}
        return cls(**given)

    def reblur(self, restored: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
        """The photograph that would have been taken of the restored image.

        Args:
            restored: (N, C, H, W), nominally in [0, 1].
            kernels: (N or 1, B, Kh, Kw), correlated with the image.
            mixing: (N or 1, B, H, W), of the blurred size.

        Returns:
            `R(H restored^gamma)^(1/gamma)`, of the blurred size.
        """
        light = restored.clamp(min=_DARKEST) ** self.gamma
        light = blurops.basis_blur(light, kernels, mixing, boundary=self.boundary)
        if self.saturation is not None:
            light = blurops.saturate(light, self.saturation.a, self.saturation.level)
        return light.clamp(min=_DARKEST**self.gamma) ** (1 / self.gamma)

    def forward(self, restored: Tensor, blurred: Tensor, kernels: Tensor, mixing: Tensor) -> Tensor:
        """The loss.

        Args:
            restored: (N, C, H, W), what a network made of the blurred image.
            blurred: the photograph, of the same shape; with boundary "valid" its middle is used.
            kernels: (N or 1, B, Kh, Kw).
            mixing: (N or 1, B, H, W), of the blurred size.

        Returns:
            A scalar.

        Raises:
            TypeError, ValueError: the shapes do not fit each other.
        """
        if blurred.shape != restored.shape:
            raise ValueError(
                f"ReblurLoss: blurred must have the restored image's shape {tuple(restored.shape)},"
                f" got {tuple(blurred.shape)}"
            )
        again = self.reblur(restored, kernels.detach(), mixing.detach())
        difference = again - _middle(blurred.detach(), again.shape)
        return difference.square().mean() if self.loss == "l2" else difference.abs().mean()


def _middle(image: Tensor, shape: torch.Size) -> Tensor:
    (height, width), (rows, columns) = image.shape[2:], shape[2:]
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[:, :, top : top + rows, left : left + columns]
