"""Lesson 01: its exercises tell the plausible mistakes apart, its explorer tells the truth."""

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import Blur, LinearOperator, gaussian_kernel, to_complex
from companion.lab import explorers, psnr
from companion.lab.diagnose import same
from companion.lab.exercises import lesson_01 as exercises
from companion.lab.explorers.lesson_01 import data, measured


def repeated(f: Tensor) -> Tensor:
    return f.repeat_interleave(2, -1).repeat_interleave(2, -2)


def spread(f: Tensor) -> Tensor:
    u = f.new_zeros(*f.shape[:-2], 2 * f.shape[-2], 2 * f.shape[-1])
    for i in (0, 1):
        for j in (0, 1):
            u[..., i::2, j::2] = f / 4
    return u


@pytest.mark.parametrize("answer", [lambda f: repeated(f) / 4, spread, lambda f: torch.kron(f, torch.ones(2, 2)) / 4])
def test_block_adjoint(answer) -> None:
    assert exercises.block_adjoint.verdict(answer).state == "right"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (repeated, "pseudo-inverse"),
        (lambda f: repeated(f) / 2, "1/4 for a pixel"),
        (lambda f: f.repeat(2, 2) / 4, "tiles"),
        (lambda f: -repeated(f) / 4, "not the adjoint"),
        (lambda f: f, "shape (4, 6) to one of (8, 12)"),
        (lambda f: repeated(f).float() / 4, "keep the type"),
    ],
)
def test_block_adjoint_missed(answer, words: str) -> None:
    state, said = exercises.block_adjoint.verdict(answer)
    assert state == "wrong" and words in said, said


def turned(m: Tensor) -> Tensor:
    return m.flip(0, 1).roll((1, 1), (0, 1))


def back(z: Tensor) -> Tensor:
    return torch.fft.ifft2(z, norm="ortho").real


def divided(b: Tensor, weight: Tensor) -> Tensor:
    return torch.fft.ifft2(torch.fft.fft2(b) / weight).real


def half(m: Tensor, kind: torch.dtype = torch.float64) -> Tensor:
    return (m.to(kind) + turned(m).to(kind)) / 2


def image(f: Tensor, m: Tensor) -> Tensor:
    return back(m * to_complex(f))


@pytest.mark.parametrize(
    "answer",
    [
        lambda f, m, a: divided(image(f, m), half(m) + a),
        lambda f, m, a: divided(image(f, m), half(m, torch.float32) + a),
        lambda f, m, a: back(torch.fft.fft2(image(f, m), norm="ortho") / (half(m) + a)),
        lambda f, m, a: torch.from_numpy(
            np.fft.ifft2(np.fft.fft2(image(f, m).numpy()) / (half(m).numpy() + a)).real.copy()
        ),
    ],
    ids=["float64", "weights in float32", "unitary throughout", "by NumPy"],
)
def test_mri_tikhonov(answer) -> None:
    assert exercises.mri_tikhonov.verdict(answer).state == "right"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda f, m, a: divided(image(f, m), m.double() + a), "you divide by m + alpha; for real pictures"),
        (lambda f, m, a: divided(back(to_complex(f)), half(m) + a), "m is missing in A^T f"),
        (lambda f, m, a: back(m * to_complex(f) / (m.double() + a)), "the problem for complex pictures; or"),
        (lambda f, m, a: divided(image(f, m), (m + turned(m)) / 2 + a), "logical or, 1 and not 2"),
        (lambda f, m, a: divided(image(f, m), (m + turned(m)) + a), "logical or, without the half"),
        (lambda f, m, a: divided(image(f, m), 2 * half(m) + a), "the half is forgotten: m~"),
        (lambda f, m, a: image(f, m), "nothing is divided yet"),
        (lambda f, m, a: divided(image(f, m), (m.double() + m.flip(0, 1)) / 2 + a), "roll by one"),
        (lambda f, m, a: divided(image(f, m), (m.double() + m.flip(0).roll(1, 0)) / 2 + a), "both axes"),
        (lambda f, m, a: divided(image(f, m), half(m).sqrt() + a), "square root"),
        (lambda f, m, a: divided(torch.fft.ifft2(m * to_complex(f)).real, half(m) + a), "a factor n"),
        (lambda f, m, a: divided(torch.fft.ifft2(m * to_complex(f), norm="forward").real, half(m) + a), "factor 1/n"),
        (lambda f, m, a: divided(torch.fft.fft2(m * to_complex(f), norm="ortho").real, half(m) + a), "ifft2; fft2"),
        (
            lambda f, m, a: divided(back(torch.fft.ifftshift(m * to_complex(f))), half(m) + a),
            "in m, in f and in fft2 alike",
        ),
        (lambda f, m, a: divided(back(torch.fft.fftshift(m) * to_complex(f)), half(m) + a), "in m as in f"),
        (lambda f, m, a: divided(image(f, m), torch.fft.fftshift(half(m)) + a), "in m as in fft2"),
        (lambda f, m, a: torch.fft.ifft2(to_complex(f)), "yours is complex"),
        (lambda f, m, a: -divided(image(f, m), half(m) + a), "of the wrong sign"),
        (lambda f, m, a: f, "shape (2, 32, 32)"),
    ],
)
def test_mri_tikhonov_missed(answer, words: str) -> None:
    state, said = exercises.mri_tikhonov.verdict(answer)
    assert state == "wrong" and words in said, said


