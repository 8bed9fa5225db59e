# SPDX-License-Identifier: BSD-3-Clause
"""Really moving scenes: averages of high-speed frames, with summed optical flow as their motion.

Eboli et al., section 4.1: about ten consecutive frames of a GoPro video are averaged, and the flows
between each and the next, added up, stand for the straight motion of each pixel. They are
estimates: where the flow is wrong or the way is bent, so is the motion.
"""

import itertools
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blurmodels.datasets import read_colours
from blurmodels.irc.motion_data import NOISE, Example
from blurmodels.scenes import random_stream
from blurops.fields import MotionField

# A Middlebury file opens with this number, whose bytes read "PIEH".
_FLO = 202021.25
_FLO_SUFFIX = ".flo"

Flow = Callable[[Path, Path], Tensor]


def average_frames(frames: Sequence[Tensor], *, gamma: float = 1.0) -> Tensor:
    """What a camera records whose shutter is open during all these frames.

    Args:
        frames: images of one shape, values in [0, 1].
        gamma: light is values to this power. GoPro's blurred images of the paper average values,
            1.0; its `blur_gamma` has 2.2.
    """
    light = sum(frame.double() ** gamma for frame in frames) / len(frames)
    return (light ** (1 / gamma)).to(frames[0].dtype)


def summed_flow(flows: Sequence[Tensor]) -> MotionField:
    """The straight motions of an average of frames: the sum of the flows between them.

    N flows belong to N + 1 frames, during which a pixel that moves by d in all covers 1 + |d|
    pixels: the length of a straight motion as `blurops.motion_blur` counts it.

    Args:
        flows: (2, H, W) each, pixels (x right, y down) from each frame to the next.

    Returns:
        The field, (1, H, W).

    Example:
        >>> flows = [torch.tensor([1.5, -2.0])[:, None, None].expand(2, 4, 5)] * 2
        >>> field = summed_flow(flows)
        >>> round(float(field.length[0, 0, 0]), 4), round(math.degrees(field.angle[0, 0, 0]), 2)
        (6.0, 53.13)
    """
    x, y = sum(flow.double() for flow in flows)
    angle = torch.remainder(torch.atan2(-y, x), math.pi)
    return MotionField((1 + torch.hypot(x, y)).float()[None], angle.float()[None])


def estimated_flow(first: Path, second: Path) -> Tensor:
    """Optical flow between two frames by scikit-image's iterative Lucas-Kanade method.

    Args:
        first, second: image files of one size.

    Returns:
        (2, H, W) float32, pixels (x right, y down) that what is seen moves by.
    """
    from skimage.registration import optical_flow_ilk

    planes = [read_colours(path)[0].mean(0).numpy() for path in (first, second)]
    down, right = optical_flow_ilk(*planes, radius=7)
    return torch.from_numpy(np.stack([right, down]).astype(np.float32))


def flow_files(folder: str | os.PathLike[str]) -> Flow:
    """Flow out of Middlebury files, one for each frame: `FOLDER/SEQUENCE/FRAME.flo`.

    Args:
        folder: holds `GOPR0384_11_00/000001.flo`, the flow from that frame to the next, as
            FlowNet 2 for instance writes it.
    """
    root = Path(folder)

    def flow(first: Path, second: Path) -> Tensor:
        return read_flow(root / first.parent.name / (first.stem + _FLO_SUFFIX))

    return flow


def read_flow(path: str | os.PathLike[str]) -> Tensor:
    """A Middlebury flow file: `PIEH`, width and height as int32, then (H, W, 2) float32.

    Args:
        path: the file.

    Returns:
        (2, H, W) float32, pixels (x right, y down).

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no such file, or cut off.
    """
    content = Path(path).read_bytes()
    wanted = "be a Middlebury flow file"
    if len(content) < 12 or np.frombuffer(content[:4], "<f4")[0] != np.float32(_FLO):
        raise _refused(path, wanted, "another kind of file")
    width, height = np.frombuffer(content[4:12], "<i4").tolist()
    size = 12 + 8 * width * height
    if width < 1 or height < 1 or len(content) != size:
        raise _refused(path, f"{wanted} of {width} x {height}", f"{len(content)} bytes")
    values = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2)
    if not np.isfinite(values).all():
        raise _refused(path, "hold finite numbers", "NaN or infinity")
    return torch.from_numpy(values.transpose(2, 0, 1).astype(np.float32))


