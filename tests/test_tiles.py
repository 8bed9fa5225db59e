# SPDX-License-Identifier: BSD-3-Clause
"""The tile method of the native family: every length, part, size, border, dtype and sharing."""

import os
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import blurops
from benchmarks.memory import measure
from blurops._check import BOUNDARIES, DTYPES
from blurops.ops.basis_blur import tiling
from blurops.ops.basis_blur.tiling import Tiling
from blurops.testing import Shape, accuracy, dot_gap, family_tensors, relative_error
from tests.family import as_doubles, assert_family, call, members

LENGTHS = (64, 96, 128, 144, 192, 256)
SECONDS = 60

pytestmark = pytest.mark.usefixtures("native")
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


def test_these_are_the_lengths(native):
    assert tuple(native.tile_lengths()) == LENGTHS


@pytest.mark.parametrize("height", LENGTHS)
@pytest.mark.parametrize("width", LENGTHS)
def test_every_pair_of_lengths(height, width):
    # A second tile along each axis, cut short; an odd number of bases.
    kernel = (height // 4 | 1, width // 4 | 1)
    shape = Shape(1, 2, height - kernel[0] // 2, width - kernel[1] // 2, 3, *kernel)
    assert_family(shape, Tiling(height, width), seed=height + width)


@pytest.mark.parametrize("size", LENGTHS)
def test_kernels_of_half_a_tile(size):
    # Half of what goes into the transforms is zero, and half of what comes out is dropped.
    shape = Shape(1, 2, size - size // 2 + 3, size // 2 + 5, 3, size // 2 | 1, size // 2 | 1)
    assert_family(shape, Tiling(size, size), seed=size)


@pytest.mark.parametrize("tile", [*((n, n) for n in LENGTHS), (64, 192), (192, 64)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=lambda d: str(d)[6:])
def test_lengths_in_other_types(tile, dtype):
    kernel = (tile[0] // 8 | 1, tile[1] // 8 | 1)
    assert_family(Shape(1, 1, tile[0], tile[1] - 3, 2, *kernel), Tiling(*tile), "zeros", dtype)


@pytest.mark.parametrize("down", [1, 2, 3])
@pytest.mark.parametrize("across", [1, 2, 3])
def test_kernels_in_parts(down, across):
    # Parts of 4, 4 and 3 taps or 6 and 5 down, of 5, 5 and 3 or 7 and 6 across.
    shape = Shape(2, 2, 60, 75, 3, 11, 13, kernels_shared=False)
    for boundary in BOUNDARIES:
        assert_family(shape, Tiling(64, 64, down, across), boundary, seed=3)


@each_boundary
@pytest.mark.parametrize("kernel", [(67, 3), (5, 101), (99, 97)], ids=str)
def test_kernels_larger_than_a_tile(boundary, kernel):
    assert_family(Shape(1, 1, 103, 110, 3, *kernel), Tiling(64, 64), boundary, seed=5)


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_every_instruction_set_and_type(native, isa, dtype):
    if isa not in native.available_isas():
        pytest.skip(f"this processor or this build has no {isa}")
    native.force_isa(isa)
    shape = Shape(2, 3, 66, 71, 3, 9, 7, kernels_shared=False, mixing_shared=True)
    for boundary, tiles in zip(
        BOUNDARIES,
        (Tiling(64, 64), Tiling(96, 64), Tiling(64, 96), Tiling(64, 64, 2, 1), Tiling(144, 128)),
        strict=True,
    ):
        assert_family(shape, tiles, boundary, dtype, seed=7)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kernels_shared", [True, False])
@pytest.mark.parametrize("mixing_shared", [True, False])
@pytest.mark.parametrize("basis", [1, 2, 5])
def test_batches_share_or_do_not(count, kernels_shared, mixing_shared, basis):
    shape = Shape(count, 2, 58, 63, basis, 7, 9, kernels_shared, mixing_shared)
    assert_family(shape, Tiling(64, 64, 1, 2), "circular", seed=9)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("mixing_shared", [True, False])
def test_channels_in_groups(channels, mixing_shared):
    # A channel's spectrum takes 1 MB, and 4 MB are held at a time; so do four pairs of bases.
    shape = Shape(2, channels, 37, 35, 9, 5, 5, mixing_shared=mixing_shared)
    assert_family(shape, Tiling(256, 256), "replicate", torch.float64, seed=11, truth="direct")


# With 9 taps a 64-point tile holds 56 pixels.
@pytest.mark.parametrize("height", [5, 55, 56, 57, 113])
@pytest.mark.parametrize("width", [5, 56, 57, 112])
def test_images_around_the_size_of_a_tile(height, width):
    for boundary in BOUNDARIES:
        shape = Shape(1, 1, height, width, 2, 9, 9)
        if shape.allows(boundary):
            assert_family(shape, Tiling(64, 64), boundary, seed=13)


@pytest.mark.parametrize("size", [(1, 1), (1, 130), (130, 1), (2, 67)], ids=str)
@pytest.mark.parametrize("boundary", ["replicate", "circular", "zeros"])
def test_lines_and_single_pixels(size, boundary):
    for kernel in ((1, 9), (9, 1), (7, 7)):
        assert_family(Shape(1, 2, *size, 3, *kernel), Tiling(64, 96), boundary, seed=15)


@pytest.mark.parametrize("boundary", ["replicate", "circular", "zeros"])
def test_kernels_much_larger_than_the_image(boundary):
    # Tiles wrap around the image several times, and all of them fold onto the same pixels.
    assert_family(Shape(2, 1, 7, 5, 3, 33, 41), Tiling(64, 64), boundary, seed=17)


def test_reflection_as_far_as_it_reaches():
    assert_family(Shape(1, 2, 40, 30, 3, 79, 59), Tiling(64, 64), "reflect", seed=19)
    assert_family(Shape(1, 2, 70, 75, 3, 39, 41), Tiling(64, 64), "reflect", seed=20)


def test_valid_down_to_one_pixel():
    for size in ((9, 9), (9, 70), (120, 9), (65, 64)):
        assert_family(Shape(2, 1, *size, 3, 9, 9), Tiling(64, 64), "valid", seed=21)


@pytest.mark.parametrize("member", ["basis_blur", "basis_blur_adjoint"])
def test_the_last_tile_wraps_to_the_first(member):
    """Rolling a circular image and its mixing rolls the result, across the seam and the tiles."""
    tensors = family_tensors(Shape(1, 1, 100, 90, 3, 13, 11), "circular", torch.float64, 23)
    args = [tensors[n] for n in ("image", "kernels", "mixing")]
    with tiling.forced(Tiling(64, 64)):
        result = call(member, args, boundary="circular", backend="native")
        for shift in ((3, 0), (0, 7), (50, 45)):
            rolled = [a.roll(shift, (-2, -1)) for a in (args[0], args[2])]
            moved = call(member, (rolled[0], args[1], rolled[1]), boundary="circular")
            expected = result.roll(shift, (-2, -1))
            assert relative_error(moved, expected) <= accuracy(torch.float64).relative


def test_sums_over_many_tiles():
    """More tiles than the kernels' gradient sums in one go."""
    assert_family(Shape(1, 1, 840, 832, 3, 47, 47), Tiling(64, 64), "zeros", seed=25)


def test_images_worth_large_pages():
    big = Shape(1, 1, 1500, 1450, 1, 5, 5)
    assert_family(big, Tiling(256, 192), "circular", seed=27)


@each_boundary
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("tiles", [Tiling(64, 64), Tiling(64, 96, 2, 3)], ids=["whole", "parts"])
def test_the_adjoint_passes_the_dot_test(boundary, dtype, tiles):
    shape = Shape(2, 3, 73, 91, 4, 15, 13, kernels_shared=False, mixing_shared=False)
    tensors = family_tensors(shape, boundary, dtype, 29)
    kernels, mixing = tensors["kernels"], tensors["mixing"]
    keywords = {"boundary": boundary, "backend": "native"}
    with tiling.forced(tiles):
        gap = dot_gap(
            lambda x: blurops.basis_blur(x, kernels, mixing, **keywords),
            lambda y: blurops.basis_blur_adjoint(y, kernels, mixing, **keywords),
            lambda x: blurops.basis_blur(x, kernels.abs(), mixing.abs(), **keywords),
            tensors["image"],
            tensors["grad"],
        )
    assert gap <= accuracy(dtype, 4 * 15 * 13).dot


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("boundary", ["circular", "reflect"])
def test_results_repeat_bit_for_bit_on_any_thread_count(dtype, boundary, threads):
    # Several tiles along each axis, whose windows overlap, and that are shared out unevenly.
    shape = Shape(2, 2, 211, 190, 5, 27, 25, kernels_shared=True, mixing_shared=True)
    tensors = family_tensors(shape, boundary, dtype, 31)
    for case, args in members(tensors, shape):
        results = []
        for count in (1, 1, 2, 3, 5, 5, 2):
            threads(count)
            with tiling.forced(Tiling(64, 64)):
                results.append(call(case.name, args, boundary=boundary, backend="native"))
        assert all(torch.equal(result, results[0]) for result in results), case.name


shapes = st.builds(
    Shape,
    count=st.integers(1, 2),
    channels=st.integers(1, 3),
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    basis=st.integers(1, 5),
    kernel_height=st.integers(0, 16).map(lambda r: 2 * r + 1),
    kernel_width=st.integers(0, 16).map(lambda r: 2 * r + 1),
    kernels_shared=st.booleans(),
    mixing_shared=st.booleans(),
)
tilings = st.builds(
    Tiling,
    height=st.sampled_from(LENGTHS),
    width=st.sampled_from(LENGTHS),
    parts_down=st.integers(1, 4),
    parts_across=st.integers(1, 4),
)


@given(shape=shapes, tiles=tilings, boundary=st.sampled_from(BOUNDARIES), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_shape_in_any_tiles(shape, tiles, boundary, seed):
    if shape.allows(boundary):
        assert_family(shape, tiles, boundary, seed=seed)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_image():
    """The goal is 32 MB per thread; one image of each basis would be 75 MB here."""
    for size in (64, 1536):  # the first calls load code, which is not the op's memory
        shape = Shape(1, 3, size, size, 8, 33, 33)
        for case, args in members(family_tensors(shape, "circular", torch.float32, 39), shape):
            extra, _ = measure(
                lambda case=case, args=args: [
                    call(case.name, args, boundary="circular", backend="native", method="fft")
                ]
            )
            assert size == 64 or extra <= 32, case.name


# Several tiles of any size, and too small for torch to share its own work out among threads: a
# forked child would wait for those for ever.
SAMPLE = Shape(1, 1, 320, 96, 1, 9, 9)


def blurred(seed=0):
    tensors = family_tensors(SAMPLE, "reflect", torch.float32, seed)
    args = [tensors[name] for name in ("image", "kernels", "mixing")]
    keywords = {"backend": "native", "method": "fft"}
    return blurops.basis_blur_adjoint(blurops.basis_blur(*args, **keywords), *args[1:], **keywords)


def test_four_threads_at_once(threads):
    threads(2)
    expected = [blurred(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(blurred, [seed for _ in range(5) for seed in range(4)]))
    assert all(torch.equal(result, expected[i % 4]) for i, result in enumerate(results))


def test_a_forked_child_computes_the_same(threads):
    threads(2)
    expected = blurred()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads, which is what this test is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)  # a child that waits for lost threads would wait for ever
        os.write(writing, b"same" if torch.equal(blurred(), expected) else b"different")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() == b"same"
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=lambda d: str(d)[6:])
def test_half_types_err_at_most_twice_what_plain_torch_errs(dtype):
    shape = Shape(1, 3, 57, 60, 5, 7, 5)
    tensors = family_tensors(shape, "zeros", dtype, 33)
    reference = {"boundary": "zeros", "backend": "reference", "method": "direct"}
    for case, args in members(tensors, shape):
        exact = call(case.name, as_doubles(args), **reference)
        # Plain torch at its best: everything in float32, one rounding at the end.
        wide = tuple(a.float() if isinstance(a, torch.Tensor) else a for a in args)
        plain = call(case.name, wide, **reference).to(dtype)
        with tiling.forced(Tiling(64, 64)):
            result = call(case.name, args, boundary="zeros", backend="native")
        assert relative_error(result, exact) <= 2 * relative_error(plain, exact), case.name


def test_inputs_are_left_alone():
    tensors = family_tensors(SAMPLE, "circular", torch.float32, 35)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    for case, args in members(tensors, SAMPLE):
        with tiling.forced(Tiling(64, 64)):
            call(case.name, args, boundary="circular", backend="native")
    assert all(torch.equal(tensors[name], before[name]) for name in before)


def test_gradients_to_second_order():
    """Through the tiles, with every derivative by the tiles too."""
    shape = Shape(2, 1, 4, 5, 3, 3, 3, kernels_shared=True, mixing_shared=False)
    tensors = family_tensors(shape, "reflect", torch.float64, 37)
    leaves = [tensors[n].requires_grad_() for n in ("image", "kernels", "mixing")]

    def blur(*args):
        return blurops.basis_blur(*args, backend="native", method="fft")

    assert torch.autograd.gradcheck(blur, leaves)
    assert torch.autograd.gradgradcheck(blur, leaves)
