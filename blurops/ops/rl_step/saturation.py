# SPDX-License-Identifier: BSD-3-Clause
"""What a restoration knows about the sensor's ceiling."""

from dataclasses import dataclass

from blurops import _check
from blurops.ops.saturate.op import check_response


@dataclass(frozen=True)
class Saturation:
    """The sensor's response, and how bright pixels are kept apart from reliable ones.

    The update splits the estimate into a reliable set U (below ``threshold``) and a bright set S,
    and keeps the data that lost information to the ceiling out of U's update (Carbajal et al., eqs.
    11-13, after Whyte). ``z0`` is the membership of U, ``z`` marks the blurred pixels that U may
    learn from.

    Args:
        a: sharpness of the response's bend, positive.
        level: the sensor's ceiling, in linear light.
        threshold: positive; estimates from here on belong to S. :func:`blurops.richardson_lucy`
            reads it in the values it is given (before gamma is undone), :func:`blurops.rl_step` in
            linear light. ``math.inf`` leaves S empty, and the whole image is then updated at once,
            with the response.
        erode: a pixel stays in U only if its 3x3 neighbourhood inside the image is all in U.
        smooth: soften the border between the sets by a 3x3 mean over the pixels inside the image.
        dilate: ``True``, the paper's meaning: z is 0 at a blurred pixel when more than a quarter of
            its (unit-sum) kernel lies on S, and 1 elsewhere. ``False``, what the authors' command
            line runs: z = z0.

    Raises:
        ValueError: ``a`` or ``threshold`` is not positive, or ``a`` or ``level`` is not finite.
    """

    a: float = 50.0
    level: float = 1.0
    threshold: float = 0.99
    erode: bool = True
    smooth: bool = True
    dilate: bool = True

    def __post_init__(self) -> None:
        check_response("Saturation", self.a, self.level)
        if not self.threshold > 0:
            raise ValueError(
                _check.message("Saturation", "threshold", "be positive", self.threshold)
            )
