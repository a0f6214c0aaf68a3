"""A u = m . F u: the unitary transform, what a real picture's data are, and the patterns of a scanner."""

from itertools import product
from math import pi, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    PartialFourier,
    cartesian_pattern,
    radial_pattern,
    random_pattern,
    to_complex,
    to_real,
)

PHASES = pytest.mark.parametrize("phase", [False, True])


def picture(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def opposite(m: Tensor) -> Tensor:
    """m[-k]."""
    axes = tuple(range(m.ndim))
    return m.flip(axes).roll((1,) * m.ndim, axes)


def some(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5)) < 0.4


# ---- the transform -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (8,), (4, 5), (3, 2, 4)], ids=str)
def test_the_data_are_the_sums_of_the_definition(shape: tuple[int, ...]) -> None:
    """(F u)[k] = |N|^{-1/2} sum_n u[n] e^{-2 pi i k.n/N}, frequency by frequency, real part before imaginary part."""
    u, d = picture(*shape), len(shape)
    f = PartialFourier(torch.ones(shape), d)(u).numpy()
    assert f.shape == (2, *shape)
    for k in product(*map(range, shape)):
        exact = 0j
        for n in product(*map(range, shape)):
            exact += u[n].item() * np.exp(-2j * pi * sum(i * j / N for i, j, N in zip(k, n, shape, strict=True)))
        exact /= sqrt(np.prod(shape))
        assert f[(0, *k)] == pytest.approx(exact.real, abs=1e-13)
        assert f[(1, *k)] == pytest.approx(exact.imag, abs=1e-13)


@pytest.mark.paper("(1.1)")
@PHASES
def test_all_frequencies_are_an_isometry(phase: bool) -> None:
    """Parseval: |F u| = |u| and F^H F = I, so A is tight; with some frequencies only it is not."""
    A, u = PartialFourier(torch.ones(6, 5), phase=phase), picture(*(2,) * phase, 6, 5)
    torch.testing.assert_close(A(u).norm(), u.norm(), rtol=1e-14, atol=0)
    torch.testing.assert_close(A.T(A(u)), u, rtol=0, atol=1e-14)
    assert A.tight and not PartialFourier(some(6, 5), phase=phase).tight


def test_frequency_zero_is_the_mean() -> None:
    u = picture(3, 8, 6)
    only = torch.zeros(8, 6, dtype=torch.bool)
    only[0, 0] = True
    A = PartialFourier(only)
    torch.testing.assert_close(A(u)[:, 0, 0, 0], u.mean((-2, -1)) * sqrt(48), rtol=0, atol=1e-13)
    torch.testing.assert_close(A.T(A(u)), u.mean((-2, -1), keepdim=True).expand_as(u), rtol=0, atol=1e-14)


def test_what_is_not_sampled_is_zero() -> None:
    m = some(8, 6)
    A, u = PartialFourier(m), picture(3, 8, 6)
    f = A(u)
    assert torch.count_nonzero(f[..., ~m]) == 0
    assert torch.equal(A.restrict(torch.ones_like(f)), m.double().expand_as(f))
    assert torch.equal(f, A.restrict(PartialFourier(torch.ones(8, 6))(u)))


def test_complex_numbers_as_an_axis_of_two() -> None:
    z = torch.complex(picture(3, 4, 5), picture(3, 4, 5))
    f = to_real(z)
    assert f.shape == (3, 2, 4, 5)
    assert torch.equal(f[:, 0], z.real) and torch.equal(f[:, 1], z.imag)
    assert torch.equal(to_complex(f), z)
    assert to_real(z, dim=1).shape == (3, 4, 2, 5) and to_real(z, dim=3).shape == (2, 3, 4, 5)
    assert torch.equal(to_complex(to_real(z, 1), 1), z)
    u = picture(4, 5)
    assert torch.equal(to_complex(to_real(u)).real, u) and torch.count_nonzero(to_real(u)[1]) == 0


# ---- the adjoint, and what a real picture's data are -------------------------------------------------------------


@pytest.mark.parametrize("m", [some(7, 6), some(6, 8) | opposite(some(6, 8))], ids=["one-sided", "symmetric"])
def test_the_normal_operator_weighs_a_frequency_by_how_often_it_is_seen(m: Tensor) -> None:
    """A^T A = F^H m~ F with m~ = (m + m[-.]) / 2."""
    A, u = PartialFourier(m), picture(*m.shape)
    weight = (m.double() + opposite(m).double()) / 2
    exact = torch.fft.ifftn(weight * torch.fft.fftn(u)).real
    torch.testing.assert_close(A.T(A(u)), exact, rtol=0, atol=1e-14)
    torch.testing.assert_close(A.weight(), weight, rtol=0, atol=0)


