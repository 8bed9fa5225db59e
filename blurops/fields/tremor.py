# SPDX-License-Identifier: BSD-3-Clause
"""Hand tremor: the motion of a hand-held camera, and the blur kernels it draws.

The physiological camera shake model of Gavant, Alacoque, Dupret and David (IEEE Sensors 2011) is
the source of the training kernels of Carbajal et al. (appendix A.3), after Delbracio and Sapiro
("Removing camera shake via weighted Fourier burst accumulation", IEEE TIP 2015). It models the
camera's acceleration as noise whose spectrum fits medical and photographic observations. Its fitted
numbers are not public, so this is a model of the same kind with our own numbers, each next to the
observation it rests on:

- **tremor**: a peak of the angular acceleration spectrum between 8 and 12 Hz. Physiological hand
  tremor has "a clear peak between 6 and 12 Hz", a mechanical resonance (Lakie et al., J. Physiol.
  593, 2015), of 0.0015 to 0.035 g, most often 0.01 g, at a frequency that varies by 2.5 Hz (Wade,
  Gresty and Findley, Arch. Neurol. 39, 1982);
- **drift**: slow wandering below about 1 Hz. A hand-held exposure is a nearly straight line when
  short and a random walk when long, which a velocity with a correlation time near a second gives.
"""

import math

import torch
from torch import Tensor

from blurops._check import message
from blurops.fields import _arguments as arguments
from blurops.fields._streams import stream
from blurops.fields.splat import render_paths

TREMOR_BAND = (8.0, 12.0)  # Hz, where a hand's peak frequency is drawn
TREMOR_WIDTH = 1.25  # Hz, standard deviation of the peak: a range of 2.5 Hz (Wade et al.)
# rad/s^2: 0.003 to 0.035 g at a lever arm of 0.1 m (ours: wrist to camera) as peak values, divided
# by sqrt(2); drawn log-uniformly, so the median is the 0.01 g that Wade et al. found most often.
TREMOR_ACCELERATION = (0.21, 2.43)
DRIFT_CORNER = 1.0  # Hz (ours)
# rad/s (ours). With the median tremor (0.011 rad/s) both axes move 0.03 rad/s, or 0.6 mrad in
# 1/50 s: one circle of confusion (0.03 mm) at 50 mm, the photographers' rule of one over the focal
# length.
DRIFT_SPEED = 0.018
_PERIOD = 16.0  # s: the signal is a Fourier series of this period
_BANDWIDTH = 24.0  # Hz: more than 9 standard deviations above the highest tremor peak
_RATE = 512  # steps per second: chords stay within 0.01 px of the path at 1000 px focal length


def tremor_spectrum(
    frequency: Tensor,
    *,
    peak: float = 10.0,
    acceleration: float = 0.7,
    drift: float = DRIFT_SPEED,
) -> Tensor:
    """One-sided power spectral density of the camera's angular acceleration about one axis.

    `S(f) = a^2 N(f; peak, 1.25 Hz) + (2 pi f)^2 v^2 c / (1 + (f / 1 Hz)^4)`, where N is the normal
    density, a the tremor's acceleration, v the drift's speed and `c = 2 sqrt(2) / pi` per Hz makes
    v^2 the variance of the drift's velocity. In the style of Gavant et al. (2011); the numbers
    are described in this module's docstring.

    Args:
        frequency: any shape, Hz.
        peak: centre of the tremor peak, Hz.
        acceleration: root mean square of the tremor's acceleration, rad/s^2.
        drift: root mean square of the drift's angular velocity, rad/s.

    Returns:
        The density in (rad/s^2)^2 / Hz, of the shape of `frequency`.

    Example:
        >>> frequency = torch.linspace(2, 20, 181)
        >>> round(float(frequency[tremor_spectrum(frequency).argmax()]), 1)
        10.0
    """
    tremor = torch.exp(-0.5 * ((frequency - peak) / TREMOR_WIDTH) ** 2)
    tremor = tremor * (acceleration**2 / (TREMOR_WIDTH * math.sqrt(2 * math.pi)))
    velocity = drift**2 * (2 * math.sqrt(2) / (math.pi * DRIFT_CORNER))
    drift_density = velocity / (1 + (frequency / DRIFT_CORNER) ** 4)
    return tremor + (2 * math.pi * frequency) ** 2 * drift_density


def hand_tremor(duration: float, steps: int, *, seed: int = 0, index: int = 0) -> Tensor:
    """The wandering of a hand-held camera: rotation vectors at equal time steps.

    A Gaussian signal with the spectrum of `tremor_spectrum` on each axis, as a Fourier series with
    random coefficients (period 16 s, up to 24 Hz). Each hand, that is each `(seed, index)`, has one
    tremor frequency, drawn from 8 to 12 Hz, and on each axis its own tremor strength, drawn
    log-uniformly. A longer exposure continues the same motion. The mean pose is 0. Roll is as
    strong as pitch and yaw.

    Args:
        duration: exposure in seconds, above 0 and at most 8.
        steps: number of time steps, at least 1.
        seed: which set of motions.
        index: which motion of the set; it does not depend on the others.

    Returns:
        (steps + 1, 3) float64 rotation vectors (roll, pitch, yaw) in radians, as
        `CameraMotion.rotation` takes them.

    Raises:
        ValueError: `duration`, `steps`, `seed` or `index` out of range.

    Example:
        >>> hand_tremor(0.5, 100, seed=1).shape
        torch.Size([101, 3])
    """
    duration = _exposure("hand_tremor", "duration", duration)
    steps = arguments.positive_int("hand_tremor", "steps", steps)
    index = arguments.whole("hand_tremor", "index", index, 0)
    generator = stream(arguments.seed("hand_tremor", seed), "hand tremor", index)
    return _centre(_angles(duration, steps, generator))


