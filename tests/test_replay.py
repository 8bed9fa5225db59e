# SPDX-License-Identifier: BSD-3-Clause
"""Iterations as a CUDA graph: when, and what is captured. The device itself is stood in for."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

from blurops import Saturation, UniformBlur, richardson_lucy
from blurops.operators import Operator
from blurops.solvers import replay
from blurops.solvers.settings import resolve
from blurops.solvers.update import Iteration
from tests.restoration import scene

CUDA = SimpleNamespace(is_cuda=True)


@pytest.fixture
def captures(monkeypatch):
    """Every solve is replayed; the calls that were captured, each as often as it was replayed."""
    made = []

    def stand_in(call, device):
        made.append(0)

        def run():
            made[-1] += 1
            call()

        return run

    monkeypatch.setattr(replay, "serves", lambda *_, watched, fixed: fixed and not watched)
    monkeypatch.setattr(replay, "captured", stand_in)
    return made


def test_when_a_loop_is_replayed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert replay.serves(CUDA, 30, watched=False, fixed=True)
    assert not replay.serves(CUDA, 30, watched=True, fixed=True)
    assert not replay.serves(CUDA, 30, watched=False, fixed=False)
    assert not replay.serves(CUDA, 3, watched=False, fixed=True)
    assert not replay.serves(torch.zeros(1), 30, watched=False, fixed=True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert not replay.serves(CUDA, 30, watched=False, fixed=True)


@pytest.mark.parametrize("saturation", [None, Saturation(threshold=0.8)])
def test_replayed_iterations_are_the_same(captures, saturation):
    _, blur, v = scene()
    found = richardson_lucy(v, blur, saturation=saturation, tv=0.01, iterations=7)
    assert captures == [6]
    assert (found.iterations, found.losses) == (7, ())
    watched = richardson_lucy(
        v, blur, saturation=saturation, tv=0.01, iterations=7, callback=lambda *_: None
    )
    assert captures == [6]
    torch.testing.assert_close(found.image, watched.image)


def test_who_looks_at_each_iteration_gets_a_loop(captures, capsys):
    _, blur, v = scene()
    for looking in ({"stop_tol": 0.0}, {"callback": lambda *_: None}, {"progress": True}):
        richardson_lucy(v, blur, iterations=5, **looking)
    assert captures == []


def test_the_graph_of_autograd_is_unrolled(captures):
    _, blur, v = scene()
    v = v.clone().requires_grad_()
    richardson_lucy(v, blur, iterations=5).image.sum().backward()
    assert captures == []
    assert v.grad.abs().max() > 0


def test_the_first_estimate_is_not_written(captures):
    _, blur, v = scene()
    initial = v.clone()
    richardson_lucy(v, blur, initial=initial, iterations=5)
    assert torch.equal(initial, v)


def test_which_iterations_are_known_to_be_fixed():
    """One registered op for each; what an unknown operator does, nobody knows."""
    _, blur, v = scene()

    class Own(Operator):
        forward, adjoint, to = blur.forward, blur.adjoint, None

    def fixed(operator, **chosen):
        names = ("iterations", "saturation", "tv", "stop_tol", "variant", "adjoint", "normalise",
                 "combine", "tv_form", "loss_form")  # fmt: skip
        settings = resolve("test", chosen.pop("preset", None), **dict.fromkeys(names) | chosen)
        sums = operator.column_sums(v)
        return Iteration(v, operator, sums, settings, None, 1.0, 1e-6).fixed

    assert fixed(blur)
    assert fixed(blur, saturation=Saturation(), tv=0.01)
    assert fixed(UniformBlur(torch.full((3, 3), 1 / 9)))
    assert not fixed(Own())
    assert not fixed(blur, adjoint="authors")
    assert not fixed(blur, preset="carbajal2021")
    assert not fixed(blur, saturation=Saturation(), combine="pixel")


@pytest.mark.parametrize("fails", [False, True])
def test_a_capture_waits_for_what_was_queued_and_ends(fails, monkeypatch):
    said = []

    class Stream:
        def __init__(self, name):
            self.name = name

        def wait_stream(self, other):
            said.append(f"{self.name} waits for {other.name}")

    class Graph:
        def capture_begin(self, capture_error_mode):
            assert capture_error_mode == "thread_local"
            said.append("begin")

        def capture_end(self):
            said.append("end")

        def replay(self):
            said.append("replay")

    @contextlib.contextmanager
    def on(stream):
        said.append(f"on {stream.name}")
        yield
        said.append(f"off {stream.name}")

    def call():
        said.append("call")
        if fails:
            raise RuntimeError("no memory")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("side"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("main"))
    monkeypatch.setattr(torch.cuda, "stream", on)
    begun = ["side waits for main", "on side", "begin", "call", "end"]
    if fails:
        with pytest.raises(RuntimeError, match="no memory"):
            replay.captured(call, torch.device("cuda"))
        assert said == begun
        return
    run = replay.captured(call, torch.device("cuda"))
    assert said == [*begun, "off side", "main waits for side"]
    run()
    assert said[-1] == "replay"