def chosen(aim, A: LinearOperator, f: Tensor, sigma: float, logarithm: bool = False):
    """The alpha with |A x - f| = aim(f, sigma), by bisection of its logarithm."""
    low, high = -40.0, 25.0
    for _ in range(80):
        t = (low + high) / 2
        small = (A(A.normal_solve(A.T(f), float(np.exp(t)))) - f).norm() < aim(f, sigma)
        low, high = (t, high) if small else (low, t)
    return t if logarithm else np.exp(t)


def noise(f: Tensor, sigma: float) -> float:
    return sigma * f.numel() ** 0.5


def test_discrepancy() -> None:
    assert exercises.discrepancy.verdict(lambda A, f, s: chosen(noise, A, f, s)).state == "right"
    assert exercises.discrepancy.verdict(lambda A, f, s: torch.tensor(chosen(noise, A, f, s))).state == "right"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda A, f, s: chosen(lambda f, s: s, A, f, s), "|Ax - f| = sigma;"),
        (lambda A, f, s: chosen(lambda f, s: s**2 * f.numel(), A, f, s), "the squares are mixed up"),
        (lambda A, f, s: chosen(lambda f, s: noise(f, s) ** 0.5, A, f, s), "square both sides"),
        (lambda A, f, s: chosen(lambda f, s: s * len(f) ** 0.5, A, f, s), "not the side of the picture"),
        (lambda A, f, s: chosen(noise, A, f, s, logarithm=True), "its logarithm"),
        (lambda A, f, s: 1.0, "too large: alpha is too large"),
        (lambda A, f, s: 1e-5, "too small: alpha is too small"),
        (lambda A, f, s: f, "alpha is one number"),
    ],
)
def test_discrepancy_missed(answer, words: str) -> None:
    state, said = exercises.discrepancy.verdict(answer)
    assert state == "wrong" and words in said, said


@pytest.mark.parametrize("answer", [lambda A, f, u: A.T(1 - f / A(u)), lambda A, f, u: A.adjoint((A(u) - f) / A(u))])
def test_kl_gradient(answer) -> None:
    assert exercises.kl_gradient.verdict(answer).state == "right"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda A, f, u: 1 - f / A(u), "A^T is missing"),
        (lambda A, f, u: A(1 - f / A(u)), "where A^T belongs"),
        (lambda A, f, u: A.T(A(u) - f), "least squares"),
        (lambda A, f, u: 1 - A.T(f / A(u)), "A^T 1 is not 1"),
        (lambda A, f, u: A.T(1 - f / u), "v = Au, not at u"),
        (lambda A, f, u: -A.T(1 - f / A(u)), "wrong sign"),
        (lambda A, f, u: 2 * A.T(1 - f / A(u)), "2 times what it must be"),
    ],
)
def test_kl_gradient_missed(answer, words: str) -> None:
    state, said = exercises.kl_gradient.verdict(answer)
    assert state == "wrong" and words in said, said


def kept(c: Tensor, places: Tensor) -> Tensor:
    out = torch.zeros_like(c)
    out[places] = c[places]
    return out


