"""The stored PDE-Net 1.0: what the lesson says of it holds for what is stored, and the script does what it says."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest
import sympy
import torch

from companion.lab import stored


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "experiments" / "pdenet1.py"
    spec = importlib.util.spec_from_file_location("pdenet1", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
