"""The flows of Section 3 as frame shrinkages: levels, bounds, null modes, and what further bands gain."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    Charbonnier,
    CoherenceEnhancing,
    EdgeEnhancing,
    FastDecay,
    FourthOrder,
    FramePDE,
    Hessian,
    Rational,
    Scharr,
    Selling,
    TensorDiffusion,
    ThreeByThree,
    frame_diffusion,
    frame_directed,
    frame_fourth_order,
    frame_shock,
    frame_tensor,
    run,
    scharr_filters,
)
from companion.flows.frame_flows import _directed
from companion.lab.quality import psnr


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def isotropic(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(a), torch.ones_like(a)


EED, HEAT = EdgeEnhancing(FastDecay(1.0), 0.6, 0.0, 0.5), TensorDiffusion(isotropic, h=0.5)
CED = CoherenceEnhancing(0.3, 0.6, 1.0, 0.01, 0.5)


def symbol(F: FramePDE, n: int = 32) -> Tensor:
    """-F^ of a linear F on an n x n torus, w = 2 pi k/n."""
    point = torch.zeros(n, n, dtype=torch.float64)
    point[0, 0] = 1
    return -torch.fft.fft2(F(point)).real


def halves(n: int = 32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """s_1, s_2, c_1, c_2: sin^2 and cos^2 of w/2."""
    w = 2 * math.pi * torch.fft.fftfreq(n, dtype=torch.float64)
    s = torch.sin(w / 2).square()
    s1, s2 = torch.meshgrid(s, s, indexing="ij")
    return s1, s2, 1 - s1, 1 - s2


# ---- symbols for D = I ------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.6)")
@pytest.mark.parametrize("corner", [0.0, 2 / 3, 1.0])
def test_haar_with_its_diagonal_band(corner: float) -> None:
    """4/h^2 (s_1 c_2 + c_1 s_2 + 2 c s_1 s_2): turned five points (0), five points (1), isotropic up to h^4 (2/3)."""
    s1, s2, c1, c2 = halves()
    P = symbol(frame_tensor(HEAT, corner=corner))
    torch.testing.assert_close(P, 16 * (s1 * c2 + c1 * s2 + 2 * corner * s1 * s2), rtol=0, atol=1e-11)
    limit = frame_tensor(HEAT, corner=corner).max_dt
    assert float(P.max()) * limit == pytest.approx(2)
    w = 0.1
    along = [4 * (a + b - 2 * (1 - corner) * a * b) / w**2 for a, b in ((math.sin(w / 2) ** 2, 0.0),)]
    half = math.sin(w / math.sqrt(8)) ** 2
    diagonal = 4 * (2 * half - 2 * (1 - corner) * half**2) / w**2
    assert (abs(along[0] - diagonal) < 1e-6) == (corner == 2 / 3)


@pytest.mark.paper("(4.6)")
def test_all_bands_of_linear_splines_are_the_five_points() -> None:
    """D = I: 4/h^2 (s_1 + s_2), largest 8/h^2, and zero at w = 0 alone."""
    s1, s2, *_ = halves()
    F = frame_directed(HEAT)
    P = symbol(F)
    torch.testing.assert_close(P, 16 * (s1 + s2), rtol=0, atol=1e-11)
    assert float(P.max()) * F.max_dt == pytest.approx(2)
    u = random(9, 8)
    five = sum(at(u, i, 1) - 2 * u + at(u, i, -1) for i in (1, 2)) / 0.25
    torch.testing.assert_close(F(u), five, rtol=0, atol=1e-11)


@pytest.mark.paper("(4.6)")
def test_fourth_order_is_the_square_of_haars_laplacian() -> None:
    """g = 1: 16/h^4 (s_1 c_2 + c_1 s_2)^2; four times the step of finite differences."""
    s1, s2, c1, c2 = halves()
    F = frame_fourth_order(torch.ones_like, 0.5)
    torch.testing.assert_close(symbol(F), 256 * (s1 * c2 + c1 * s2) ** 2, rtol=0, atol=1e-10)
    turned = frame_tensor(HEAT)
    u = random(9, 9)
    torch.testing.assert_close(F(u), -turned(turned(u)), rtol=0, atol=1e-10)
    assert pytest.approx(4 * FourthOrder(torch.ones_like, Hessian(0.5)).max_dt) == F.max_dt


def test_scharrs_filters_have_his_bound() -> None:
    assert frame_tensor(EED, scharr_filters()).max_dt == pytest.approx(Scharr.limit * 0.25, rel=1e-9)


# ---- tensors that turn ------------------------------------------------------------------------------------------


def constant(F_of: str, theta: float, across: float = 1e-3) -> FramePDE:
    """The frame scheme of `frame_tensor` or `frame_directed` for D = t t^T + across n n^T, n = (cos, sin)(theta)."""
    n = (math.cos(theta), math.sin(theta))
    a = across * n[0] ** 2 + n[1] ** 2
    b = (across - 1) * n[0] * n[1]
    c = across * n[1] ** 2 + n[0] ** 2

    def haar(corner: float):
        def Phi(Du: Tensor, u: Tensor) -> Tensor:
            x, y, xy = Du.unbind(-3)
            return torch.stack([a * x + b * y, b * x + c * y, -corner / 4 * (a + c - 2 * abs(b)) * xy], -3)

        return FramePDE(terms := ((1, 0), (0, 1), (1, 1)), terms, Phi)

    if F_of == "directed":
        D = torch.tensor([[a, b], [b, c]], dtype=torch.float64)[..., None, None]
        terms = ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1), (1, 2), (2, 2))
        return FramePDE(terms, terms, lambda Du, u: _directed(D, Du, 1.0))
    return haar({"haar": 0.0, "corner": 1.0}[F_of])


def wave_rate(F: FramePDE, w: tuple[float, float]) -> float:
    """How fast a wave of any frequency w fades: from what F does to a point."""
    n = 15
    point = torch.zeros(n, n, dtype=torch.float64)
    point[n // 2, n // 2] = 1
    k = torch.arange(n, dtype=torch.float64) - n // 2
    return -float((F(point) * torch.cos(k[:, None] * w[0] + k * w[1])).sum())


@pytest.mark.paper("(4.6)")
def test_further_bands_make_lines_diffuse_alike_in_all_directions_and_leave_no_null_mode() -> None:
    """D = t t^T + 0.001 n n^T, waves of period 6 along t and along n, and the checkerboard, at 33 angles.

    directed: along t the rate is 0.82-0.91 of |w|^2, across at most 0.0016 |w|^2, and the checkerboard fades at 1/h^2
    at every angle. Haar's pair is as good but for the checkerboard, which it does not see; the diagonal band (nine
    points) sees it, except at 45 degrees, and costs waves across up to ten times their rate.
    """
    r, found = 2 * math.pi / 6, {}
    for name in ("haar", "corner", "directed"):
        rows = []
        for theta in np.linspace(0, math.pi / 2, 33):
            F, n = constant(name, theta), (math.cos(theta), math.sin(theta))
            along, across = (wave_rate(F, (r * k[0], r * k[1])) / r**2 for k in ((-n[1], n[0]), n))
            rows.append((along, across, wave_rate(F, (math.pi, math.pi))))
        rates = np.array(rows)
        found[name] = rates.min(0), rates.max(0)
    for name, (low, high) in found.items():
        assert 0.8 < low[0] <= high[0] < 0.92, name
    assert found["haar"][1][2] < 1e-12
    assert found["haar"][1][1] < 0.0016 and found["directed"][1][1] < 0.0016
    assert found["corner"][1][1] > 0.01
    assert found["corner"][0][2] < 0.01
    assert 0.99 < found["directed"][0][2] <= found["directed"][1][2] < 1.02


@pytest.mark.paper("(4.6)")
def test_a_wave_across_a_coherent_structure_fades_like_the_sixth_power() -> None:
    """D n = 0: the pair, alone or with directed bands, costs a wave along n like |w|^6, the diagonal band like |w|^4.

    At h -> 0 that is h^4 and h^2 against a flow that leaves the wave alone.
    """
    theta = 0.3
    n = (math.cos(theta), math.sin(theta))
    for name, power in (("haar", 6), ("directed", 6), ("corner", 4)):
        F = constant(name, theta, across=0.0)
        rates = [wave_rate(F, (w * n[0], w * n[1])) for w in (0.5, 0.25)]
        assert abs(math.log2(rates[0] / rates[1]) - power) < 0.2, name


def at(u: Tensor, i: int, k: int) -> Tensor:
    """u[n + k e_i] on the torus, i = 1, 2."""
    return torch.roll(u, -k, i - 3)


def on_cells(u: Tensor, i: int, h: float) -> Tensor:
    along = (at(u, i, 1) - u) / h
    return (along + at(along, 3 - i, 1)) / 2


def averaged(u: Tensor, i: int) -> Tensor:
    return (at(u, i, 1) + 2 * u + at(u, i, -1)) / 4


def second(u: Tensor, i: int) -> Tensor:
    return at(u, i, 1) - 2 * u + at(u, i, -1)


def tensor_by_eigenvectors(flow: TensorDiffusion, p: list[Tensor]) -> Tensor:
    """D of J = p p^T (sigma = rho = 0), by torch.linalg.eigh: (*space, 2, 2)."""
    J = torch.stack([torch.stack([p[i] * p[j] for j in (0, 1)], -1) for i in (0, 1)], -1)
    mu, vectors = torch.linalg.eigh(J)
    across, along = flow.eigenvalues(mu[..., 1], mu[..., 0])
    return vectors @ torch.diag_embed(torch.stack([along, across], -1)) @ vectors.mT


def half_slope(energy: Tensor, v: Tensor) -> Tensor:
    return torch.autograd.grad(energy, v)[0] / 2


@pytest.mark.paper("(4.6)")
def test_haars_diagonal_band_is_that_of_nine_points() -> None:
    """F(u) = -1/2 grad_v of sum <D grad v, grad v> + 4 c/h^2 (D_11 + D_22 - 2 |D_12|) |(v_00 - v_10 - v_01 + v_11)/4|^2
    at v = u, D = D(u) frozen, by shifts, eigenvectors and automatic differentiation.
    """
    flow, h = CoherenceEnhancing(0.8, 0.0, 0.0, 0.05, 0.5), 0.5
    v = random(9, 8).requires_grad_()
    p = [on_cells(v, i, h) for i in (1, 2)]
    D = tensor_by_eigenvectors(flow, [x.detach() for x in p])
    diagonal = (v - at(v, 1, 1) - at(v, 2, 1) + at(at(v, 1, 1), 2, 1)) / 4
    energy = sum((D[..., i, j] * p[i] * p[j]).sum() for i in (0, 1) for j in (0, 1))
    energy = energy + 0.7 * 4 / h**2 * ((D[..., 0, 0] + D[..., 1, 1] - 2 * D[..., 0, 1].abs()) * diagonal**2).sum()
    torch.testing.assert_close(frame_tensor(flow, corner=0.7)(v.detach()), -half_slope(energy, v), rtol=0, atol=1e-11)


@pytest.mark.paper("(4.6)")
def test_the_directed_bands_are_tr_h_d_h() -> None:
    """F(u) = m Laplace u (five points) - 1/2 grad_v of sum <E grad v, grad v> + h^2/4 tr(H E H) + tr E/h^2 |d_22|^2 at
    v = u; m the smaller eigenvalue of D = D(u), E = D - m I, frozen. The first part is the energy sum_ell 2 |ell|/h^2
    m |d_ell|^2, with the filters [1, 2, 1]/4, 2^{1/2}/4 [1, 0, -1], [-1, 2, -1]/4.
    """
    flow, h = CoherenceEnhancing(0.8, 0.0, 0.0, 0.05, 0.5), 0.5
    v = random(9, 8).requires_grad_()
    p = [averaged((at(v, i, 1) - at(v, i, -1)) / (2 * h), 3 - i) for i in (1, 2)]
    D = tensor_by_eigenvectors(flow, [x.detach() for x in p])
    m = torch.linalg.eigvalsh(D)[..., 0]
    D = D - m[..., None, None] * torch.eye(2, dtype=torch.float64)
    step = (at(v, 1, 1) - at(v, 1, -1)) / (2 * h)
    mixed = (at(step, 2, 1) - at(step, 2, -1)) / (2 * h)
    H = [[averaged(second(v, 1), 2) / h**2, mixed], [mixed, averaged(second(v, 2), 1) / h**2]]
    energy = ((D[..., 0, 0] + D[..., 1, 1]) * (second(second(v, 1), 2) / 16) ** 2).sum() / h**2
    for i in (0, 1):
        for j in (0, 1):
            energy = energy + (D[..., i, j] * p[i] * p[j]).sum()
            for k in (0, 1):
                energy = energy + h**2 / 4 * (H[k][i] * D[..., i, j] * H[j][k]).sum()
    filters = (averaged, lambda u, i: 2**0.5 / 4 * (at(u, i, -1) - at(u, i, 1)), lambda u, i: -second(u, i) / 4)
    for i, j in itertools.product(range(3), repeat=2):
        energy = energy + (2 * (i + j) / h**2 * m * filters[j](filters[i](v, 1), 2) ** 2).sum()
    torch.testing.assert_close(frame_directed(flow)(v.detach()), -half_slope(energy, v), rtol=0, atol=1e-11)


@pytest.mark.parametrize("flow", [EED, CED], ids=["eed", "ced"])
@pytest.mark.parametrize("kind", ["haar", "two thirds", "corner", "directed", "scharr"])
def test_the_norm_falls_however_the_tensor_turns(flow: TensorDiffusion, kind: str) -> None:
    """F = -W^T (a matrix >= 0 at each pixel) W u: |u| does not grow up to max_dt, and <F u, u> <= 0."""
    make = {
        "haar": lambda: frame_tensor(flow),
        "two thirds": lambda: frame_tensor(flow, corner=2 / 3),
        "corner": lambda: frame_tensor(flow, corner=1.0),
        "directed": lambda: frame_directed(flow),
        "scharr": lambda: frame_tensor(flow, scharr_filters()),
    }
    F, u = make[kind](), random(12, 10)
    for _ in range(40):
        v = u + F.max_dt * F(u)
        assert (F(u) * u).sum() <= 0
        assert v.norm() <= u.norm() * (1 + 1e-12)
        u = v


def test_the_tensor_is_that_of_the_finite_differences() -> None:
    """J_rho and D as in TensorDiffusion, from the coefficients alone: with Scharr's filters, the same field."""
    border = Scharr("periodic")
    eed = EdgeEnhancing(FastDecay(1.0), 0.8, 0.5, 0.5, border)
    for flow in (eed, CoherenceEnhancing(0.2, 0.0, 0.8, 0.1, 0.5, border)):
        u = random(2, 11, 12)
        torch.testing.assert_close(frame_tensor(flow, scharr_filters())(u), flow(u), rtol=0, atol=1e-11)


