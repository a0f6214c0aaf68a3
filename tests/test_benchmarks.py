"""The harness of benchmarks/ on tiny sizes: what it measures, refuses and stores. Nothing is timed here."""

import importlib
import json
import math
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def on_the_path():
    """benchmarks/ lies beside tests/ and is no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield


@pytest.fixture
def harness():
    return importlib.import_module("benchmarks.harness")


@pytest.fixture
def report():
    return importlib.import_module("benchmarks.report")


def task(harness, peers, **options):
    """u -> 2 u with the given peers."""
    u = torch.arange(12.0).reshape(3, 4)

    def make(size, dtype, device):
        return harness.Case(lambda: 2 * u, u.numel() * 4, peers, **options)

    return harness.Task("doubling", make, ((3, 4),), family="trial")


def doubled():
    return 2 * torch.arange(12.0).reshape(3, 4)


# ---- measuring ----------------------------------------------------------------------------------------------------


def test_calls_are_timed_in_turn_and_each_begins_once(harness, monkeypatch) -> None:
    monkeypatch.setattr(harness, "LEAST", 0.0)
    calls: list[str] = []
    names = ("ours", "limit", "peer")
    spent = harness.alternate({name: lambda name=name: calls.append(name) for name in names}, rounds=3)
    timed = calls[3:]  # the first three say how often a call is repeated
    assert [timed[i : i + 3] for i in (0, 3, 6)] == [
        ["ours", "limit", "peer"],
        ["limit", "peer", "ours"],
        ["peer", "ours", "limit"],
    ]
    assert {name: len(times) for name, times in spent.items()} == dict.fromkeys(names, 3)


def test_a_short_call_is_repeated_within_its_turn(harness, monkeypatch) -> None:
    monkeypatch.setattr(
        harness, "seconds", lambda call, repeats=1, wait=None: [call() for _ in range(repeats)] and 1e-4
    )
    calls: list[str] = []
    harness.alternate({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)
    lengths = [(name, len(list(group))) for name, group in groupby(calls[2:])]
    assert lengths == [("a", 10), ("b", 20), ("a", 10)]  # 1e-3 s over 1e-4 s; b ends the first round, begins the second


def test_a_median_needs_a_round(harness) -> None:
    with pytest.raises(ValueError, match="rounds >= 1; got 0"):
        harness.alternate({"ours": lambda: None}, rounds=0)


def test_the_limit_moves_all_bytes_as_often_as_asked(harness) -> None:
    counted = []
    copy = harness.copying(4000, CPU, lambda: counted.append(1) or 3)
    buffer = copy()
    assert buffer.numel() * buffer.element_size() == 4000 and bool((buffer == 1).all())
    assert copy() is buffer and len(counted) == 2  # into the buffer that is there


@pytest.mark.parametrize(
    ("theirs", "far"),
    [
        (torch.tensor([1.0, -4.0]), 0.0),
        (np.array([1.0, -3.0]), 0.25),
        (torch.tensor([1.0, math.nan]), math.inf),
        (torch.tensor([[1.0, -4.0]]), math.inf),
    ],
)
def test_difference_is_relative_and_never_nan(harness, theirs, far) -> None:
    assert harness.difference(torch.tensor([1.0, -4.0]), theirs) == far


# ---- peers --------------------------------------------------------------------------------------------------------


def test_a_row_is_complete_and_names_who_is_not_timed(harness, report) -> None:
    def fails():
        raise RuntimeError("no /usr/lib/x.so here\nand more")

    peers = {
        "right": harness.Peer(lambda: doubled),
        "list": harness.Peer(lambda: lambda: [doubled()], read=lambda result: result[0], note="a list"),
        "wrong": harness.Peer(lambda: lambda: 1.001 * doubled(), note="never said"),
        "another shape": harness.Peer(lambda: lambda: doubled()[0]),
        "fails": harness.Peer(fails),
        "missing": harness.Peer(lambda: doubled, module="no_such_package.part"),
        "own measure": harness.Peer(
            lambda: lambda: -doubled(), apart=lambda ours, theirs: float((ours + theirs).max())
        ),
    }
    row = harness.measure(task(harness, peers), (3, 4), CPU, rounds=2)
    assert set(row["peers"]) == set(row["peers_min"]) == {"right", "list", "own measure"}
    assert row["absent"] == {
        "wrong": "another result, 1.0e-03 away where 1e-05 is allowed",
        "another shape": "another result, inf away where 1e-05 is allowed",
        "fails": "RuntimeError: no ... here",
        "missing": "not installed",
    }
    assert (row["task"], row["size"], row["dtype"], row["device"]) == ("doubling", "3x4", "float32", "cpu")
    assert row["threads"] == torch.get_num_threads()
    assert 0 < row["limit_min_s"] <= row["limit_s"] and 0 < row["ours_min_s"] <= row["ours_s"]
    assert all(0 < row["peers_min"][name] <= seconds for name, seconds in row["peers"].items())
    assert row["limit"] == "copy of 4.8e-05 MB" and row["note"] == "list: a list" and row["rounds"] == 2
    assert json.loads(json.dumps(row)) == row


def test_a_slow_peer_is_named_with_its_ratio(harness, goals) -> None:
    row = harness.measure(task(harness, {"slow": harness.Peer(lambda: doubled)}, patience=0.0), (3, 4), CPU, 1)
    assert row["peers"] == {} and "times ours; not repeated" in row["absent"]["slow"]
    (once,) = [int(word) for word in row["absent"]["slow"].split() if word.isdigit()]
    assert goals.over("slow")(row) == goals.over("")(row) == once and goals.over("quick")(row) is None


def test_our_own_result_is_held_against_the_objective(harness) -> None:
    wrong = task(harness, {}, apart=lambda ours, theirs: 1e-3, tolerance=1e-4)
    with pytest.raises(ValueError, match=r"our own result is 1\.0e-03 away where 1e-04 is allowed"):
        harness.measure(wrong, (3, 4), CPU, 1)


def test_the_limit_may_be_another_call(harness) -> None:
    calls = []
    other = task(harness, {}, limit=lambda: calls.append(1), limit_name="a loop", words=lambda s: f"{len(s)} timed")
    row = harness.measure(other, (3, 4), CPU, 1)
    assert calls and row["limit"] == "a loop" and row["note"] == "2 timed" and row["limit_s"] > 0


@pytest.mark.parametrize(("tol", "least"), [(0.3, 4), (0.01, 100), (0.0034, 295)])
def test_the_fewest_iterations(tol, least) -> None:
    fewest = importlib.import_module("benchmarks.rof").fewest
    k = fewest(lambda k: k, lambda k: 1 / k, tol)
    assert least <= k <= 1.06 * least + 1


def test_who_comes_to_rest_elsewhere_is_refused() -> None:
    fewest = importlib.import_module("benchmarks.rof").fewest
    with pytest.raises(ValueError, match="still 5e-02 above the minimum after 512 iterations"):
        fewest(lambda k: k, lambda k: 0.05 + 1 / k**4, 1e-4)


@pytest.mark.parametrize("make", ["analysis", "synthesis", "shrinkage"])
@pytest.mark.parametrize(
    ("order", "levels", "size"), [(1, 1, (8, 12)), (1, 2, (8, 12)), (2, 2, (16, 9)), (4, 1, (7, 8)), (1, 1, (4, 6, 8))]
)
def test_the_ways_to_frame_coefficients_agree(harness, make, order, levels, size) -> None:
    """In float64, to rounding; PyWavelets where it has the frame."""
    frames = importlib.import_module("benchmarks.frames")
    case = getattr(frames, make)(order, levels)(size, torch.float64, CPU)
    case.tolerance = 1e-12
    ours = case.ours()
    expected = {*frames.WAYS} | ({"PyWavelets"} if order == 1 else set())
    assert expected <= set(case.peers)
    for name, peer in case.peers.items():
        call, why = harness.ready(peer, case, ours)
        assert call is not None, f"{name}: {why}"


@pytest.mark.parametrize(
    ("family", "name", "size"), [("diffusion", "perona_malik", (20, 31)), ("radon", "projection", (32, 32))]
)
def test_peers_that_are_here_solve_the_same_problem(harness, family, name, size) -> None:
    case = getattr(importlib.import_module(f"benchmarks.{family}"), name)(size, torch.float32, CPU)
    ours = case.ours()
    assert case.apart(ours, ours) <= case.tolerance
    for peer in case.peers.values():
        call, why = harness.ready(peer, case, ours)
        assert call is not None or why == "not installed", why


def test_tasks_have_names_of_their_own_and_are_chosen_by_family_or_part() -> None:
    tasks = importlib.import_module("benchmarks.tasks")
    names = [task.name for task in tasks.TASKS]
    assert len(names) == len(set(names))
    assert all(task.sizes and task.family for task in tasks.TASKS)
    assert {task.family for task in tasks.chosen(["radon"])} == {"radon"}
    assert [task.name for task in tasks.chosen(["w^t s w, haar"])][:1] == ["W^T S W, Haar, 1 level"]
    assert tasks.chosen([]) == list(tasks.TASKS)
    with pytest.raises(ValueError, match="No task has 'nothing' in its name; the families are frames, "):
        tasks.chosen(["radon", "nothing"])


# ---- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux keeps a high-water mark to reset")
def test_memory_is_the_peak_of_one_call() -> None:
    memory = importlib.import_module("benchmarks.memory")
    entries = 16 * 2**20  # 67 MB, so that what the interpreter takes beside it is small
    found = memory.grown(lambda: torch.ones(entries) + torch.ones(entries), CPU)  # three at a time, one remains
    assert found["result_mb"] == pytest.approx(67.1, abs=0.1)
    assert found["peak_mb"] == pytest.approx(3 * 67.1, rel=0.1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux keeps a high-water mark to reset")
def test_memory_that_a_loop_keeps_for_its_next_result_counts() -> None:
    from companion import FrameletTransform, bspline

    pytest.importorskip("numba")
    memory = importlib.import_module("benchmarks.memory")
    u, W = torch.rand(1024, 2048), FrameletTransform(bspline(1))
    found = memory.grown(lambda: W(u), CPU)
    assert found["result_mb"] == pytest.approx(33.6, abs=0.1)
    assert found["peak_mb"] == pytest.approx(33.6, rel=0.1)


# ---- goals --------------------------------------------------------------------------------------------------------


@pytest.fixture
def goals():
    return importlib.import_module("benchmarks.goals")


def test_a_goal_reads_its_number_off_the_rows_that_it_asks(goals, monkeypatch) -> None:
    monkeypatch.setattr(goals, "pdenet", list)
    rows = [
        a_row(task="W, Haar, 1 level", size="512x512", peers_min={"PyWavelets": 0.7, "readable form": 0.1}),
        a_row(task="W, Haar, 1 level", size="256x256"),  # a size that no goal is for, but for memory
    ]
    found = {(j["goal"], "512" in j["of"]): j for j in goals.judged(rows, [])}
    ratio = found["W, W^T: of the limit <= 1.5", True]
    assert ratio["value"] == pytest.approx(2.0) and not ratio["reached"] and ratio["why"] == goals.NEAR
    peer = found["W, W^T: PyWavelets over ours >= 30", True]
    assert peer["value"] == pytest.approx(35) and peer["reached"] and peer["why"] == ""
    memory = found["W, W^T: memory beside the result, pictures <= 1.02", True]
    assert memory["value"] == pytest.approx(1e6 / (4 * 512 * 512)) and memory["reached"]
    assert len(found) == 4
    on_gpu = goals.judged([a_row(task="W, Haar, 1 level", size="2048x2048", device="cuda")], [])
    assert [j["goal"] for j in on_gpu] == ["on a GPU: W, W^T, of the limit <= 2"]


def test_a_missed_peer_says_how_near_the_limit_ours_would_have_to_be(goals, monkeypatch) -> None:
    monkeypatch.setattr(goals, "pdenet", list)
    row = a_row(task="W, Haar, 1 level", size="512x512", peers_min={"convolutions": 0.04, "PDHG": 0.01})
    (missed,) = [j for j in goals.judged([row], []) if "convolutions" in j["goal"]]
    assert missed["value"] == pytest.approx(2) and not missed["reached"]
    words = "ours takes 2 of the limit, the peer 4: 10 times would be 0.4 of the limit, less than its bytes take"
    assert missed["why"] == words


def test_the_best_peer_is_none_of_this_package(goals) -> None:
    row = a_row(peers_min={"PDHG": 0.01, "readable form": 0.02, "odl": 0.1, "scico": 0.2})
    assert goals.over("")(row) == pytest.approx(5) and goals.over("medpy")(row) is None


def test_depths_slopes_and_shares_are_judged(goals, monkeypatch) -> None:
    monkeypatch.setattr(goals, "pdenet", list)
    rows = [
        a_row(task="memory: RevNet, a gradient", size=size, peak_mb=mb) for size, mb in (("50", 15.0), ("14", 10.0))
    ]
    rows.append(a_row(task="import companion", size="1", ours_min_s=1.55, limit_min_s=1.4))
    found = goals.judged(rows, [("growth: W", 1, "8x8 to 9x9", 1.04)])
    assert [(j["value"], j["reached"]) for j in found] == [
        (pytest.approx(0.5), True),
        (pytest.approx(1.04), True),
        (pytest.approx(1.5), False),
    ]


def test_every_goal_is_for_a_task_that_there_is(goals) -> None:
    tasks = importlib.import_module("benchmarks.tasks")
    sizes = [{"task": t.name, "size": "x".join(map(str, s))} for t in tasks.TASKS for s in t.sizes]
    assert all(
        any(goal.asks({**row, "device": goal.device}) for row in sizes)
        for goal in goals.GOALS
        if "edge" not in goal.tasks
    )
    assert set(tasks.WITH_TWO) <= {task.name for task in tasks.TASKS}


def test_what_the_experiments_have_stored_is_judged(goals, tmp_path) -> None:
    assert [j["goal"].partition(":")[0] for j in goals.pdenet()] == ["PDE-Net"] * 4
    assert goals.pdenet(tmp_path) == []


# ---- rows and the page --------------------------------------------------------------------------------------------


def a_row(**changes):
    row = {"task": "W", "family": "frames", "size": "8x8", "dtype": "float32", "threads": 1, "device": "cpu"}
    row |= {"machine": "a machine", "ours_s": 0.0246, "limit_s": 0.0123, "peers": {"A": 0.0738, "B": 0.0123}}
    row |= {"ours_min_s": 0.02, "limit_min_s": 0.01, "peers_min": {"A": 0.05, "B": 0.008}}
    row |= {"absent": {"C": "not installed"}, "limit": "copy of 1 MB", "note": "", "rounds": 7}
    return row | {"peak_mb": 3.0, "result_mb": 2.0} | changes


def test_a_new_row_takes_its_place_and_leaves_the_others(report, tmp_path) -> None:
    old = [a_row(), a_row(threads=2), a_row(task="W^T")]
    report.save(old, tmp_path / "bench.json")
    new = a_row(threads=2, ours_s=0.5)
    report.save(report.merged(report.load(tmp_path / "bench.json"), [new, a_row(task="X")]), tmp_path / "bench.json")
    assert report.load(tmp_path / "bench.json") == [old[0], new, old[2], a_row(task="X")]
    assert report.load(tmp_path / "none.json") == []


def test_a_run_that_is_stopped_leaves_the_rows_whole(report, tmp_path, monkeypatch) -> None:
    path = tmp_path / "bench.json"
    report.save([a_row()], path)
    monkeypatch.setattr(report.os, "replace", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        report.save([a_row(), a_row(task="W^T")], path)
    assert report.load(path) == [a_row()]


def test_the_page_gives_ratios_and_names_who_is_absent(report, tmp_path) -> None:
    rows = [a_row(), a_row(task="run", family="learning", limit="the bare loop", note="a note", peers={}, peers_min={})]
    report.write(rows, tmp_path / "page.md", tmp_path / "page.png")
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# Benchmarks") and "## a machine" in page and "## Goals" in page
    assert "| W | 8x8 | 1 | 2 (2) | B 0.5 (0.4), A 3 (2.5) | 1.5 |" in page  # where we lose it stays
    assert "- W, without C: not installed." in page
    assert "- The limit of run: the bare loop." in page and "- run, 8x8, 1 thread(s): a note." in page
    assert "0.0246" not in page and "0.0738" not in page
    assert (tmp_path / "page.png").stat().st_size > 1000 and "(page.png)" in page


def test_growth_is_a_slope(report) -> None:
    rows = [a_row(family="growth", size=f"{n}x{n}", ours_min_s=1e-9 * (n * n) ** 1.3) for n in (512, 64, 128, 256)]
    assert report.slopes([*rows, a_row(), a_row(family="growth", task="two sizes only")]) == [
        ("W", 1, "64x64 to 512x512", pytest.approx(1.3))
    ]


@pytest.mark.parametrize(("ratio", "said"), [(0.123, "0.12"), (1.0, "1"), (57.4, "57"), (1234.0, "1200")])
def test_ratios_have_two_digits(report, ratio, said) -> None:
    assert report.number(ratio) == said


def test_the_page_is_what_the_rows_say(report) -> None:
    rows = report.load()
    if not rows:
        pytest.skip("no rows are stored: make bench")
    page = report.PAGE.read_text(encoding="utf-8")
    assert report.table(rows) in page and report.goals(rows) in page, "docs/benchmarks.md is not of these rows"
    needed = {
        "task",
        "size",
        "dtype",
        "threads",
        "device",
        "machine",
        "ours_s",
        "limit_s",
        "peers",
        "peak_mb",
        "absent",
    }
    assert all(needed <= set(row) and row["limit_s"] > 0 and row["rounds"] >= 7 for row in rows)


def test_fewer_rounds_than_the_page_says_do_not_reach_it(capsys) -> None:
    main = importlib.import_module("benchmarks.__main__")
    with pytest.raises(SystemExit):
        main.main(["--rounds", "6", "run, 1000 steps"])
    assert "at least 7 times; got --rounds 6: give more, or --quick or --out FILE" in capsys.readouterr().err
    for words in (["--quick", "--rounds", "1"], ["--out", "rows.json", "--rounds", "1"], ["--rounds", "7"]):
        assert main.arguments(words).rounds == int(words[-1])


def test_one_command_measures_and_stores(report, tmp_path, capsys) -> None:
    main = importlib.import_module("benchmarks.__main__").main
    out, threads = tmp_path / "rows.json", torch.get_num_threads()
    try:
        assert main(["--quick", "--rounds", "1", "--threads", "1", "--out", str(out), "run, 1000 steps"]) == 0
        assert main(["--quick", "--list", "radon"]) == 0
    finally:
        torch.set_num_threads(threads)
    (row,) = report.load(out)
    assert row["limit"] == "the bare loop" and row["threads"] == 1 and row["machine"]
    assert "of the 5 us a step" in row["note"] and row["result_mb"] == pytest.approx(8 * 4 / 1e6)
    said = capsys.readouterr().out
    assert "| run, 1000 steps of u/2 | 8 | 1 |" in said and "Radon, 180 angles: 512x512" in said
