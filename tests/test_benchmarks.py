# SPDX-License-Identifier: BSD-3-Clause
"""Every contender computes what ours does; rows, tables, plots and judgement follow from rows.

Nothing here looks at a time.
"""

import sys
from dataclasses import asdict, replace

import pytest
import torch

import benchmarks.__main__ as command
from benchmarks import cases, compare, machine, report, rows, targets, tiles, timing
from benchmarks.borders import extend, fold
from benchmarks.cases import REFERENCE, Case, Job
from benchmarks.contenders import ALL, deepinv_op
from benchmarks.contenders.base import Contender, good_length
from benchmarks.inputs import CHECKED_ITERATIONS, make_inputs, segments, tolerance, truth
from blurops import _boundary
from blurops.ops.basis_blur import tiling
from blurops.testing import relative_error

QUICK = timing.Settings(rounds=1, budget=0.0, longest=4.0)
TINY = (
    Case(40, channels=2, basis=3, kernel=5, threads=1),
    Case(36, channels=1, basis=4, kernel=9, threads=1, field="segments"),
)
# Compiling takes longer than all of these tests; `make bench` checks its results too.
PAIRS = [
    pytest.param(contender, member, id=f"{contender.name}-{member}".replace(" ", "_"))
    for contender in ALL
    for member in contender.members
    if contender.name != "torch.compile"
]


@pytest.fixture(autouse=True)
def _no_probes(monkeypatch):
    monkeypatch.setattr(machine, "probes", lambda count: (100.0, 10.0))