def camera_shake_kernels(
    count: int,
    kernel_size: int = 33,
    *,
    exposure: float | tuple[float, float] = 1.0,
    focal_length: float = 1000.0,
    strength: float = 1.0,
    seed: int = 0,
    first: int = 0,
) -> Tensor:
    """Blur kernels of hand-held exposures, drawn by a physiological hand tremor.

    Kernel i, the first of which is `first`, is the path of the pitch and yaw of
    `hand_tremor(..., index=i)` at the image centre,
    `x = focal_length * yaw, y = -focal_length * pitch`, rendered by `render_paths`: exact sub-pixel
    splatting along the path. Carbajal et al. (appendix A.3) use exposures of at most one second and
    keep kernels whose support lies inside K x K. Here a path that leaves the kernel is scaled
    down about its centroid until it touches the border, so that every index has a kernel.

    Args:
        count: number of kernels.
        kernel_size: K, odd; at least 3.
        exposure: seconds, above 0 and at most 8, or a range (low, high) to draw from uniformly.
        focal_length: in pixels; 1000 is a 28 mm (full-frame) lens on a picture 1280 pixels wide.
        strength: multiplies the motion; 0 gives deltas.
        seed: which set of kernels. Kernel i of a seed depends on neither `count` nor `first`.
        first: index of the first kernel, so that any part of a large set can be made alone.

    Returns:
        (count, K, K) float32, non-negative, each of unit sum and with its centroid at the centre,
        in correlation orientation.

    Raises:
        TypeError, ValueError: an argument is not a number, or out of range.

    Example:
        >>> kernels = camera_shake_kernels(3, 33, seed=7)
        >>> torch.equal(kernels[:2], camera_shake_kernels(2, 33, seed=7))
        True
    """
    name = "camera_shake_kernels"
    count = arguments.positive_int(name, "count", count)
    kernel_size = arguments.odd(name, "kernel_size", kernel_size)
    if kernel_size < 3:
        raise ValueError(message(name, "kernel_size", "be at least 3", kernel_size))
    low, high = _exposure_range(name, exposure)
    scale = arguments.real(name, "focal_length", focal_length, above=0)
    scale *= arguments.real(name, "strength", strength, least=0)
    seed = arguments.seed(name, seed)
    first = arguments.whole(name, "first", first, 0)
    kernels = torch.empty(count, kernel_size, kernel_size)
    for index in range(first, first + count):
        duration = low
        if high > low:
            draw = torch.rand((), generator=stream(seed, "exposure", index), dtype=torch.float64)
            duration += (high - low) * float(draw)
        angles = _angles(duration, math.ceil(_RATE * duration), stream(seed, "hand tremor", index))
        path = _centre(angles[:, [2, 1]] * torch.tensor([scale, -scale], dtype=torch.float64))
        reach = float(path.abs().max())
        if reach > kernel_size // 2:
            path *= (kernel_size // 2) / reach
        kernels[index - first] = render_paths(path[None], kernel_size)[0]
    return kernels


def _angles(duration: float, steps: int, generator: torch.Generator) -> Tensor:
    """(steps + 1, 3) angles from time 0 to `duration`, before centring."""
    low, high = TREMOR_BAND
    draw = torch.rand(4, generator=generator, dtype=torch.float64)
    peak = low + (high - low) * float(draw[0])
    weak, strong = TREMOR_ACCELERATION
    frequency = torch.arange(1, int(_BANDWIDTH * _PERIOD) + 1, dtype=torch.float64) / _PERIOD
    power = torch.stack(
        [
            tremor_spectrum(frequency, peak=peak, acceleration=weak * (strong / weak) ** float(u))
            for u in draw[1:]
        ],
        dim=-1,
    )
    omega = 2 * math.pi * frequency
    # A harmonic of the angle carries the acceleration's power in its bin, 1 / period wide, over
    # omega^4.
    amplitude = (power / _PERIOD).sqrt() / omega[:, None] ** 2
    coefficients = torch.randn(2, *amplitude.shape, generator=generator, dtype=torch.float64)
    time = torch.linspace(0, duration, steps + 1, dtype=torch.float64)
    phase = time[:, None] * omega
    return phase.cos() @ (coefficients[0] * amplitude) + phase.sin() @ (coefficients[1] * amplitude)


def _centre(path: Tensor) -> Tensor:
    """Moves a polyline (T, D) so that its mean over time, the trapezoidal rule, is 0."""
    return path - (path[:-1] + path[1:]).mean(0) / 2


def _exposure(function: str, argument: str, value: float) -> float:
    value = arguments.real(function, argument, value, above=0)
    if value > _PERIOD / 2:
        raise ValueError(message(function, argument, f"be at most {_PERIOD / 2:g} seconds", value))
    return value


def _exposure_range(function: str, exposure: float | tuple[float, float]) -> tuple[float, float]:
    """The (low, high) of an exposure given as one number or as a range."""
    if not isinstance(exposure, (tuple, list)):
        exposure = (exposure, exposure)
    if len(exposure) != 2:
        raise ValueError(message(function, "exposure", "be seconds or (low, high)", exposure))
    low, high = (_exposure(function, "exposure", value) for value in exposure)
    if low > high:
        raise ValueError(message(function, "exposure", "be (low, high), low first", exposure))
    return low, high