class AveragedFrames:
    """Averages of consecutive frames of high-speed videos, with the motion that their flow sums to.

    Args:
        videos: the frames of each, in their order, such as `blurmodels.datasets.gopro_frames`
            gives.
        size: (H, W), or one number for both, of a random crop; None takes whole frames.
        count: frames of an average; the paper takes about ten.
        max_length: longer motions are cut to this, pixels.
        flow: takes a frame's file and the next one's to the flow between them: `estimated_flow`, or
            what `flow_files` returns.
        noise: standard deviation of Gaussian noise in the values.
        gamma: of `average_frames`.
        seed: which frames, crops and noise.

    Raises:
        ValueError: no video has so many frames.
    """

    def __init__(
        self,
        videos: Sequence[Sequence[Path]],
        size: int | tuple[int, int] | None = 256,
        *,
        count: int = 10,
        max_length: float = 35.0,
        flow: Flow = estimated_flow,
        noise: float = NOISE,
        gamma: float = 1.0,
        seed: int = 0,
    ) -> None:
        if count < 2:
            raise ValueError(f"AveragedFrames: count must be at least 2, got {count}")
        self.starts = [
            (video, start)
            for video in map(tuple, videos)
            for start in range(0, len(video) - count + 1, count)
        ]
        if not self.starts:
            longest = max(map(len, videos), default=0)
            raise ValueError(
                f"AveragedFrames: videos must have {count} frames or more, got {longest} at most"
            )
        self.size = (size, size) if isinstance(size, int) else size
        self.count, self.max_length, self.flow = count, max_length, flow
        self.noise, self.gamma, self.seed = noise, gamma, seed
        self.record = self._record()

    def _record(self) -> dict[str, Any]:
        return {
            "kind": type(self).__name__,
            "videos": len({video for video, _ in self.starts}),
            "count": self.count,
            "size": self.size if self.size is None else list(self.size),
            "max_length": self.max_length,
            "noise": self.noise,
            "gamma": self.gamma,
            "seed": self.seed,
        }

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Example:
        """The frames from place `index` on, averaged."""
        epoch, place = divmod(index, len(self))
        order = random_stream(self.seed, "order", epoch).permutation(len(self))
        example = self._average(int(order[place]))
        random = random_stream(self.seed, "crops", index)
        observed, length, angle, sharp = example
        if self.size is not None:
            height, width = self._fitting(observed)
            top, left = (
                int(random.integers(have - want + 1))
                for have, want in zip(observed.shape[1:], (height, width), strict=True)
            )
            observed, length, angle, sharp = (
                part[..., top : top + height, left : left + width].contiguous() for part in example
            )
        draw = random.normal(size=observed.shape).astype(np.float32)
        return Example(observed + self.noise * torch.from_numpy(draw), length, angle, sharp)

    def _fitting(self, observed: Tensor) -> tuple[int, int]:
        if any(want > have for want, have in zip(self.size, observed.shape[1:], strict=True)):
            raise ValueError(
                f"AveragedFrames: size must be at most that of the frames, {observed.shape[2]} x"
                f" {observed.shape[1]}, got {self.size[1]} x {self.size[0]}"
            )
        return self.size

    def _average(self, number: int) -> Example:
        video, start = self.starts[number]
        paths = video[start : start + self.count]
        frames = [read_colours(path)[0].expand(3, -1, -1) for path in paths]
        flows = [self.flow(first, second) for first, second in itertools.pairwise(paths)]
        for path, flow in zip(paths, flows, strict=False):
            if flow.shape[1:] != frames[0].shape[1:]:
                got = f"{flow.shape[2]} x {flow.shape[1]}"
                raise _refused(path, "have a flow of its own size", got)
        # At fixed pixels and not along tracks, as the paper has it.
        field = summed_flow(flows)
        return Example(
            average_frames(frames, gamma=self.gamma),
            field.length[0].clamp(max=self.max_length),
            field.angle[0],
            frames[self.count // 2],
        )


def _refused(path: str | os.PathLike[str], requirement: str, got: str) -> ValueError:
    return ValueError(f"flow: '{os.fspath(path)}' must {requirement}, got {got}")
