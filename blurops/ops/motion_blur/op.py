# SPDX-License-Identifier: BSD-3-Clause
"""Motion blur, its adjoint and its derivatives by length and angle, declared.

``s = sum grad * motion_blur(image, length, angle)`` is linear in grad and image, and has first
derivatives by length and angle almost everywhere. Those are ops too, again linear in grad and
image; the two ``tangent`` ops are their derivatives by these. Second derivatives by length and
angle do not exist: the weights have kinks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from blurops._interop import array_function
from blurops._register import declare
from blurops.ops.motion_blur import backward, shapes

_OPTIONS = (
    '*, str caps="fspecial", str boundary="reflect", str method="auto", str precision="default", '
    "str? backend=None"
)
_MAPS = "Tensor length, Tensor angle"
_BACKENDS = ("native", "triton", "reference")


class _Refuse(torch.autograd.Function):
    """A map that may be used, but not differentiated by."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        refuse()


class _Attach(torch.autograd.Function):
    """A result, in whose graph other tensors stand as well."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, *others: Tensor) -> Tensor:
        ctx.count = len(others)
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return grad, *[None] * ctx.count


def refuse() -> None:
    """Raise: there are no second derivatives by length and angle."""
    raise NotImplementedError(
        "motion_blur: derivatives must be of first order in length and angle together, got a "
        "second one (the weights have kinks); detach length and angle, or the first derivative"
    )


def _once(op: Callable[..., Tensor], tensors: tuple, maps: tuple, rest: tuple, **options: Any):
    """An op of length and angle whose result raises only where it is differentiated by them.

    A formula cannot know which of its gradients will be used: raising in it would also forbid the
    mixed derivatives by the images.
    """
    if torch.compiler.is_compiling() or not (
        torch.is_grad_enabled() and any(m.requires_grad for m in maps)
    ):
        return op(*tensors, *maps, *rest, **options)
    result = op(*tensors, *(m.detach() for m in maps), *rest, **options)
    return _Attach.apply(result, *(_Refuse.apply(m) for m in maps))


def _map_gradients(
    grad: Tensor, image: Tensor, length: Tensor, angle: Tensor, needs: tuple, options: dict
) -> tuple:
    """Derivatives of s by length and angle: in one sweep where both are wanted but no more."""
    if all(needs) and not torch.is_grad_enabled() and backward.can(grad, length, angle, options):
        return backward.gradients(grad, image, length, angle, options)
    given = ((grad, image), (length, angle), ())
    return (
        _once(_grad_length, *given, **options) if needs[0] else None,
        _once(_grad_angle, *given, **options) if needs[1] else None,
    )


def _elsewhere(options: dict) -> dict:
    """Second derivatives have no kernels of their own in the compiled backends."""
    return {**options, "backend": None}


def _blur_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    image, length, angle = inputs
    size = image.shape[-2:]
    return (
        _adjoint(grad, length, angle, size, **options) if needs[0] else None,
        *_map_gradients(grad, image, length, angle, needs[1:], options),
    )


def _adjoint_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    blurred, length, angle, _ = inputs
    return (
        _blur(grad, length, angle, **options) if needs[0] else None,
        *_map_gradients(blurred, grad, length, angle, needs[1:3], options),
        None,
    )


def _gradient_backward(by: str) -> Callable[..., tuple]:
    def backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
        blurred, image, length, angle = inputs
        if needs[2] or needs[3]:
            refuse()
        options, size = _elsewhere(options), image.shape[-2:]
        return (
            _tangent(image, length, angle, grad, by, **options) if needs[0] else None,
            _tangent_adjoint(blurred, length, angle, grad, by, size, **options)
            if needs[1]
            else None,
            None,
            None,
        )

    return backward


def _tangent_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    image, length, angle, rate, by = inputs
    if needs[1] or needs[2]:
        refuse()
    gradient, size = _grad_length if by == "length" else _grad_angle, image.shape[-2:]
    return (
        _tangent_adjoint(grad, length, angle, rate, by, size, **options) if needs[0] else None,
        None,
        None,
        gradient(grad, image, length, angle, **options) if needs[3] else None,
        None,
    )


def _tangent_adjoint_backward(grad: Tensor, inputs: tuple, needs: tuple, options: dict) -> tuple:
    blurred, length, angle, rate, by, _ = inputs
    if needs[1] or needs[2]:
        refuse()
    gradient = _grad_length if by == "length" else _grad_angle
    return (
        _tangent(grad, length, angle, rate, by, **options) if needs[0] else None,
        None,
        None,
        gradient(blurred, grad, length, angle, **options) if needs[3] else None,
        None,
        None,
    )


_blur = declare(
    f"motion_blur(Tensor image, {_MAPS}, {_OPTIONS}) -> Tensor",
    shape=shapes.motion_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_blur_backward,
    values=shapes.motion_values,
)
_adjoint = declare(
    f"motion_blur_adjoint(Tensor image, {_MAPS}, SymInt[]? size=None, {_OPTIONS}) -> Tensor",
    shape=shapes.adjoint_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_adjoint_backward,
    values=shapes.adjoint_values,
)
_grad_length = declare(
    f"motion_blur_grad_length(Tensor grad, Tensor image, {_MAPS}, {_OPTIONS}) -> Tensor",
    shape=shapes.grad_length_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_gradient_backward("length"),
    values=shapes.gradient_values,
)
_grad_angle = declare(
    f"motion_blur_grad_angle(Tensor grad, Tensor image, {_MAPS}, {_OPTIONS}) -> Tensor",
    shape=shapes.grad_angle_shape,
    package=__package__,
    backends=_BACKENDS,
    backward=_gradient_backward("angle"),
    values=shapes.gradient_values,
)
_tangent = declare(
    f"motion_blur_tangent(Tensor image, {_MAPS}, Tensor rate, str by, {_OPTIONS}) -> Tensor",
    shape=shapes.tangent_shape,
    package=__package__,
    backends=("reference",),
    backward=_tangent_backward,
    values=shapes.motion_values,
)
_tangent_adjoint = declare(
    f"motion_blur_tangent_adjoint(Tensor image, {_MAPS}, Tensor rate, str by, "
    f"SymInt[]? size=None, {_OPTIONS}) -> Tensor",
    shape=shapes.tangent_adjoint_shape,
    package=__package__,
    backends=("reference",),
    backward=_tangent_adjoint_backward,
    values=shapes.adjoint_values,
)


@array_function
def motion_blur(
    image: Tensor,
    length: Tensor,
    angle: Tensor,
    *,
    caps: str = "fspecial",
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Blur every pixel along a straight motion of its own.

    ``out[p] = sum_u a_p(u) image[p + u] / sum_u a_p(u)``, where a_p(u) is the weight of a line of
    the pixel's length and angle (Eboli, Sun and Ponce, "Neural Embedding of an Iterative
    Deconvolution Algorithm for Motion Blur Estimation and Removal"; the line is that of MATLAB's
    ``fspecial('motion')``, see :func:`blurops.linear_motion_kernel`). The weights are symmetric, so
    correlation and convolution are the same.

    Args:
        image: (N, C, H, W) any real values, normally linear light.
        length: (N or 1, H, W) in pixels, at least 1; 1 is no motion and leaves the pixel as it is.
            Any real number, and as long as you like.
        angle: (N or 1, H, W) in radians, counter-clockwise from the right with y upwards; period
            pi.
        caps: how the line ends. ``"fspecial"`` is MATLAB's rule, which jumps a little as the length
            grows; ``"segment"`` weighs by ``max(0, 1 - distance to the segment)``, which is
            continuous: prefer it where length is learnt.
        boundary: what lies outside the image: ``"reflect"`` (needs a length of at most 2 min(H, W)
            - 1), ``"replicate"``, ``"circular"``, ``"zeros"``, or ``"valid"``: length and angle are
            then smaller than the image by an even number of rows and columns, 2 m each, and no
            motion may be longer than 2 m + 1.
        method: ``"direct"`` and ``"auto"`` sum over the line; there are no spectra to use.
        precision: as in :func:`blurops.basis_blur`.
        backend: ``"native"``, ``"triton"``, ``"reference"``, or ``None`` for the first that can
            serve the call.

    Returns:
        (N, C, H, W) blurred image, of the size of length and angle, fresh and contiguous, of the
        inputs' dtype. float16 and bfloat16 are accumulated in float32; as storage of an angle,
        bfloat16 is coarse.

    Raises:
        TypeError: an argument is not a floating-point tensor, or the dtypes differ. ValueError: a
        shape or an option is not one of those above, a length is below 1 or too long for the
        boundary, length or angle are not finite, or the devices differ. NotImplementedError: the
        backend asked for cannot run this call.

    Note:
        Differentiable to any order in image. By length and angle there are first derivatives almost
        everywhere, and mixed ones with image; a second one by length or angle raises. At length 1
        the derivative by length is the one from the right. No pixel's kernel is stored: the window,
        as wide as the longest motion, is found in the data on the CPU. On a GPU, lengths are
        clamped to what is allowed instead of waiting for the device, and a length or angle that is
        NaN or infinite makes NaN of its own pixel, in the gradients and the adjoint too;
        :func:`blurops.testing.checked` makes them raise.

    Example:
        >>> import torch, blurops
        >>> image = torch.tensor([0.0, 0, 9, 0, 0, 0]).reshape(1, 1, 1, 6)
        >>> length = torch.tensor([3.0, 3, 3, 3, 1, 1]).reshape(1, 1, 6)
        >>> angle = torch.zeros(1, 1, 6)
        >>> blurops.motion_blur(image, length, angle, boundary="replicate")
        tensor([[[[0., 3., 3., 3., 0., 0.]]]])
    """
    return _blur(
        image, length, angle,
        caps=caps, boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip


@array_function
def motion_blur_adjoint(
    image: Tensor,
    length: Tensor,
    angle: Tensor,
    size: Sequence[int] | None = None,
    *,
    caps: str = "fspecial",
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Apply the exact transpose of :func:`motion_blur`: every pixel spreads along its own motion.

    ``out[q] = sum_p sum_{u : p + u lands on q} a_p(u) image[p] / sum_u a_p(u)``: each term has the
    weight, and the sum of weights, of the pixel that **contributes** it, and every border is folded
    back exactly as the boundary read it.

    Args:
        image: (N, C, H, W) what to apply the transpose to, of the blurred size.
        length: (N or 1, H, W) in pixels, that of the blur itself.
        angle: (N or 1, H, W) in radians, that of the blur itself.
        size: (H, W) of the sharp image, for boundary ``"valid"``; otherwise it is that of image.
        caps, boundary, method, precision, backend: as in :func:`motion_blur`.

    Returns:
        (N, C, H, W), of the sharp size.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`motion_blur`.

    Example:
        >>> import torch, blurops
        >>> length, angle = 1 + 6 * torch.rand(1, 9, 8), 3 * torch.rand(1, 9, 8)
        >>> x, y = torch.rand(2, 1, 3, 9, 8)
        >>> left = (blurops.motion_blur(x, length, angle) * y).sum()
        >>> right = (x * blurops.motion_blur_adjoint(y, length, angle)).sum()
        >>> bool(torch.isclose(left, right))
        True
    """
    return _adjoint(
        image, length, angle, size,
        caps=caps, boundary=boundary, method=method, precision=precision, backend=backend,
    )  # fmt: skip


@array_function
def motion_blur_grad_length(
    grad: Tensor,
    image: Tensor,
    length: Tensor,
    angle: Tensor,
    *,
    caps: str = "fspecial",
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Derivative of ``sum(grad * motion_blur(image, length, angle))`` by the length.

    With ``a`` the weights, ``Z`` their sum and ``S(u) = sum_c grad_c[p] image_c[p + u]``, it is
    ``(sum_u a'(u) S(u) - Z'/Z sum_u a(u) S(u)) / Z`` at pixel p. It exists almost everywhere; the
    jumps of caps ``"fspecial"`` are left out.

    Args:
        grad: (N, C, H, W) gradient of the blurred image.
        image: (N, C, H, W) sharp image.
        length: (N or 1, H, W) in pixels.
        angle: (N or 1, H, W) in radians.
        caps, boundary, method, precision, backend: as in :func:`motion_blur`.

    Returns:
        The shape of length, per pixel of length; summed over the batch where it was shared.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`motion_blur`.

    Example:
        >>> import torch, blurops
        >>> one, maps = torch.ones(2, 3, 5, 6), torch.full((1, 5, 6), 2.5)
        >>> slope = blurops.motion_blur_grad_length(one, one, maps, maps)
        >>> slope.shape, bool(slope.abs().max() < 1e-5)  # a constant image stays constant
        (torch.Size([1, 5, 6]), True)
    """
    options = {"boundary": boundary, "method": method, "precision": precision, "backend": backend}
    return _once(_grad_length, (grad, image), (length, angle), (), caps=caps, **options)


@array_function
def motion_blur_grad_angle(
    grad: Tensor,
    image: Tensor,
    length: Tensor,
    angle: Tensor,
    *,
    caps: str = "fspecial",
    boundary: str = "reflect",
    method: str = "auto",
    precision: str = "default",
    backend: str | None = None,
) -> Tensor:
    """Derivative of ``sum(grad * motion_blur(image, length, angle))`` by the angle.

    As :func:`motion_blur_grad_length`, with the derivative of the weights by the angle.

    Args:
        grad: (N, C, H, W) gradient of the blurred image.
        image: (N, C, H, W) sharp image.
        length: (N or 1, H, W) in pixels.
        angle: (N or 1, H, W) in radians.
        caps, boundary, method, precision, backend: as in :func:`motion_blur`.

    Returns:
        The shape of angle, per radian; summed over the batch where it was shared.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`motion_blur`.

    Example:
        >>> import torch, blurops
        >>> one, maps = torch.ones(2, 3, 5, 6), torch.full((1, 5, 6), 2.5)
        >>> blurops.motion_blur_grad_angle(one, one, maps, maps).shape
        torch.Size([1, 5, 6])
    """
    options = {"boundary": boundary, "method": method, "precision": precision, "backend": backend}
    return _once(_grad_angle, (grad, image), (length, angle), (), caps=caps, **options)