def test_opposite_frequencies_carry_the_same_information() -> None:
    """k alone, -k alone, or both: the same null space; both together count twice."""
    one = torch.zeros(8, 8, dtype=torch.bool)
    one[2, 3] = True
    u = picture(8, 8)
    A, B, C = PartialFourier(one), PartialFourier(opposite(one)), PartialFourier(one | opposite(one))
    torch.testing.assert_close(A.T(A(u)), B.T(B(u)), rtol=0, atol=1e-14)
    torch.testing.assert_close(2 * A.T(A(u)), C.T(C(u)), rtol=0, atol=1e-14)
    assert A.norm(u).item() == pytest.approx(sqrt(0.5), rel=1e-15) and C.norm(u).item() == 1.0
    torch.testing.assert_close(to_complex(C(u))[2, 3], to_complex(C(u))[-2, -3].conj(), rtol=0, atol=1e-14)


def test_AAT_is_a_projection_if_and_only_if_the_pattern_is_symmetric() -> None:
    """... and even then P_Lambda only on the data of real pictures; with a phase it is P_Lambda for every pattern."""
    m, f = some(6, 7), picture(2, 6, 7)
    symmetric = m | opposite(m)
    assert not torch.equal(m, symmetric)

    def twice(A: PartialFourier) -> tuple[Tensor, Tensor]:
        once = A(A.T(f))
        return once, A(A.T(once))

    once, again = twice(PartialFourier(m))
    assert (once - again).norm() > 0.1
    A = PartialFourier(symmetric)
    once, again = twice(A)
    torch.testing.assert_close(once, again, rtol=0, atol=1e-14)
    assert (once - A.restrict(f)).norm() > 0.1
    data = PartialFourier(torch.ones(6, 7))(picture(6, 7))
    torch.testing.assert_close(A(A.T(data)), A.restrict(data), rtol=0, atol=1e-14)
    B = PartialFourier(m, phase=True)
    torch.testing.assert_close(B(B.T(f)), B.restrict(f), rtol=0, atol=1e-14)


