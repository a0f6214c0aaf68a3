"""The long runs on PDE-Nets: both scripts at a tiny scale, and what is stored is what the runs say."""

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from companion.lab import stored
from companion.lab.pde_data import frames
from companion.lab.pdes import Burgers, Heat

ROOT = Path(__file__).parents[1]
SMALL = {"grid": 32, "coarse": 16, "max_dt": 1 / 200, "start_time": 0.0}


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pdenet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script on heat, two seeds, a few iterations, writing elsewhere."""
    script = loaded("pdenet")
    file = tmp_path / "results" / "pdenet.json"

    def read(name: str) -> Any:
        return json.loads(file.read_text())

    tiny = {
        "__file__": str(tmp_path / "pdenet.py"),
        "stored": read,
        "SEEDS": range(2),
        "NOISES": (0.0, 0.001),
        "EQUATIONS": {"heat": Heat(0.1)},
        "FILMS": {"n": 2, "steps": 3, **SMALL},
        "TEST": {"n": 2, "steps": 5, "seed": 9, "noise": 0.0, **SMALL},
        "BLOCKS": {"blocks": (0, 1), "iterations": 3},
        "FROZEN": {"blocks": (0,), "iterations": 3},
        "HIDDEN": {"heat": 1},
        "FAST": {"heat": {"hidden": 0, "degree": 1, "points": 200, "stages": (20, 20, 20)}},
    }
    for name, value in tiny.items():
        monkeypatch.setattr(script, name, value)
    return script


def script_names(script: ModuleType, *names: str) -> list[str]:
    return [next(iter(script.named({name: 1.0}))) for name in names]


# ---- the scripts ----


def test_a_cut_script_goes_on_and_repeats_no_seed(pdenet: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    one, calls = pdenet.one, []

    def cut(name: str, noise: float, seed: int, test: torch.Tensor) -> dict[str, Any]:
        calls.append((noise, seed))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return one(name, noise, seed, test)

    monkeypatch.setattr(pdenet, "one", cut)
    with pytest.raises(KeyboardInterrupt):
        pdenet.main([])
    pdenet.main(["--noise", "0.001"])
    pdenet.main([])
    assert calls == [(0.0, 0), (0.0, 1), (0.001, 0), (0.001, 1), (0.0, 1)]
    made = pdenet.stored("pdenet")["heat"]
    assert made["kept"] == [1, 5] and made["simulators"]["reference"]["seconds"] >= 0
    for part in made["noise"].values():
        assert sorted(r["seed"] for r in part["runs"]) == [0, 1]
        assert part["summary"]["fast"]["worst"]["viscosity"] < 0.02
        assert len(part["summary"]["fast"]["prediction"]) == 2


def test_errors_and_percentiles_by_plain_loops(pdenet: ModuleType) -> None:
    """The map u -> 0.9 u on films of u: the error of the k-th frame, and what percentiles do with infinity."""
    test = frames(Heat(0.1), **pdenet.TEST, cache=False).u
    rows, _ = pdenet.errors(torch.nn.Threshold(-math.inf, 0.0), test)  # the identity
    for row, k in zip(rows, (1, 5), strict=True):
        for film in range(2):
            u, v = test[film, k, 0].numpy(), test[film, 0, 0].numpy()
            assert row[film] == pytest.approx(np.sqrt(((u - v) ** 2).mean()) / u.std(), rel=1e-9)
    assert pdenet.percentiles([[1.0, 2.0, 3.0, math.inf, 5.0]]) == [[2.0, 3.0, 5.0]]
    assert pdenet.percentiles([[1.0, math.inf, math.inf]]) == [[1.0, None, None]]


def test_coefficients_are_compared_whatever_the_order_of_factors(pdenet: ModuleType) -> None:
    found = [{"u_x*u": -0.9, "u_y*v": -1.0, "u_xx": 0.05, "u_yy": 0.06, "v": 0.003}, {"v_x*u": -1.0, "v_y*v": -1.0}]
    away = pdenet.compared(found, Burgers(0.05))
    assert away["transport"] == pytest.approx(0.1) and away["viscosity"] == pytest.approx(0.05)
    assert away["spurious"] == pytest.approx(0.003) and away["relative"] == pytest.approx(1)
    assert script_names(pdenet, "v**2*u", "u*v**2", "v*u**2") == ["u*v**2", "u*v**2", "u**2*v"]
    assert away["coefficients"][0] == {"u*u_x": -0.9, "u_y*v": -1.0, "u_xx": 0.05, "u_yy": 0.06}


def test_sindy_runs_at_a_tiny_scale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pysindy", reason="PySINDy comes with the extra 'lab'")
    script = loaded("sindy")

    def films(kind: str, grid: int, noise: float, seed: int) -> Any:
        return frames(Burgers(0.05), n=2, steps=11, grid=32, coarse=32, max_dt=1 / 200, noise=noise, seed=seed)

    tiny = {
        "__file__": str(tmp_path / "sindy.py"),
        "films": films,
        "KINDS": ("any",),
        "GRIDS": (32,),
        "NOISES": (0.0,),
        "SEEDS": range(2),
        "METHODS": {
            "strong": (script.strong, script.STRONG[-2:]),
            "weak": (script.weak, [{"box": 0.8, "duration": 0.04, "boxes": 30, "p": 4, "threshold": 0.01}]),
            "fast": (script.fast, [{"points": 500, "stages": (20, 20, 20)}]),
        },
    }
    for name, value in tiny.items():
        monkeypatch.setattr(script, name, value)
    script.main([])
    made = json.loads((tmp_path / "results" / "sindy.json").read_text())["any"]["32"]["0.0"]
    assert made.keys() == {"strong", "weak", "fast"} and all(len(m["runs"]) == 2 for m in made.values())
    assert made["strong"]["settings"]["space"] == "Fourier" and made["strong"]["worst"] < 0.5


def test_both_spell_the_terms_alike() -> None:
    script = loaded("sindy")
    assert [script.spelled(n) for n in ("u_x*u", "v*u_y", "v_xy", "v*u", "1")] == ["uu_1", "vu_2", "v_12", "uv", "1"]
    score = script.scored(
        np.array([[-1.0, -1, 0.05, 0.04, 0.1, 0], [0, 0, 0, 0, 0, 1.0]]), [*script.TRUE[0], "u", "uu_11"], 1.0
    )
    assert score["error"] == 1 and score["others"] == 2 and score["largest other"] == 1


# ---- what is stored ----


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return stored("pdenet")


def test_the_summary_is_computed_from_the_runs(results: dict[str, Any]) -> None:
    script = loaded("pdenet")
    for name in script.EQUATIONS:
        for part in results.get(name, {"noise": {}})["noise"].values():
            again = json.loads(json.dumps(script.summary(script.restored(part["runs"]))))
            assert again == part["summary"] and len({r["seed"] for r in part["runs"]}) == len(part["runs"])


def test_what_was_to_be_reached_is_reached(results: dict[str, Any]) -> None:
    """Noise 0.001, eight seeds: transport within 0.02 of -1, viscosity within 0.005 of 0.05, others below 0.01."""
    part = results["Burgers"]["noise"]["0.001"]
    assert len(part["runs"]) >= 8
    worst = part["summary"]["fast"]["worst"]
    assert worst["transport"] < 0.02 and worst["viscosity"] < 0.005 and worst["spurious"] < 0.01
    for row in part["summary"]["frozen"]["coefficients"]:
        for name, (mean, _) in row.items():
            low, high = (0.02, 0.047) if name.endswith(("_xx", "_yy")) else (-0.95, -0.8)
            assert low < mean < high, f"frozen filters are biased: {name} {mean}"
