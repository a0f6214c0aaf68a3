"""The stored robustness of implicit skips: its summary follows from its runs, and the script does what it says."""

import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from companion.lab import stored


@pytest.fixture(scope="module")
def script(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("robustness")


@pytest.mark.parametrize("how", ["plain", "adversarial"])
def test_the_summary_is_that_of_the_runs(how: str, script: ModuleType) -> None:
    results = stored("robustness")
    runs, table = results[how]["runs"], results[how]["networks"]
    assert set(runs) == set(table) == set(script.NETS)
    n = len(results["about"]["seeds"])
    assert n >= 4 and all(len(rows) == n for rows in runs.values())
    for name, rows in runs.items():
        for key in rows[0]:
            values = torch.tensor([row[key] for row in rows], dtype=torch.float64)
            error = float(((values - values.mean()) ** 2).sum() / (n - 1)) ** 0.5 / math.sqrt(n)
            assert table[name][key] == pytest.approx([float(values.mean()), error], abs=2e-4)
            if name != "ResNet" and key != "seconds":
                d = values - torch.tensor([row[key] for row in runs["ResNet"]], dtype=torch.float64)
                error = float(((d - d.mean()) ** 2).sum() / (n - 1)) ** 0.5 / math.sqrt(n)
                assert table[name]["minus ResNet"][key] == pytest.approx([float(d.mean()), error], abs=2e-4)


def test_the_script_on_a_few_pictures(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch, one seed, thirty pictures: all rows are there, shares of pictures, attacked ones not above clean."""
    small = lambda seed: tuple(t[:n] for t, n in zip(whole(seed), (40, 40, 12, 12), strict=True))  # noqa: E731
    whole = script.digits
    monkeypatch.setattr(script, "digits", small)
    monkeypatch.setattr(script, "EPS", (0.05,))
    results = script.comparison(seeds=(0,), epochs=1)
    for how in ("plain", "adversarial"):
        for rows in results[how]["runs"].values():
            (row,) = rows
            assert set(row) == {"clean", "PGD-20, 0.05", "transferred, 0.05", "seconds"}
            assert 0 <= row["PGD-20, 0.05"] <= row["clean"] <= 1


def test_the_networks_start_equal(script: ModuleType) -> None:
    weights = []
    for make in script.NETS.values():
        torch.manual_seed(0)
        weights.append(torch.cat([p.flatten() for p in make().parameters()]))
    assert all(torch.equal(w, weights[0]) for w in weights)