@pytest.mark.parametrize("case", TINY, ids=str)
@pytest.mark.parametrize(("contender", "member"), PAIRS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_contenders_compute_the_same(contender, member, case):
    if contender.name == "deepinv" and deepinv_op.version() is None:
        pytest.skip("deepinv is not installed")
    inputs = replace(make_inputs(case), iterations=CHECKED_ITERATIONS)
    expected = truth(inputs, member, contender.algorithm)
    call = contender.members[member](inputs)
    call()
    for result, wanted in zip(call(), expected, strict=True):  # buffers are used a second time
        assert result.shape == wanted.shape
        assert relative_error(result, wanted) <= tolerance(case, member)


def test_the_border_is_ours_and_its_fold_the_transpose():
    image, extended = torch.rand(2, 7, 9), torch.rand(2, 13, 15)
    assert torch.equal(extend(image, 3), _boundary.pad(image, (3, 3), "reflect"))
    expected = _boundary.fold(extended, (3, 3), "reflect")
    assert torch.allclose(fold(extended.clone(), 3), expected)


def test_segments_are_zero_or_one_but_for_seams():
    mixing = segments(8, 96)
    hard = ((mixing == 0) | (mixing == 1)).all(1).double().mean()
    assert mixing.shape == (1, 8, 96, 96)
    assert torch.allclose(mixing.sum(1), torch.ones(1, 96, 96))
    assert 0.3 < hard < 1
    assert all((mixing[0, b] == 1).any() for b in range(8))


def test_nominal_operations_by_hand():
    # 16 points: a transform is 2.5 * 16 * 4 = 160; two of them, 4 * 16 of products, 2 * 16 of mix.
    case = Case(4, channels=1, basis=1, kernel=1)
    assert cases.nominal_flops(case, "forward") == 2 * 160 + 64 + 32
    assert cases.nominal_flops(case, "gradients") == 3 * 416 + 2 * 160
    assert cases.nominal_flops(case, "rl-saturated") == 30 * 3 * 416


def test_good_lengths():
    assert [good_length(n) for n in (1, 9, 1056, 1057)] == [2, 10, 1056, 1078]


def test_the_grid_is_what_was_asked_for():
    jobs = cases.sweeps()
    assert len({job.case for job in jobs}) == len(jobs)
    swept = {
        name: {getattr(job.case, name) for job in jobs}
        for name in ("kernel", "basis", "size", "channels", "threads", "field")
    }
    assert swept["kernel"] == set(cases.KERNELS)
    assert swept["basis"] == set(cases.BASES)
    assert swept["size"] == set(cases.SIZES)
    assert (swept["channels"], swept["threads"]) == ({1, 3}, {1, 2})
    assert jobs[0].case == REFERENCE
    assert jobs[0].members == cases.MEMBERS
    assert len({job.case for job in cases.quick()}) == len(cases.quick())


def fake(result, **options):
    """A contender that returns ``result(inputs)``."""

    def prepare(inputs):
        return lambda: [result(inputs)]

    return Contender(name="fake", about="", members={"forward": prepare}, **options)


def measured(contender, case=TINY[0], settings=QUICK, sweep="kernel"):
    job = Job(sweep, case, ("forward",))
    (row,) = timing.measure(job, "forward", [contender], timing.History(), settings)
    return row


def test_a_wrong_result_is_refused():
    row = measured(fake(lambda inputs: truth(inputs, "forward")[0].float() * 1.0001))
    assert row.seconds is None
    assert row.note == "wrong: relative error 1.0e-04"
    assert measured(fake(lambda inputs: inputs.image * float("nan"))).seconds is None


def test_a_failure_is_a_row():
    def fail(inputs):
        raise ValueError("no\nluck")

    assert measured(fake(fail)).note == "fails: ValueError: no luck"


def test_what_is_too_slow_or_too_large_is_left_out():
    right = fake(lambda inputs: truth(inputs, "forward")[0].float(), kind="usual")
    known, job = timing.History(), Job("size", REFERENCE, ("forward",))
    known.add(right, replace(REFERENCE, size=512), "forward", 30.0)
    foreseen = known.foresee(right, REFERENCE, "forward")
    assert 4 * 30 < foreseen < 5 * 30
    reason = timing.reason_to_skip(right, job, "forward", known, QUICK)
    assert reason == f"would take about {foreseen:.0f} s"
    tuned = replace(right, kind="tuned")
    assert timing.reason_to_skip(tuned, job, "forward", known, timing.Settings(longest=10)) is None
    known.add(right, REFERENCE, "forward", 0.1)
    assert timing.reason_to_skip(right, job, "forward", known, QUICK) is None
    large = replace(right, planes=lambda case: 1e9)
    assert timing.reason_to_skip(large, job, "forward", known, QUICK).startswith("needs ")
    only = replace(right, reference_only=True)
    assert timing.reason_to_skip(only, job, "forward", known, QUICK) == "reference case only"


def test_measured_rows_are_complete_and_kept(tmp_path):
    row = measured(fake(lambda inputs: truth(inputs, "forward")[0].float()))
    assert row.rounds >= 1
    assert row.least <= row.seconds
    assert row.ratio == 1
    assert row.error < 1e-6
    assert row.memory_mb >= 0
    assert row.case == TINY[0]
    path = tmp_path / "rows.csv"
    rows.write(path, [row, replace(row, seconds=None, ratio=None, note="a, b")])
    first, second = rows.read(path)
    assert first.seconds == pytest.approx(row.seconds, rel=1e-5)
    assert (first.case, first.contender) == (row.case, row.contender)
    assert (second.seconds, second.ratio, second.note) == (None, None, "a, b")
    path.write_text("size,seconds\n1,2\n")
    with pytest.raises(ValueError, match=r"has other columns than benchmarks\.rows\.Row"):
        rows.read(path)


def test_a_run_of_some_sweeps_renews_these_alone(tmp_path, monkeypatch):
    first, second = Job("reference", TINY[0], ("forward",)), Job("field", TINY[1], ("forward",))
    monkeypatch.setattr(rows, "sweeps", lambda: [first, second])
    old, other = (
        replace(SAMPLE, sweep=job.sweep, **asdict(job.case), seconds=1.0) for job in (first, second)
    )
    adjoint, gone = replace(old, member="adjoint"), replace(old, sweep="kernel")
    path = tmp_path / "rows.csv"
    rows.merge(path, [old, adjoint, other, gone])
    new = [replace(old, seconds=2.0), replace(old, seconds=3.0, contender="deepinv")]
    rows.merge(path, new)
    assert rows.read(path) == [adjoint, other, *new]


def test_tile_rounding_by_hand(native):
    case = replace(REFERENCE, size=100, kernel=9)
    with tiling.forced(tiling.Tiling(64, 128)):  # 56 rows and 120 columns of a tile survive
        assert tiles.rounding(case, "forward") == pytest.approx(2 * 56 * 120 / 100**2)
        assert tiles.rounding(case, "gradients") is None
    with tiling.forced(tiling.DIRECT):
        assert tiles.rounding(case, "adjoint") is None


def test_the_probe_measures_every_instruction_set(native):
    for name in native.available_isas():
        native.force_isa(name)
        assert native.peak_flops(0.01, 1) > 1e8
        assert native.peak_bandwidth(1 << 20, 1) > 1e7


def test_the_command_writes_rows(tmp_path, monkeypatch, capsys, threads):
    threads(1)
    monkeypatch.setattr(cases, "quick", lambda: [Job("reference", TINY[0], ("forward", "rl"))])
    out = tmp_path / "rows.csv"
    arguments = ["--quick", "--members", "forward", "--contenders", "loop,packed", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["bench", *arguments, "--out", str(out)])
    monkeypatch.setattr(timing, "_MOST_ROUNDS", 1)
    command.main()
    found = rows.read(out)
    assert [row.contender for row in found] == [
        "blurops", "torch.fft tuned, packed", "torch.fft loop",
    ]  # fmt: skip
    assert all(row.seconds and row.peak_share for row in found)
    assert "3 rows in" in capsys.readouterr().out


SAMPLE = rows.Row(
    sweep="reference", size=1024, channels=3, basis=25, kernel=33, field="dense", threads=2,
    member="forward", contender="blurops", kind="ours", algorithm="exact", seconds=0.05,
    least=0.05, rounds=3, ratio=None, gflops=100.0, peak_share=0.4, memory_mb=2.0,
    tile_rounding=1.1, error=1e-7, note="", peak_gflops=236.0, bandwidth_gbs=37.0, commit="abc",
    cpu="A CPU", isa="avx512", torch="2.13.0", date="2026-01-01",
)  # fmt: skip
KINDS = {"torch.fft tuned, real": "tuned", "torch.fft loop": "usual", "deepinv": "peer"}


def sample(theirs, ours=0.05, **changes):
    """Rows of one member of one case: ours, and baselines by name."""
    row = replace(SAMPLE, seconds=ours, **changes)
    others = [
        replace(
            row,
            contender=name,
            kind=KINDS.get(name, "peer"),
            seconds=seconds,
            algorithm="authors" if name == compare.AUTHORS else "exact",
            note="" if seconds else "would take about 9 s",
            tile_rounding=None,
        )
        for name, seconds in theirs.items()
    ]
    return [row, *others]


def everything(speed=1.0):
    """Rows that meet every criterion when ``speed`` is 1."""
    ours = 0.05 / speed
    tuned, loop, authors = "torch.fft tuned, real", "torch.fft loop", "Carbajal et al."
    found = []
    for member in ("forward", "adjoint"):
        theirs = {tuned: 0.4, loop: 0.8, "deepinv": 1.4, authors: 2.6}
        found += sample(theirs, ours, member=member)
        for size in (512, 2048, 4096):
            per_size = ours * size**2 / 1024**2
            found += sample({tuned: 8 * per_size}, per_size, member=member, size=size, sweep="size")
        one = sample({tuned: 0.8}, 1.9 * ours, member=member, threads=1, sweep="threads")
        dense = sample({tuned: 0.2}, 0.02, member=member, basis=8, sweep="basis")
        sparse = sample(
            {tuned: 0.2}, 0.005 / speed, member=member, basis=8, field="segments", sweep="field"
        )
        small = sample({tuned: 0.018}, ours / 5, member=member, kernel=9, sweep="kernel")
        found += [*one, *dense, *sparse, *small]
    found += sample({"torch.fft loop": 2.0}, 0.2 / speed, member="gradients")
    found += sample({}, 0.38, member="gradients", threads=1, sweep="threads")
    found += sample({authors: 240.0, tuned: None}, 10.0 / speed, member="rl-saturated")
    return found


def test_targets_pass_and_fail():
    verdicts = targets.judge(everything())
    assert [str(v) for v in verdicts if not v.passed] == []
    assert len(verdicts) == 19
    failed = [v.criterion for v in targets.judge(everything(speed=0.5)) if not v.passed]
    assert "forward: times faster than torch.fft loop" not in failed  # exactly 8
    assert "forward: times faster than Carbajal et al." not in failed  # 26
    slow = [v for v in targets.judge(everything(speed=0.1)) if not v.passed]
    assert len(slow) > 8
    worst = next(v for v in slow if v.criterion.startswith("never slower"))
    assert worst.measured == pytest.approx(0.18)
    assert worst.remark.startswith("1024x1024x3 B=25 K=9 forward; slower in ")


def test_targets_without_rows_fail():
    verdicts = targets.judge(sample({"torch.fft loop": 0.5}))
    assert any(v.measured is None and not v.passed for v in verdicts)
    flat = next(v for v in verdicts if "time per pixel" in v.criterion)
    assert str(flat).startswith("no rows")


def test_the_authors_adjoint_is_no_baseline():
    (duel,) = compare.duels(sample({compare.AUTHORS: 0.01, "deepinv": 0.2}, member="adjoint"))
    assert duel.best.contender == "deepinv"
    assert duel.ratio == pytest.approx(4)
    assert duel.against(compare.AUTHORS) == pytest.approx(0.2)


def test_crossovers_are_found():
    line = compare.duels(
        row
        for kernel, theirs in ((5, 0.025), (20, 0.1), (33, 0.2))
        for row in sample({"deepinv": theirs}, kernel=kernel)
    )
    assert compare.crossovers(line, "kernel") == [pytest.approx(10)]


@pytest.fixture
def pages(tmp_path):
    (tmp_path / "docs").mkdir()
    for page in (tmp_path / "README.md", tmp_path / "docs" / "benchmarks.md"):
        page.write_text(f"before\n{report._BEGIN}\nold\n{report._END}\nafter\n")
    return tmp_path


def test_the_report_states_wins_and_losses(pages):
    written = report.write(everything(), "sample.csv", pages)
    readme, long = (page.read_text() for page in written[:2])
    for text in (readme, long):
        assert text.startswith(f"before\n{report._BEGIN}\n")
        assert text.endswith(f"\n{report._END}\nafter\n")
        assert "old" not in text
        assert "from sample.csv: A CPU (avx512), torch 2.13.0, commit abc, 2026-01-01" in text
        assert "236 GFLOP/s and 37 GB/s on 2 threads" in text
    best = "400 ms (torch.fft tuned, real)"
    assert f"| forward | 50.0 ms | {best} | 8.0x | 16.0x | 28.0x | 52.0x |" in readme
    assert "**1.80x: less than 2x**" in long
    assert "blurops is slower than the best baseline in 0." in long
    assert "less than twice as fast, in 2: 1024x1024x3 B=25 K=9, 2 threads, forward (1.80x)" in long
    assert "| torch.fft tuned, real | - | - | - | - | - | - | would take about 9 s |" in long
    assert {path.name for path in written[2:]} == {"bench-kernel.png", "bench-size.png",
                                                   "bench-basis.png"}  # fmt: skip
    assert all(path.stat().st_size > 5000 for path in written[2:])
    again = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in report.write(everything(), "sample.csv", pages)] == again


def test_the_report_says_slower(pages):
    written = report.write(everything(speed=0.1), "sample.csv", pages)
    assert "**0.80x: slower**" in written[0].read_text()
    assert "forward (0.80x)" in written[1].read_text()


def test_pages_without_markers_are_refused(pages):
    (pages / "README.md").write_text("no markers")
    with pytest.raises(ValueError, match=r"README\.md must have <!-- benchmarks: begin -->"):
        report.write(everything(), "sample.csv", pages)
    with pytest.raises(ValueError, match="nothing to report"):
        report.write([], "sample.csv", pages)
