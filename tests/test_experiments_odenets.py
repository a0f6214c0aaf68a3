"""LM-ResNet against ResNet: what is stored is what the runs say; the script stops, goes on, works in two processes."""

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from companion.lab import stored

ROOT = Path(__file__).parents[1]
PATH = ROOT / "experiments" / "odenets.py"


@pytest.fixture
def script(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("odenets")


@pytest.fixture(scope="module")
def here() -> dict:
    return stored("odenets")["here"]


def of(runs: list[dict], task: str, net: str, depth: int) -> list[dict]:
    return [r for r in runs if (r["task"], r["net"], r["depth"]) == (task, net, depth)]


# ---- what is stored ----


def test_the_summary_is_computed_from_the_runs(script, here):
    assert json.loads(json.dumps(script.summary(here["runs"]))) == here["summary"]


def test_the_settings_are_those_of_the_script(script, here):
    assert json.loads(json.dumps(script.SCALES["here"])) == here["settings"]
    about = stored("odenets")["about"]
    assert {"torch", "companion", "device, here", "processor hours, here"} <= about.keys()


def test_no_run_is_missing_and_none_is_counted_twice(script, here):
    for task, setting in here["settings"].items():
        for depth in setting["depths"]:
            for net in ("ResNet", "LM-ResNet"):
                seeds = sorted(r["seed"] for r in of(here["runs"], task, net, depth))
                assert seeds == ([] if (net, depth) == ("LM-ResNet", 8) else list(script.SEEDS))
    assert len(script.SEEDS) >= 4


def test_means_errors_and_paired_differences_by_the_statistics_module(here):
    for task, table in here["summary"].items():
        for depth in here["settings"][task]["depths"]:
            res = {r["seed"]: r["error"] for r in of(here["runs"], task, "ResNet", depth)}
            lm = {r["seed"]: r["error"] for r in of(here["runs"], task, "LM-ResNet", depth)} or res
            for net, errors in (("ResNet", res), ("LM-ResNet", lm)):
                row, values = table["error"][net][str(depth)], list(errors.values())
                assert row["n"] == len(values)
                assert row["mean"] == pytest.approx(statistics.mean(values), abs=1e-5)
                assert row["standard error"] == pytest.approx(statistics.stdev(values) / len(values) ** 0.5, abs=1e-5)
            if depth > 8:
                gaps = [lm[s] - res[s] for s in res]
                row = table["LM-ResNet - ResNet"][str(depth)]
                assert row["mean"] == pytest.approx(statistics.mean(gaps), abs=1e-5)
                assert row["standard error"] == pytest.approx(statistics.stdev(gaps) / len(gaps) ** 0.5, abs=1e-5)


def test_the_runs_are_of_these_networks(script, here):
    """As many parameters as the networks have; LM-ResNet 3 (n - 1) more, the alpha_k, of which one is learned each."""
    for run in here["runs"]:
        n = (run["depth"] - 2) // 6
        assert len(run["alpha"]) == (3 * (n - 1) if run["net"] == "LM-ResNet" else 0)
    for task, setting in here["settings"].items():
        for depth in setting["depths"][:3]:
            for kind, make in script.NETS.items():
                net = make(depth, **setting["net"])
                for run in of(here["runs"], task, kind, depth):
                    assert run["parameters"] == sum(p.numel() for p in net.parameters())


def test_the_networks_have_learned(here):
    """Chance is 0.9; a task on which nothing is left to learn could not tell two networks apart either."""
    for task, table in here["summary"].items():
        errors = [row["mean"] for net in table["error"].values() for row in net.values()]
        assert min(errors) > 0.01 and max(errors) < 0.25, task


# ---- the depth at equal error ----


def test_the_depth_at_an_error_is_linear_in_its_logarithm(script):
    depths = np.array([10.0, 20.0, 40.0])
    errors = np.array([0.3, 0.2, 0.1])
    assert script.reached(depths, errors, 0.25) == pytest.approx(10 * 2**0.5)
    assert script.reached(depths, errors, 0.1) == pytest.approx(40)
    assert script.reached(depths, errors, 0.3) == 0 and script.reached(depths, errors, 0.05) == math.inf
    bumpy = np.array([0.3, 0.4, 0.1])
    assert script.reached(depths, bumpy, 0.25) == pytest.approx(20 * 2**0.5)  # the first time it falls that far


def test_a_network_of_half_the_depth_is_found_out(script):
    """e(D) = 1 - log(D)/10 for one, e(2 D) for the other, the same noise in both: the factor is 2."""
    depths = [8, 16, 32, 64]
    noise = np.array([-0.01, 0.0, 0.02])
    res = 1 - np.log(np.array(depths))[:, None] / 10 + noise
    lm = 1 - np.log(2 * np.array(depths))[:, None] / 10 + noise
    table = script.reduction(depths, res, lm, resamples=200)
    for depth in (32, 64):
        assert table[str(depth)]["factor"] == 2 and table[str(depth)]["interval"] == [2, 2]
    assert table["8"]["factor"] is None and table["8"]["reached by the smallest"] == 1
    turned = script.reduction(depths, lm, res, resamples=200)
    assert turned["16"]["factor"] == 0.5
    assert turned["64"] == {
        "factor": None,
        "interval": [None, None],
        "never reached": 1.0,
        "reached by the smallest": 0.0,
    }


def test_an_interval_is_as_wide_as_the_seeds_differ(script):
    depths, rng = [8, 16, 32, 64], np.random.default_rng(0)
    res = 1 - np.log(np.array(depths))[:, None] / 10 + 0.01 * rng.standard_normal((4, 6))
    lm = 1 - np.log(2 * np.array(depths))[:, None] / 10 + 0.01 * rng.standard_normal((4, 6))
    low, high = script.reduction(depths, res, lm, resamples=1000)["32"]["interval"]
    assert 1.2 < low < 2 < high < 3.5 or (low < 2.2 and high > 1.8)
    assert high - low > 0.1


# ---- the script ----

TINY = {
    "mnist1d": {
        "data": {"n": 40, "n_test": 20},
        "net": {"channels": 1, "width": 2, "dim": 1},
        "depths": (8, 14),
        "epochs": 1,
    }
}


def test_a_cut_script_goes_on(script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two seeds, three runs each. Cut in the fifth run, called again: two runs are left, the result is whole."""
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results" / "odenets.json")
    monkeypatch.setattr(script, "SCALES", {"here": TINY})
    monkeypatch.setattr(script, "SEEDS", (0, 1))
    monkeypatch.setattr(script, "__file__", str(tmp_path / "odenets.py"))
    measured, calls = script.measured, []

    def once(*arguments):
        calls.append(arguments[:4])
        if len(calls) == 5:
            raise KeyboardInterrupt
        return measured(*arguments)

    monkeypatch.setattr(script, "measured", once)
    with pytest.raises(KeyboardInterrupt):
        script.main("here")
    assert not script.RESULTS.exists() and len(calls) == 5
    script.main("here")
    assert len(calls) == 7 and calls[4] == calls[5]
    made = json.loads(script.RESULTS.read_text())
    assert len(made["here"]["runs"]) == 6 and made["here"]["summary"]["mnist1d"]["seeds"] == [0, 1]
    assert not script.RESULTS.with_suffix(".partial").exists()


def test_at_equal_seed_the_networks_start_from_the_same_fields(script):
    import torch

    torch.manual_seed(1)
    res = script.NETS["ResNet"](20, channels=1, width=4, dim=1)
    torch.manual_seed(1)
    lm = script.NETS["LM-ResNet"](20, channels=1, width=4, dim=1)
    theirs = [p for name, p in lm.named_parameters() if not name.endswith("alpha")]
    assert len(script.alphas(lm)) == 6 and all(-0.1 <= a <= 0 for a in script.alphas(lm))
    assert all(torch.equal(p, q) for p, q in zip(res.parameters(), theirs, strict=True))


@pytest.mark.slow
def test_the_full_scale_in_two_processes(tmp_path: Path):
    """`torchrun` with two processes, on a tiny task under the name of the full scale: one file, whole, no leftovers."""
    program = tmp_path / "tiny.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(PATH.parent)!r})\n"
        "import odenets; from pathlib import Path\n"
        f"odenets.RESULTS, odenets.__file__ = Path({str(tmp_path)!r}, 'results', 'odenets.json'), __file__\n"
        f"odenets.RESULTS.parent.mkdir(exist_ok=True); odenets.SEEDS, odenets.SCALES = (0, 1), {{'full': {TINY!r}}}\n"
        "odenets.main('full')\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    made = json.loads((tmp_path / "results" / "tiny.json").read_text())
    assert len(made["full"]["runs"]) == 6 and made["about"]["torch"]
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["tiny.json"]
