"""The stored PDE-Net 1.0: what the lesson says of it holds for what is stored, and the script does what it says."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import sympy
import torch

from companion.lab import stored


@pytest.fixture(scope="module")
def script(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("pdenet1")


def test_what_is_stored_is_complete(script: ModuleType) -> None:
    results = stored("pdenet1")
    assert set(results["linear"]) == set(script.KINDS) and results["full"] is None
    assert results["about"]["seconds in all"] > sum(row["seconds"] for row in results["linear"].values())
    seeds = results["about"]["size"]["seeds"]
    assert len(seeds) >= 4
    for name, row in results["linear"].items():
        assert len(row["of each seed"]) == len(seeds)
        assert all(0 < low <= middle <= high for low, middle, high in row["error after 80 steps"].values())
        assert len(row["error by two steps"]["6"]) == 3 and len(row["error by two steps"]["6"][1]) == 41
        assert row["error by two steps"]["6"][1][-1] == row["error after 80 steps"]["6"][1]
        assert ("map, seed 0" in row) == (name in script.MAPPED)
    path = Path(script.__file__).parent / "results" / "pdenet1.json"
    assert path.stat().st_size < 200_000


def test_the_square_of_the_equation(script: ModuleType) -> None:
    """L^2 by SymPy: L twice on c e^{p x + q y}, a polynomial in p and q times e^{p x + q y}."""
    x, y, p, q = sympy.symbols("x y p q", real=True)
    a = (sympy.cos(x) + y * (2 * sympy.pi - y) * sympy.sin(y)) / 2 + sympy.Rational(3, 5)
    b = 2 * (sympy.cos(x) + sympy.sin(y)) + sympy.Rational(4, 5)

    def L(c: sympy.Expr) -> sympy.Expr:
        dx, dy = (lambda f: f.diff(x) + p * f), (lambda f: f.diff(y) + q * f)
        return sympy.expand(a * dx(c) + b * dy(c) + dx(dx(c)) / 5 + 3 * dy(dy(c)) / 10)

    squared = sympy.Poly(L(L(sympy.Integer(1))), p, q)
    ours = script.truth(10)[1]
    for (i, j), values in ours.items():
        f = sympy.lambdify((x, y), squared.coeff_monomial(p**i * q**j))
        for n in ((0, 0), (3, 7), (8, 2)):
            at = [2 * math.pi * k / 10 for k in n]
            assert float(f(*at)) == pytest.approx(float(values[n]), abs=1e-10), (i, j)


def test_the_coefficients_of_a_step(script: ModuleType) -> None:
    """C_beta: one step of u = x^i y^j / (i! j!) near the middle of the grid, in the equation's units."""
    size = script.Size(grid=16, mesh=2)
    kind = script.Kind(3, 5, 1, 1, script.Euler, True)
    net = script.net_of(kind, size, True)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=g, dtype=torch.float64)
    x = (torch.arange(16, dtype=torch.float64) - 8) * net.F.bank.h / script.UNIT
    for (i, j), C in script.coefficients(net).items():
        u = (x**i / math.factorial(i))[:, None] * (x**j / math.factorial(j))
        with torch.no_grad():
            change = (net(u[None, None])[0, 0] - u)[8, 8] / script.DT
        assert float(change) == pytest.approx(float(C[8, 8]), rel=1e-9, abs=1e-9)


def test_the_script_in_small(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "STEPS", 4)
    monkeypatch.setattr(script, "AHEAD", 2)
    size = script.Size(grid=12, mesh=2, n=2, iterations=3, blocks=(1, 2), seeds=(0,))
    kinds = ("learned", "learned, orders to 4, as in [102]", "frozen, Heun")
    table = script.linear(size, kinds)
    for name in kinds:
        row = table[name]
        assert set(row["error after 80 steps"]) == {"1", "2"} and math.isfinite(row["of each seed"][0])
        assert set(row["coefficients"]) == {"u_x", "u_y", "u_xx", "u_xy", "u_yy"}
    assert (
        table["frozen, Heun"]["coefficients"]["u_xx"]["mean"]
        == table["frozen, Heun"]["coefficients"]["u_xx"]["corrected"]
    )
    assert script.linear(size, ("learned",))["learned"]["of each seed"] == table["learned"]["of each seed"]
    small = script.sources(script.Size(grid=20, n=2, iterations=3), seeds=(0,))
    assert len(small["source"]) == 1 and len(small["source"][0]) == len(small["u"]) == 81
    assert set(small["coefficients"]) == {"u_x", "u_y", "u_xx", "u_xy", "u_yy"}
    assert all(abs(v["mean"][0]) <= v["r.m.s."][0] for v in small["coefficients"].values())
    assert sum(small["share of u"]) == pytest.approx(1, abs=0.02)


def test_seeds_together_are_seeds_alone(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacked nets, each with its own films and line searches, end where each ends alone."""
    size = script.Size(grid=16, mesh=2, n=2, iterations=4, blocks=(1, 2), seeds=(0, 1))
    kind = script.KINDS["learned"]
    together = script.trained(kind, size)
    for s, seed in enumerate(size.seeds):
        alone = script.trained(kind, size._replace(seeds=(seed,)))
        assert [k for k, _ in alone] == [k for k, _ in together] == [1, 2]
        for (_, one), (_, both) in zip(alone, together, strict=True):
            for p, q in zip(one[0].parameters(), both[s].parameters(), strict=True):
                assert torch.allclose(p, q, rtol=1e-6, atol=1e-9)
    first, second = (list(net.parameters()) for net in together[-1][1])
    assert not torch.allclose(first[0], second[0], rtol=1e-3)


@pytest.mark.slow
def test_two_processes_share_the_kinds(tmp_path: Path) -> None:
    """torchrun, two kinds of nets each, against all four in one process: the same table."""
    experiments = Path(__file__).resolve().parents[1] / "experiments"
    tiny = {"grid": 16, "mesh": 4, "n": 2, "iterations": 2, "blocks": (1,), "seeds": (0,)}
    program = tmp_path / "tiny.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(experiments)!r})\n"
        "import pdenet1\n"
        f"pdenet1.FULL, pdenet1.STEPS, pdenet1.AHEAD = {tiny!r}, 4, 2\n"
        "pdenet1.KINDS = dict(list(pdenet1.KINDS.items())[:4])\n"
        "pdenet1.__file__ = sys.argv[1] + '/pdenet1.py'\n"
        "pdenet1.stored = lambda name: {'linear': None, 'sources': None, 'full': None}\n"
        "pdenet1.main(['--scale', 'full'])\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(experiments.parent)}
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    tables = []
    for launcher, folder in (([sys.executable], tmp_path / "one"), (several, tmp_path / "two")):
        folder.mkdir()
        command = [*launcher, str(program), str(folder)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        tables.append(json.loads((folder / "results" / "pdenet1.json").read_text())["full"])
    assert list(tables[0]) == list(tables[1]) and len(tables[0]) == 4
    for one, two in zip(tables[0].values(), tables[1].values(), strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in two.items() if k != "seconds"}