def test_a_picture_with_a_phase_needs_both_frequencies() -> None:
    """One side of the Fourier plane determines a real picture, and half of a complex one."""
    n = 7
    side = (torch.arange(n) <= n // 2)[:, None].expand(n, n)  # k_1 >= 0
    real, complex_ = PartialFourier(side), PartialFourier(side, phase=True)
    assert (real.weight() > 0).all()
    u = picture(n, n)
    torch.testing.assert_close(real.normal_solve(real.T(real(u)), 0.0), u, rtol=0, atol=1e-13)
    assert (complex_.singular_values(to_real(u)) == 0).sum() == 2 * (~side).sum()


@PHASES
def test_least_squares_restores_what_is_known(phase: bool) -> None:
    """(A^T A + rho I)^{-1} A^T A u: frequencies come back by the factor m~ / (m~ + rho)."""
    m, rho = some(8, 6), 0.25
    A, u = PartialFourier(m, phase=phase), picture(*(2,) * phase, 8, 6)
    z = torch.fft.fftn(to_complex(u) if phase else u.to(torch.complex128), norm="ortho")
    weight = m.double() if phase else (m.double() + opposite(m).double()) / 2
    back = torch.fft.ifftn(z * weight / (weight + rho), norm="ortho")
    exact = to_real(back) if phase else back.real
    torch.testing.assert_close(A.normal_solve(A.T(A(u)), rho), exact, rtol=0, atol=1e-14)


def test_the_picture_of_one_real_frequency() -> None:
    """A cosine lives on k and -k, half its energy each."""
    n, k = 16, 3
    u = torch.cos(2 * pi * k * torch.arange(n, dtype=torch.float64) / n)
    f = PartialFourier(torch.ones(n), dim=1)(u)
    assert f[0, k].item() == pytest.approx(sqrt(n) / 2) and f[0, n - k].item() == pytest.approx(sqrt(n) / 2)
    f[0, k] = f[0, n - k] = 0
    assert f.abs().max() < 1e-14


# ---- patterns ----------------------------------------------------------------------------------------------------


PATTERNS = {
    "radial": lambda n, seed=0: radial_pattern(n, 9 + seed),
    "cartesian": lambda n, seed=0: cartesian_pattern(n, 4, seed=seed),
    "random": lambda n, seed=0: random_pattern(n, 0.3, seed=seed),
}


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("n", [16, 31, 64])
def test_patterns_are_bool_hold_frequency_zero_and_repeat(name: str, n: int) -> None:
    state = torch.get_rng_state()
    m = PATTERNS[name](n)
    assert m.dtype == torch.bool and m.shape == (n, n) and bool(m[0, 0])
    assert torch.equal(PATTERNS[name](n), m)
    assert not torch.equal(PATTERNS[name](n, seed=1), m)
    assert torch.equal(torch.get_rng_state(), state)
    assert PartialFourier(m).norm(m.double()) == 1


def test_one_line_is_a_row_or_a_column_and_two_are_a_cross() -> None:
    m = radial_pattern(8, 1)
    assert bool(m[:, 0].all()) and m.sum() == 8
    m = radial_pattern(9, 2)
    assert bool(m[:, 0].all()) and bool(m[0].all()) and m.sum() == 17
    k = torch.fft.fftfreq(9, 1 / 9)
    diagonal = radial_pattern(9, 4) & ~m
    assert (k[:, None].expand(9, 9)[diagonal].abs() == k.expand(9, 9)[diagonal].abs()).all() and diagonal.sum() == 16


@pytest.mark.parametrize("n", [15, 16, 128])
@pytest.mark.parametrize("lines", [1, 3, 12, 30])
def test_lines_are_symmetric_straight_and_reach_the_border(n: int, lines: int) -> None:
    """m[-k] = m[k]; every sample lies within half a step of a line; every line has a sample at each step."""
    m = radial_pattern(n, lines)
    assert torch.equal(m, opposite(m))
    k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    inside = m.clone()
    if n % 2 == 0:
        inside[n // 2] = inside[:, n // 2] = False  # -n/2 stands for n/2 too
    k1, k2 = k[:, None].expand(n, n)[inside], k.expand(n, n)[inside]
    theta = pi * torch.arange(lines, dtype=torch.float64)[:, None] / lines
    offset = (k1 * theta.sin() - k2 * theta.cos()).abs() / torch.maximum(theta.sin().abs(), theta.cos().abs())
    assert offset.min(0).values.max() <= 0.5 + 1e-9
    assert m.sum() <= lines * (2 * (n // 2) + 1) and m.any(0).all() | m.any(1).all()


def test_more_lines_hold_fewer_lines() -> None:
    few, many = radial_pattern(64, 8), radial_pattern(64, 16)
    assert torch.equal(few & many, few) and many.sum() > few.sum()
    assert radial_pattern(32, 200).all()


@pytest.mark.parametrize("n", [32, 100, 128, 129])
@pytest.mark.parametrize("acceleration", [1, 2, 3.5, 4, 8])
def test_cartesian_patterns_keep_whole_rows_as_many_as_asked(n: int, acceleration: float) -> None:
    m = cartesian_pattern(n, acceleration, seed=2)
    rows = m.any(1)
    assert torch.equal(m, rows[:, None].expand(n, n))
    assert rows.sum() == round(n / acceleration)
    frequency = torch.fft.fftfreq(n, 1 / n).abs()
    central = max(1, round(0.08 * n))
    assert rows[frequency < central / 2].all(), "the centre is sampled"
    assert rows[frequency.argsort(stable=True)[:central]].sum() >= central - 1


def test_the_rows_outside_the_centre_are_drawn_evenly() -> None:
    hits = sum(cartesian_pattern(64, 4, centre=0.1, seed=seed)[:, 0].double() for seed in range(400)) / 400
    outside = hits[hits < 1]
    assert len(outside) == 64 - 6  # round(0.1 * 64) rows are always there
    assert (outside - 10 / 58).abs().max() < 4.5 * sqrt(10 / 58 * 48 / 58 / 400)
    assert (hits[:3] == 1).all() and (hits[-2:] == 1).all()


@pytest.mark.parametrize("fraction", [1e-6, 0.1, 0.333, 1.0])
def test_random_patterns_have_exactly_the_share_asked_for(fraction: float) -> None:
    for decay in (0.0, 1.0, 3.0):
        assert random_pattern(40, fraction, decay).sum() == max(1, round(fraction * 1600))


def test_decay_crowds_the_low_frequencies() -> None:
    k = torch.fft.fftfreq(64, 1 / 64, dtype=torch.float64)
    radius = torch.hypot(k[:, None], k)
    mean = [radius[random_pattern(64, 0.2, decay)].mean().item() for decay in (0.0, 1.0, 2.0, 4.0)]
    assert mean[0] == pytest.approx(radius.mean().item(), rel=0.05)
    assert mean[0] > mean[1] > mean[2] > mean[3]
    assert random_pattern(64, 0.2, 4.0)[radius < 4].all()


def test_the_race_draws_with_the_weights() -> None:
    """Two frequencies, one of them 0: the other is drawn with odds (1 + |k|)^{-decay} against its equals."""
    counts = sum(random_pattern(4, 2 / 16, 2.0, seed).double() for seed in range(4000)) / 4000
    k = torch.fft.fftfreq(4, 1 / 4, dtype=torch.float64)
    weight = (1 + torch.hypot(k[:, None], k)) ** -2.0
    weight[0, 0] = 0
    weight = weight / weight.sum()
    assert counts[0, 0] == 1
    counts[0, 0] = 0
    assert (counts - weight).abs().max() < 4 * sqrt(0.25 * 0.75 / 4000)
