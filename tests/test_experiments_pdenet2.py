"""The whole recipe of PDE-Net 2.0, seeds stacked: the script at a tiny scale, alone and in two processes."""

import copy
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from companion.lab import stored
from companion.lab.blockwise import blockwise
from companion.nets.pdenet import pdenet

ROOT = Path(__file__).parents[1]
SMALL = {"grid": 32, "coarse": 16, "max_dt": 1 / 200, "start_time": 0.0}
TINY: dict[str, Any] = {
    "NET": {"hidden": 1},
    "DATA": {"noise": 0.001, **SMALL},
    "TEST": {"n": 2, "steps": 5, "seed": 9, "noise": 0.0, **SMALL},
    "SCALES": {"full": {"seeds": 2, "films": 2, "iterations": 6, "learned": (0, 1, 2), "frozen": (0, 1)}},
}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script with tiny settings, writing elsewhere."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    for name in ("pdenet", "pdenet2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("pdenet2")
    for name, value in TINY.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results" / "pdenet2.json")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "pdenet2.py"))
    return module


def made(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results" / "pdenet2.json").read_text())


def close(a: Any, b: Any) -> bool:
    """Numbers equal up to the last of five digits, all else equal; seconds may be any."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a if k not in ("seconds", "time", "about"))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return a == pytest.approx(b, rel=2e-4, abs=2e-5) if isinstance(a, float) else a == b


def test_a_stack_is_taken_apart_again(script: ModuleType) -> None:
    """The parts have the first weights of the nets alone, and act as they do."""
    data = script.films([3, 5], 0, 2, 2, torch.device("cpu"))
    alone = [script.one(data, True, seed) for seed in (3, 5)]
    net = script.stacked(alone, data, True)
    again = pdenet(2, h=data.h, dt=data.dt, hidden=1, generator=torch.Generator().manual_seed(5))
    for s, single in enumerate(alone):
        assert torch.allclose(net(data.u[:, :, 0], 2)[s], single(data.u[s, :, 0], 2), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(p[1], q) for p, q in zip(net.parameters(), again.parameters(), strict=True))
    part = script.part(net, 1, script.one(data, True, 0))
    assert all(torch.equal(p, q) for p, q in zip(part.parameters(), again.parameters(), strict=True))


def test_each_seed_and_stage_has_its_own_films(script: ModuleType) -> None:
    u = [script.films([seed], stage, 2, 2, torch.device("cpu")).u for seed in (0, 1) for stage in (0, 1)]
    assert all(not torch.equal(u[i], u[j]) for i in range(4) for j in range(i)) and u[0].shape == (1, 2, 2, 2, 16, 16)
    both = script.films([0, 1], 1, 2, 2, torch.device("cpu")).u
    assert torch.equal(both, torch.cat([u[1], u[3]]))


def test_the_scripts_runs_are_trainings_of_single_nets(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it stores of seed 1 is what `blockwise` makes of that net alone; cut in the last stage, it goes on."""
    films = script.films

    def cut(seeds: Any, stage: int, *others: Any) -> Any:
        if stage == 2:
            raise KeyboardInterrupt
        return films(seeds, stage, *others)

    monkeypatch.setattr(script, "films", cut)
    with pytest.raises(KeyboardInterrupt):
        script.main(["--scale", "full"])
    monkeypatch.setattr(script, "films", films)
    assert len(list((tmp_path / "results").iterdir())) == 2
    script.main(["--scale", "full"])
    results = made(tmp_path)
    assert results["here"] is None and [path.name for path in (tmp_path / "results").iterdir()] == ["pdenet2.json"]
    run = results["full"]["learned"]["runs"][1]
    place = torch.device("cpu")

    def own(stage: int, count: int) -> Any:
        data = films([1], stage, 2, count, place)
        return data._replace(u=data.u[0])

    net = script.one(films([1], 0, 2, 2, place), True, 1)
    theirs = blockwise(net, own, (0, 1, 2), 6, progress=False)
    terms = [p.terms(net.F.names) for p in net.F.polynomial(2)]
    assert run["seed"] == 1 and run["blocks"] == [0, 1, 2]
    assert run["evaluations"] == [stage.evaluations for stage in theirs]
    assert run["loss"] == pytest.approx([stage.loss for stage in theirs], rel=1e-4)
    assert close(run["coefficients"], script.compared(terms, script.EQUATIONS["Burgers"])["coefficients"])
    assert run["after"][2] == run["coefficients"] and not close(run["after"][0], run["coefficients"])
    assert len(run["errors"]) == 2 and results["full"]["time"]["nets"] == 8
    script.main(["--scale", "full"])  # again from the beginning: the same
    assert close(made(tmp_path)["full"], results["full"])


def test_another_equation_is_stored_beside(script: ModuleType, tmp_path: Path) -> None:
    """One component, a place of its own; the reaction is warmed up three times."""
    script.main(["--scale", "full", "--equation", "heat"])
    results = made(tmp_path)
    run = results["full, heat"]["learned"]["runs"][0]
    assert results["full"] is None and run["blocks"] == [0, 1, 2]
    assert [set(row) for row in run["coefficients"]] == [{"u_xx", "u_yy"}]


def test_the_reaction_is_warmed_up_three_times(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    films = script.films

    def seen(seeds: Any, stage: int, n: int, count: int, *others: Any) -> Any:
        asked.append((stage, count))
        return films(seeds, stage, n, count, *others)

    monkeypatch.setattr(script, "films", seen)
    test = script.films([0], 0, 1, 2, torch.device("cpu"), "reaction").u[0]
    size = {"seeds": 1, "films": 1, "iterations": 1, "learned": (0, 1)}
    asked.clear()
    (run,) = script.trained("learned", size, [0], torch.device("cpu"), test, "reaction")
    assert run["blocks"] == [0, 0, 0, 1] and asked[1:] == [(0, 2), (1, 2), (2, 2), (3, 2)]
    assert "u**2*v" in run["coefficients"][0]


@pytest.mark.slow
def test_two_processes_make_the_file_of_one(tmp_path: Path) -> None:
    """torchrun, a seed each, against both seeds in one process."""
    program = tmp_path / "tiny.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'experiments')!r})\n"
        "import pdenet2; from pathlib import Path\n"
        f"for name, value in {TINY!r}.items(): setattr(pdenet2, name, value)\n"
        "folder = Path(sys.argv[1])\n"
        "pdenet2.RESULTS, pdenet2.__file__ = folder / 'results' / 'pdenet2.json', str(folder / 'pdenet2.py')\n"
        "pdenet2.main(['--scale', 'full'])\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for launcher, folder in (([sys.executable], tmp_path / "one"), (several, tmp_path / "two")):
        folder.mkdir()
        command = [*launcher, str(program), str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        assert [path.name for path in (folder / "results").iterdir()] == ["pdenet2.json"]
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    assert close(one["full"], two["full"]) and [r["seed"] for r in two["full"]["learned"]["runs"]] == [0, 1]
    assert two["about"]["device, full"].startswith("2 x one core") and "x one" not in one["about"]["device, full"]


def test_more_processes_than_seeds_are_refused(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "join", lambda device: (script.Team(2, 3), device))
    with pytest.raises(ValueError, match="take 2 processes at most, not 3"):
        script.main(["--scale", "full"])


# ---- what is stored ----


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return stored("pdenet2")


def test_the_summary_is_computed_from_the_runs(script: ModuleType, results: dict[str, Any]) -> None:
    for scale in (results[name] for name in ("here", "full") if results[name] is not None):
        for plan in script.PLANS:
            again = json.loads(json.dumps(script.summary(copy.deepcopy(scale[plan]["runs"]))))
            assert again == scale[plan]["summary"]
            assert [r["seed"] for r in scale[plan]["runs"]] == list(range(scale["settings"]["seeds"]))
            assert all(r["blocks"] == scale["settings"][plan] for r in scale[plan]["runs"])


def test_filters_that_learn_are_closer_than_frozen_ones(results: dict[str, Any]) -> None:
    """-1 within 0.05 and not much nearer, 0.05 within 0.01, after every number of blocks; frozen: -0.88, too small."""
    learned, frozen = (results["here"][plan]["summary"] for plan in ("learned", "frozen"))
    for rows in learned["after"][1:]:
        for name, (mean, _) in ((k, v) for row in rows for k, v in row.items()):
            low, high = (0.04, 0.06) if name.endswith(("_xx", "_yy")) else (-1.0, -0.95)
            assert low < mean < high
    for row in frozen["coefficients"]:
        for name, (mean, _) in row.items():
            assert name.endswith(("_xx", "_yy")) or -0.91 < mean < -0.86
    assert learned["prediction"][5][1] < 0.6 * frozen["prediction"][5][1]  # 100 steps


def test_a_good_one_step_is_no_stable_run(results: dict[str, Any]) -> None:
    """Six blocks in the training do not keep every net bounded for 400 steps; one-sided frozen filters are."""
    assert results["here"]["learned"]["summary"]["blown up"] and not results["here"]["frozen"]["summary"]["blown up"]
