"""Lesson 04: what its checks say to right and wrong answers, what its explorer shows, what its table was made of."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from companion import ADMM, FrameletTransform, Gradient, Mask, analysis, bspline, tikhonov
from companion.lab import explorers, stored
from companion.lab.exercises import lesson_04 as exercises
from tests.verdicts import says

ROOT = Path(__file__).resolve().parents[1]
MODELS = [f"{model}, {bank}" for model in ("analysis", "balanced", "synthesis") for bank in ("Haar", "linear", "cubic")]


PROX = {
    "right": lambda v, t: (v - t).clamp_min(0),
    "right ": lambda v, t: torch.relu(v - t),
    "two-sided": lambda v, t: v.sign() * (v.abs() - t).clamp_min(0),
    "price t w is missing": lambda v, t: v.clamp_min(0),
    "may still be negative": lambda v, t: v - t,
    "sign of t": lambda v, t: (v + t).clamp_min(0),
    "hard thresholding": lambda v, t: torch.where(v > t, v, torch.zeros_like(v)),
    "after clipping": lambda v, t: v.clamp_min(0) - t,
    "keeps negative v": lambda v, t: (v.abs() - t).clamp_min(0),
    "not yet": lambda v, t: ...,
}


@pytest.mark.parametrize("words", PROX)
def test_the_proximal_map(words: str) -> None:
    assert words.strip() in says(exercises.nonnegative, PROX[words])


def _v(u: Tensor, W: FrameletTransform, T: Callable) -> Tensor:
    return W.T(T(W(u)))


STEPS = {
    "right": lambda u, A, f, W, T: A.T(f) + _v(u, W, T) - A.T(A(_v(u, W, T))),
    "it must look at v": lambda u, A, f, W, T: _v(u, W, T) - A.T(A(u) - f),
    "moves away": lambda u, A, f, W, T: _v(u, W, T) + A.T(A(_v(u, W, T)) - f),
    "must start from v": lambda u, A, f, W, T: u - A.T(A(_v(u, W, T)) - f),
    "works for a mask only": lambda u, A, f, W, T: torch.where(A.m, f, _v(u, W, T)),
    "not corrected": lambda u, A, f, W, T: _v(u, W, T),
    "not denoised": lambda u, A, f, W, T: u - A.T(A(u) - f),
    "corrects first": lambda u, A, f, W, T: _v(u - A.T(A(u) - f), W, T),
    "A^T f is missing": lambda u, A, f, W, T: _v(u, W, T) - A.T(A(_v(u, W, T))),
    "not taken away": lambda u, A, f, W, T: _v(u, W, T) + A.T(f),
    "differs from the right one": lambda u, A, f, W, T: 0.5 * u,
}


@pytest.mark.parametrize("words", STEPS)
def test_the_step(words: str) -> None:
    assert words in says(exercises.correction, STEPS[words])


F, G = torch.fft.fft2, torch.fft.ifft2
SOLVES = {
    "right": lambda f, z, a, rho: G((a.conj() * F(f) + rho * F(z)) / (a.abs() ** 2 + rho)).real,
    "conjugate": lambda f, z, a, rho: G((a * F(f) + rho * F(z)) / (a.abs() ** 2 + rho)).real,
    "A^T f is missing": lambda f, z, a, rho: G(rho * F(z) / (a.abs() ** 2 + rho)).real,
    "take the real part": lambda f, z, a, rho: G((a.conj() * F(f) + rho * F(z)) / (a.abs() ** 2 + rho)),
    "f itself": lambda f, z, a, rho: G((F(f) + rho * F(z)) / (a.abs() ** 2 + rho)).real,
    "in front of z": lambda f, z, a, rho: G((a.conj() * F(f) + F(z)) / (a.abs() ** 2 + rho)).real,
    "this has |a^|": lambda f, z, a, rho: G((a.conj() * F(f) + rho * F(z)) / (a.abs() + rho)).real,
    "a^ squared": lambda f, z, a, rho: G((a.conj() * F(f) + rho * F(z)) / (a**2 + rho)).real,
}


@pytest.mark.parametrize("words", SOLVES)
def test_the_solve(words: str) -> None:
    assert words in says(exercises.blur_step, SOLVES[words])


CHOICES = {
    "right": ("FISTA", "ADMM", "PDHG", "PDHG"),
    "right ": ("ADMM", "PDHG", "PDHG", "PDHG"),
    "faster": ("PFBS", "ADMM", "PDHG", "PDHG"),
    "b: FISTA needs": ("FISTA", "FISTA", "PDHG", "PDHG"),
    "c: ADMM solves": ("FISTA", "ADMM", "ADMM", "PDHG"),
    "d: ADMM needs": ("FISTA", "ADMM", "PDHG", "ADMM"),
    "none of": ("Newton", "ADMM", "PDHG", "PDHG"),
}


@pytest.mark.parametrize("words", CHOICES)
def test_the_choice_of_a_solver(words: str) -> None:
    assert words.strip() in says(exercises.solvers, dict(zip("abcd", CHOICES[words], strict=True)))
    assert "no solver is named" in says(exercises.solvers, {"a": "FISTA"})


def test_the_restoration() -> None:
    """The task asks for more than Tikhonov's and Haar's framelets reach, and for convergence."""

    def by(order: int, k: int) -> Callable[[Tensor, Tensor], Tensor]:
        W = FrameletTransform(bspline(order))
        return lambda f, known: analysis(Mask(known), f, W, W.weights(0.004)).solve(ADMM, k=k, tol=None).u

    assert says(exercises.restoration, by(2, 150)) == "right"
    assert "25.5 is asked for" in says(exercises.restoration, by(1, 150))
    harmonic = lambda f, known: tikhonov(Mask(known), f, 1e-3, Gradient(boundary="periodic")).minimiser(1e-6)  # noqa: E731
    assert "25.5 is asked for" in says(exercises.restoration, harmonic)
    assert "holes are still black" in says(exercises.restoration, lambda f, known: f)
    assert "shape" in says(exercises.restoration, lambda f, known: f[:64])


def test_the_explorer_shows_what_it_says() -> None:
    """Analysis stays on the range of W; the balanced model comes near it as kappa grows; each beats Tikhonov in MRI."""
    far = {
        kappa: float(explorers.restoration("MRI", kappa=kappa)[1]["distance of d from the range of W"])
        for kappa in (0.1, 1.0, 10.0)
    }
    assert far[0.1] > far[1.0] > far[10.0]
    for model in ("analysis", "balanced"):
        facts = explorers.restoration("MRI", model, lam=0.003)[1]
        assert float(facts["PSNR"].split()[0]) > float(facts["PSNR of Tikhonov"].split()[0]) + 4


@pytest.fixture(scope="module")
def script(experiment: Callable[[str], ModuleType]) -> ModuleType:
    return experiment("restoration")


@pytest.mark.parametrize("name", ["blur", "mask", "mri", "ct"])
def test_the_stored_table_has_every_method_of_the_script(name: str, script: ModuleType) -> None:
    rows = stored("restoration")[name]
    assert set(rows) == set(script.methods(getattr(script, name)()))
    assert set(MODELS) <= set(rows)
    for row in rows.values():
        assert 3 < row["psnr"] < 60 and -1 <= row["ssim"] <= 1 and row["seconds"] >= 0


@pytest.mark.parametrize(
    ("name", "method"), [("mri", "analysis, Haar"), ("mri", "Tikhonov"), ("mask", "balanced, Haar")]
)
def test_a_stored_row_is_what_the_script_computes(name: str, method: str, script: ModuleType) -> None:
    """One run at the stored weight gives the stored PSNR."""
    task, row = getattr(script, name)(), stored("restoration")[name][method]
    at, _ = script.methods(task)[method]
    u, _ = at(row["weight"])
    mse = float((u.clamp(0, 1) - task.u).double().square().mean())
    assert abs(-10 * torch.log10(torch.tensor(mse)).item() - row["psnr"]) < 0.1


def test_results_that_are_not_there_name_their_script() -> None:
    with pytest.raises(FileNotFoundError, match=r"python experiments/nothing\.py"):
        stored("nothing")


def test_the_results_are_plain_numbers() -> None:
    text = (ROOT / "experiments" / "results" / "restoration.json").read_text()
    assert len(text) < 30_000 and json.loads(text)["about"]["threads"] == 1