@pytest.mark.parametrize(
    "answer",
    [
        lambda c, k: kept(c, c.abs().topk(k).indices),
        lambda c, k: kept(c, c.abs().argsort(descending=True)[:k]),
        lambda c, k: c * (c.abs().argsort(descending=True).argsort() < k),
    ],
)
def test_best_terms(answer) -> None:
    assert exercises.best_terms.verdict(answer).state == "right"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda c, k: kept(c, c.topk(k).indices), "largest values, not the largest in modulus"),
        (lambda c, k: kept(c, torch.arange(k)), "linear approximation"),
        (lambda c, k: kept(c, c.abs().argsort()[:k]), "k smallest"),
        (lambda c, k: kept(c, c.abs().topk(k).indices).abs(), "lost their signs"),
        (lambda c, k: c - kept(c, c.abs().topk(k).indices), "the error, not the approximation"),
        (lambda c, k: c * (c.abs() >= c.abs().sort(descending=True).values[k - 1]), "right for k >= 1"),
        (lambda c, k: kept(c, c.abs().argsort()[-k:]), "right for k >= 1"),
        (lambda c, k: c.abs().topk(k).values, "has shape"),
        (lambda c, k: kept(c, c.abs().topk(min(k + 1, 40)).indices), "8 entries are not 0"),
        (lambda c, k: c.mul_(0), "c itself was changed"),
    ],
)
def test_best_terms_missed(answer, words: str) -> None:
    state, said = exercises.best_terms.verdict(answer)
    assert state == "wrong" and words in said, said


def test_a_factor_of_one_is_no_factor() -> None:
    """Where only rounding is left, the sentence says how large it is."""
    right = torch.linspace(1, 2, 50, dtype=torch.float64)
    said = same(right * (1 + 1e-5), right, 1e-9)
    assert said and "times what it must be" not in said and "1e-05" in said
    said = same(1.01 * right, right, 1e-9)
    assert said and "1.01 times" in said


# ---- the explorer ------------------------------------------------------------------------------------------------


def ratio(facts) -> float:
    return float(facts["|A x - f| / |noise|"])


@pytest.mark.parametrize("operator", ["identity", "mask", "MRI", "blur", "CT"])
def test_the_inversion_explorer_tells_the_truth(operator: str) -> None:
    """Its facts are those of Tikhonov's minimiser; the residual grows with alpha, up to |f|."""
    level, alpha, n = 0.05, 0.1, 64
    _, facts = explorers.inversion(operator=operator, level=level, alpha=alpha, n=n)
    A, u, v, _, norm2 = measured(operator, n)
    f = data(operator, "Gaussian", level, n)
    x = A.normal_solve(A.T(f), alpha * norm2, tol=1e-5)
    assert float(facts["PSNR of x"].split()[0]) == pytest.approx(psnr(x, u), abs=0.02)
    assert ratio(facts) == pytest.approx(float((A(x) - f).norm() / (f - v).norm()), abs=0.011)
    residuals = [ratio(explorers.inversion(operator=operator, level=level, alpha=a, n=n)[1]) for a in (0.001, 0.1, 1.0)]
    assert residuals == sorted(residuals) and residuals[0] < residuals[-1]


def test_what_the_lesson_says_to_watch() -> None:
    """A hole of the mask stays 0 whatever alpha; the blur is best near |A x - f| = |noise|; A = I only darkens."""
    A, _, _, _, _ = measured("mask", 64)
    f = data("mask", "Gaussian", 0.05, 64)
    for alpha in (1e-3, 1.0):
        assert bool((A.normal_solve(A.T(f), alpha)[~A.m.bool()] == 0).all())
    facts = [explorers.inversion(alpha=alpha)[1] for alpha in torch.logspace(-3, 0, 31).tolist()]
    top = max(facts, key=lambda fact: float(fact["PSNR of x"].split()[0]))
    assert 0.85 < ratio(top) < 1.15
    A, _, _, _, _ = measured("identity", 64)
    f = data("identity", "Gaussian", 0.05, 64)
    assert torch.allclose(A.normal_solve(A.T(f), 0.3), f / 1.3)


def test_a_fourier_coefficient_is_no_count() -> None:
    gaussian, poisson = (explorers.inversion(operator="MRI", noise=noise) for noise in ("Gaussian", "Poisson"))
    assert (gaussian[0] == poisson[0]).all() and "no count" in poisson[1]["noise"]


def test_the_least_singular_value_of_a_blur() -> None:
    """The same on every grid for a width in pixels, ever less for a width on the domain."""

    def least(n: int, width: float) -> float:
        A = Blur(gaussian_kernel(width, dim=1, radius=9), boundary="reflect")
        return A.svd(torch.zeros(n, dtype=torch.float64)).s[-1].item()

    in_pixels = [least(n, 1.5) for n in (32, 64, 128)]
    assert max(in_pixels) < 1.3 * min(in_pixels)
    assert least(128, 1.5) < 1e-3 * least(64, 0.75) < 1e-3 * least(32, 0.375)
