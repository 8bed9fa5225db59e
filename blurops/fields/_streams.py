# SPDX-License-Identifier: BSD-3-Clause
"""Random streams addressed by seed, purpose and index; torch's global one is never touched."""

import zlib

import torch

_MASK32, _MASK64 = (1 << 32) - 1, (1 << 64) - 1


def stream(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator of its own for item `index` of the stream `purpose` under `seed`.

    What item i draws never depends on how many items are asked for. torch's CPU generator keeps the
    low 32 bits of its seed only, so these are filled by a bijection of the index: two items of one
    stream never share a state (up to 2**32 items), as they would for about one pair in a hundred
    thousand items if the bits were hashed freely.

    Args:
        seed: the user's seed, 0 to 2**63 - 1.
        purpose: names what is drawn, so that kernels and mixing maps of one seed are independent.
        index: which item of the stream.
    """
    key = _mix64(seed ^ _mix64(zlib.crc32(purpose.encode())))
    state = _mix32((index ^ key) & _MASK32) ^ (key >> 32)
    return torch.Generator().manual_seed(state)


def _mix64(value: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection of 64 bits."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)


def _mix32(value: int) -> int:
    """The finaliser of MurmurHash3 (Appleby, public domain): a bijection of 32 bits."""
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & _MASK32
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & _MASK32
    return value ^ (value >> 16)