def test_haar_and_finite_differences_draw_together() -> None:
    """D = (1 + J_rho/36)^{-1}, smooth in J: from a smooth picture to the same time, Haar and directed splines
    differ from Scharr's stencil by O(h^2).
    """
    ends = []
    for N in (24, 48):
        x = (torch.arange(N, dtype=torch.float64) + 0.5) / N
        u = torch.cos(2 * math.pi * x)[:, None] * torch.cos(2 * math.pi * x) + 0.5 * torch.cos(2 * math.pi * x)
        eigenvalues = lambda m, n: (1 / (1 + m / 36), 1 / (1 + n / 36))  # noqa: E731
        flow = TensorDiffusion(eigenvalues, 0.08, 0.1, 1 / N, Scharr("periodic"))
        rival = run(lambda v, F=flow: v + 1e-4 * F(v), u, k=20).u
        ends.append(
            [
                (run(F.shrinkage(1e-4), u, k=20).u - rival).abs().max()
                for F in (frame_tensor(flow, corner=1.0), frame_directed(flow))
            ]
        )
    for coarse, fine in zip(*ends, strict=True):
        assert 1.7 < math.log2(coarse / fine) < 2.3


def test_what_the_directed_bands_gain_on_fine_lines() -> None:
    """Rings of period 4 with noise 0.2, coherence-enhancing diffusion, each scheme at its best time, in dB: directed
    bands gain over Haar's pair, over the nine-point stencil, and over Scharr's and Selling's by more.
    """
    x = torch.arange(64, dtype=torch.float64) - 20.3
    clean = 0.5 + 0.5 * torch.cos(math.pi / 2 * (x[:, None].square() + (x + 7.1).square()).sqrt())
    noisy = clean + 0.2 * torch.randn(64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    middle = (slice(12, -12), slice(12, -12))

    def best(F, u: Tensor) -> float:
        dt, scores = 0.225, [0.0]
        for _ in range(90):
            u = u + dt * F(u)
            scores.append(psnr(u[middle], clean[middle]))
        return max(scores)

    flow = lambda stencil: CoherenceEnhancing(0.05, 0.7, 4.0, 0.001, 1.0, stencil)  # noqa: E731
    gained = best(frame_directed(flow(None)), noisy)
    assert gained > best(frame_tensor(flow(None)), noisy) + 0.7
    assert gained > best(flow(ThreeByThree()), noisy) + 0.4
    assert gained > best(flow(Scharr()), noisy) + 2
    assert gained > best(flow(Selling()), noisy) + 2


# ---- the others -------------------------------------------------------------------------------------------------


def test_levels_of_the_fourth_order() -> None:
    """16 tau/h^4 g in (2,0) and (0,2), 8 tau/h^4 g in (1,1): gamma^2 times 1, 2, 1."""
    h, tau, g = 0.5, 1e-3, Charbonnier(2.0)
    F = frame_fourth_order(g, h)
    d = random(9, 4, 4)
    s = (
        (16 / h**4) ** 2 * 0
        + (4 / h**2 * d[F.band[0]]) ** 2
        + 2 * (2 / h**2 * d[F.band[1]]) ** 2
        + (4 / h**2 * d[F.band[2]]) ** 2
    )
    level = F.shrinkage(tau).S.level(d)
    for i, factor in zip(F.band, (16, 8, 16), strict=True):
        torch.testing.assert_close(level[i], factor * tau / h**4 / (1 + s / 4).sqrt(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.6])
def test_shocks_keep_extrema_and_sharpen(sigma: float) -> None:
    F = frame_shock(0.5, sigma)
    x = torch.arange(32, dtype=torch.float64)
    u = torch.tanh(3 * torch.sin(2 * math.pi * x / 32))[:, None] * torch.ones(32, dtype=torch.float64)
    v = run(F.shrinkage(F.max_dt / 2), u, k=40).u
    assert v.max() <= u.max() + 1e-12 and v.min() >= u.min() - 1e-12
    assert v.diff(dim=0).abs().max() > 1.5 * u.diff(dim=0).abs().max()


def test_diffusion_in_one_and_three_dimensions() -> None:
    """Promises of the field follow from the differences that it is made of."""
    for dim, monotone in ((1, True), (2, True), (3, False)):
        F = frame_diffusion(Rational(1.0), 1, 0.5, dim)
        assert F.maximum_principle == monotone
        assert F.keeps_mean
        assert 0.1 < F.max_dt / 0.25 <= 0.5 + (not monotone)
