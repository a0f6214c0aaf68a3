"""Diffusion that turns with the picture: the structure tensor, EED and CED on three stencils."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from companion import (
    CoherenceEnhancing,
    Diffusivity,
    EdgeEnhancing,
    Exponential,
    FastDecay,
    Heat,
    PeronaMalik,
    Rational,
    Scharr,
    Selling,
    Stencil,
    TensorDiffusion,
    ThreeByThree,
    gaussian_smooth,
    run,
    scharr_gradient,
    structure_tensor,
)
from companion.flows.schemes import Euler
from companion.flows.tensor import coherence

EYE = torch.eye(2, dtype=torch.float64)
STENCILS = (ThreeByThree(), Selling(), Scharr())
each_stencil = pytest.mark.parametrize("stencil", STENCILS, ids=repr)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def constant(matrix: Tensor, *shape: int) -> Tensor:
    return matrix[:, :, None, None].expand(2, 2, *shape).clone()


def eigenvalues(D: Tensor) -> Tensor:
    """(H, W, 2), the smaller one first."""
    return torch.linalg.eigvalsh(D.movedim((-4, -3), (-2, -1)))


def grid(n: int, h: float = 1.0) -> tuple[Tensor, Tensor]:
    g = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * h
    X, Y = torch.meshgrid(g, g, indexing="ij")
    return X, Y


# ---- the structure tensor ---------------------------------------------------------------------------------------


def test_scharrs_gradient_is_of_second_order_and_the_same_in_all_directions() -> None:
    """Exact for an affine u, inside; the direction of a wave to 0.006 rad up to |w| = 2, by central ones to 0.24."""
    X, Y = grid(7, 0.5)
    p = scharr_gradient(2 * X - 3 * Y, 0.5)[:, 1:-1, 1:-1]
    torch.testing.assert_close(p, torch.tensor([2.0, -3.0]).double()[:, None, None].expand(2, 5, 5))
    w = torch.linspace(0.01, 2, 200, dtype=torch.float64)
    a, b = w[:, None], w[None]
    inside, exact = a.square() + b.square() <= 4, torch.atan2(b, a)
    scharr = torch.atan2(b.sin() * (5 + 3 * a.cos()), a.sin() * (5 + 3 * b.cos())) - exact
    plain = torch.atan2(b.sin(), a.sin()) - exact
    assert float(scharr[inside].abs().max()) < 0.006 and 0.23 < float(plain[inside].abs().max()) < 0.24


def test_the_structure_tensor_is_the_smoothed_outer_product() -> None:
    u, h = random(2, 10, 9), 0.5
    p = scharr_gradient(gaussian_smooth(u, 0.6, h), h)
    J = structure_tensor(u, 0.6, 1.0, h)
    for i in range(2):
        for j in range(2):
            torch.testing.assert_close(J[:, i, j], gaussian_smooth(p[:, i] * p[:, j], 1.0, h))
    mu1, mu2, N = coherence(J)
    torch.testing.assert_close(torch.stack([mu2, mu1], -1), eigenvalues(J))
    mean, half = (mu1 + mu2)[:, None, None] / 2, (mu1 - mu2)[:, None, None] / 2
    torch.testing.assert_close(mean * EYE[..., None, None] + half * N, J)
    torch.testing.assert_close(torch.einsum("bijhw,bjkhw->bikhw", N, N), EYE[..., None, None].expand_as(N))


@pytest.mark.parametrize("degrees", [0, 17, 45, 120])
def test_stripes_are_coherent_along_themselves(degrees: int) -> None:
    """u = cos <k, x>: mu_2 ~ 0, mu_1 ~ |k|^2 / 2, n along k; no direction where u is flat, gradients finite."""
    X, Y = grid(48)
    k, angle = 2 * math.pi / 8, math.radians(degrees)
    u = (k * (X * math.cos(angle) + Y * math.sin(angle))).cos()
    mu1, mu2, N = (a[..., 20:28, 20:28] for a in coherence(structure_tensor(u, rho=4.0)))
    assert float((mu2 / mu1).max()) < 1e-4 and float((mu1 / (k**2 / 2) - 1).abs().max()) < 0.2
    exact = torch.tensor([[math.cos(2 * angle), math.sin(2 * angle)], [math.sin(2 * angle), -math.cos(2 * angle)]])
    assert float((N - exact[..., None, None]).abs().max()) < 0.02
    flat = torch.zeros(6, 6, dtype=torch.float64, requires_grad=True)
    mu1, mu2, N = coherence(structure_tensor(flat))
    assert not mu1.any() and not mu2.any() and not N.any()
    (mu1 + mu2 + N.sum((0, 1))).sum().backward()
    assert flat.grad is not None and bool(flat.grad.isfinite().all())


# ---- the flows --------------------------------------------------------------------------------------------------

FLOWS: dict[str, Callable[..., TensorDiffusion]] = {
    "EED": lambda stencil=None, h=1.0: EdgeEnhancing(FastDecay(0.3), 0.8, h=h, stencil=stencil),
    "CED": lambda stencil=None, h=1.0: CoherenceEnhancing(0.3, 0.5, 2.0, h=h, stencil=stencil),
}
each_flow = pytest.mark.parametrize("name", FLOWS)


def test_the_eigenvalues_of_edge_enhancing_diffusion() -> None:
    """g(|grad u_sigma|^2) along grad u_sigma, 1 along the edge."""
    g, u = FastDecay(0.2), random(2, 12, 12)
    D = EdgeEnhancing(g, 0.8).tensor(u)
    p = scharr_gradient(gaussian_smooth(u, 0.8))
    across = g(p.square().sum(1))
    torch.testing.assert_close(torch.einsum("bijhw,bjhw->bihw", D, p), across[:, None] * p, rtol=0, atol=1e-12)
    t = torch.stack([-p[:, 1], p[:, 0]], 1)
    torch.testing.assert_close(torch.einsum("bijhw,bjhw->bihw", D, t), t, rtol=0, atol=1e-12)


def test_the_eigenvalues_of_coherence_enhancing_diffusion() -> None:
    """alpha across, alpha + (1 - alpha) e^{-(contrast^2 / (mu_1 - mu_2))^2} along; alpha I where nothing has one."""
    F, u = CoherenceEnhancing(0.4, 0.5, 1.5, alpha=0.01), random(12, 12)
    J = structure_tensor(u, 0.5, 1.5)
    mu, vectors = torch.linalg.eigh(J.movedim((0, 1), (-2, -1)))
    found = vectors.mT @ F.tensor(u).movedim((0, 1), (-2, -1)) @ vectors
    along = 0.01 + 0.99 * torch.exp(-((0.4**2 / (mu[..., 1] - mu[..., 0])) ** 2))
    torch.testing.assert_close(found, torch.diag_embed(torch.stack([along, torch.full_like(along, 0.01)], -1)))
    assert float(along.max()) > 0.5
    torch.testing.assert_close(F.tensor(torch.ones(4, 4).double()), constant(0.01 * EYE, 4, 4))


@each_flow
@each_stencil
def test_tensor_diffusion_keeps_the_mean_and_treats_images_alone(name: str, stencil: Stencil) -> None:
    """D symmetric with eigenvalues in (0, 1]; sum F(u) = 0; a batch is a loop; type kept; gradients finite."""
    F, u = FLOWS[name](stencil), random(3, 10, 11)
    D = F.tensor(u)
    torch.testing.assert_close(D, D.transpose(1, 2), rtol=0, atol=0)
    assert float(eigenvalues(D).min()) > 0 and float(eigenvalues(D).max()) <= 1 + 1e-12
    assert float(F(u).sum((-2, -1)).abs().max()) < 1e-12 and F.keeps_mean
    torch.testing.assert_close(F(u), torch.stack([F(v) for v in u]), rtol=0, atol=1e-13)
    assert F(u.float()).dtype == torch.float32 and F.max_dt == stencil.limit
    v = torch.zeros(8, 8, dtype=torch.float64)
    v[3:] = 1.0
    v.requires_grad_()
    F(v).square().sum().backward()
    assert v.grad is not None and bool(v.grad.isfinite().all())
    assert repr(stencil) in repr(F) and not F(torch.ones(5, 5).double()).any()


@each_flow
@each_stencil
def test_the_grid_step_scales_space_and_time(name: str, stencil: Stencil) -> None:
    """x -> h x, with all lengths: F_h(h u) = F_1(u) / h for contrasts in the unit of grad u; max_dt = limit h^2."""
    h, u = 0.25, random(9, 9)
    scaled = EdgeEnhancing(FastDecay(0.3), 0.8 * h, h=h, stencil=stencil)
    if name == "CED":
        scaled = CoherenceEnhancing(0.3, 0.5 * h, 2.0 * h, h=h, stencil=stencil)
    torch.testing.assert_close(scaled(h * u), FLOWS[name](stencil)(u) / h)
    assert scaled.max_dt == stencil.limit * h**2


def test_one_eigenvalue_is_perona_malik() -> None:
    """D = g I: the five-point scheme with (g[n] + g[m]) / 2 on the edge, g at the pixels by Scharr's gradient."""
    g, u = Rational(0.5), random(9, 8)
    F = TensorDiffusion(lambda mu1, mu2: (g(mu1), g(mu1)))
    c = g(scharr_gradient(u).square().sum(0))
    expected = torch.zeros_like(u)
    for axis in (0, 1):
        flux = (c.narrow(axis, 1, u.shape[axis] - 1) + c.narrow(axis, 0, u.shape[axis] - 1)) / 2 * u.diff(dim=axis)
        none = torch.zeros_like(flux.narrow(axis, 0, 1))
        expected += torch.cat([none, flux, none], axis).diff(dim=axis)
    for stencil in (None, ThreeByThree()):
        F = TensorDiffusion(lambda mu1, mu2: (g(mu1), g(mu1)), stencil=stencil)
        torch.testing.assert_close(F(u), expected, rtol=0, atol=1e-12)


def stripes(degrees: float) -> Tensor:
    X, Y = grid(48)
    angle = math.radians(degrees)
    return (2 * math.pi / 6 * (X * math.cos(angle) + Y * math.sin(angle))).cos()


def test_the_nine_points_know_the_grid_scharrs_filters_do_not() -> None:
    """Stripes rest but for e^{-alpha |k|^2 t}: the error over 0..45 degrees is up to 0.11 with ThreeByThree, 0.011 with
    Selling, 0.0075 with Scharr's filters, and differs between directions by more than 0.05, 0.002, and 0.0002.
    """
    errors = {}
    for stencil in STENCILS:
        F, inner = CoherenceEnhancing(0.05, 0.5, 3.0, stencil=stencil), (slice(16, 32),) * 2
        start = [stripes(degrees) for degrees in (0, 15, 30, 45)]
        still = [math.exp(-F.alpha * (2 * math.pi / 6) ** 2 * 10) * u for u in start]
        errors[type(stencil)] = torch.stack(
            [(F.flow(u, 10.0).u - v)[inner].norm() / v[inner].norm() for u, v in zip(start, still, strict=True)]
        )
    plain, edges, scharr = (errors[type(stencil)] for stencil in STENCILS)
    assert float(plain.max()) > 10 * float(scharr.max()) and float(plain.max()) > 8 * float(edges.max())
    spread = [float(e.max() - e.min()) for e in (plain, edges, scharr)]
    assert spread[0] > 0.05 and spread[1] < 0.002 and spread[2] < 0.0002


def test_rings_are_left_alone_by_scharrs_filters_only() -> None:
    """Level lines of all directions, curved: the relative change at t = 20 is below 0.02, ThreeByThree's above 0.1."""
    X, Y = grid(64)
    r = (X.square() + Y.square()).sqrt()
    u, zone = (2 * math.pi / 6 * r).cos(), (r > 8) & (r < 24)
    change = [
        float((CoherenceEnhancing(0.05, 0.5, 3.0, stencil=s).flow(u, 20.0).u - u)[zone].norm() / u[zone].norm())
        for s in (Scharr(), ThreeByThree(), Selling())
    ]
    assert change[0] < 0.02 < 0.1 < change[1] < change[2]


@each_stencil
def test_coherence_enhancing_diffusion_closes_a_gap(stencil: Stencil) -> None:
    """In the middle of a gap of 4 pixels a line is back at 0.6 of its height and more; heat makes it 0.2 or less."""
    u = torch.zeros(48, 48, dtype=torch.float64)
    for j in range(48):
        u[int(8 + 0.4 * j) : int(8 + 0.4 * j) + 3, j] = 1
    u[:, 22:26] = 0
    end = CoherenceEnhancing(0.02, 0.5, 4.0, stencil=stencil).flow(u, 20.0).u
    assert float(end[18, 24]) > 0.6 > 0.2 > float(Heat().flow(u, 3.0).u[18, 24])
    inside = float(end.min()) >= -1e-12 and float(end.max()) <= 1 + 1e-12
    assert inside == stencil.maximum_principle


def test_edge_enhancing_diffusion_cleans_the_edge_and_keeps_it() -> None:
    """Noise along the edge: less than half of Perona-Malik's; the edge: above 0.85 of its jump, heat's below 0.2."""
    u = torch.zeros(48, 48, dtype=torch.float64)
    u[:, 24:] = 1
    u = u + 0.1 * random(48, 48)
    g = FastDecay(0.12)
    ends = [F.flow(u, 5.0).u[6:-6] for F in (EdgeEnhancing(g, 1.5), PeronaMalik(g, sigma=1.5), Heat())]
    noise = [float(v[:, 21:27].std(0).mean()) for v in ends]
    jump = [float((v[:, 24] - v[:, 23]).mean()) for v in ends]
    assert noise[0] < 0.55 * noise[1] and jump[0] > 0.85 and jump[2] < 0.2


def test_what_is_no_diffusion_is_refused() -> None:
    with pytest.raises(ValueError, match="grid step"):
        TensorDiffusion(lambda a, b: (a, b), h=0.0)
    for contrast, alpha in ((0.0, 0.1), (1.0, 0.0), (1.0, 1.0)):
        with pytest.raises(ValueError, match="contrast > 0"):
            CoherenceEnhancing(contrast, alpha=alpha)
    with pytest.raises(ValueError, match="backwards"):
        TensorDiffusion(lambda a, b: (-torch.ones_like(a), b))(random(4, 4))


# ---- Weickert's diffusivity -------------------------------------------------------------------------------------


@pytest.mark.paper("(3.3)")
def test_the_flux_of_fast_decay_is_largest_at_the_contrast() -> None:
    """e^C = 1 + 8 C; g(0) = 1, g ~ C (s / contrast^2)^{-4}; d(r g(r^2))/dr changes its sign at s = contrast^2."""
    g = FastDecay(0.5)
    assert math.exp(g.C) == pytest.approx(1 + 8 * g.C, rel=1e-14) and g.threshold == 0.25
    s = torch.tensor([0.0, 0.01, 0.25, 25.0, 250.0], dtype=torch.float64)
    torch.testing.assert_close(g(s), torch.cat([torch.ones(2), -torch.expm1(-g.C * (s[2:] / 0.25) ** -4)]).double())
    assert float(g(s[-1]) * (s[-1] / 0.25) ** 4) == pytest.approx(g.C, rel=1e-6)
    r = torch.linspace(0.3, 0.7, 4001, dtype=torch.float64)
    assert float(r[(r * g(r**2)).argmax()]) == pytest.approx(0.5, abs=1e-4)
    slope = [float(g(t) + 2 * t * g.derivative(t)) for t in torch.tensor([0.2499, 0.2501], dtype=torch.float64)]
    assert slope[0] > 0 > slope[1]
    other: Diffusivity = Exponential(0.5)
    t = torch.tensor(0.15, dtype=torch.float64)
    assert other.threshold == g.threshold and float(g(t)) > 0.99 > float(other(t))  # flat up to the contrast
    start = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    g(start).sum().backward()
    assert start.grad is not None and not start.grad.any()


@each_stencil
def test_the_frozen_flow_has_the_tensor_of_its_picture(stencil: Stencil) -> None:
    """F(u) = L(u) u, and L(u) v = div(D(u) grad v) for another picture v."""
    u, v = torch.rand(2, 9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    F = CoherenceEnhancing(0.1, rho=1.0, stencil=stencil, h=0.5)
    L = F.frozen(u)
    torch.testing.assert_close(L(u), F(u), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(L(v), stencil.divergence(F.tensor(u), v, 0.5), rtol=1e-12, atol=1e-12)
    assert float((L(v) - F(v)).abs().max()) > 1e-3


def test_a_run_is_a_flow() -> None:
    u, F = random(8, 8), FLOWS["EED"]()
    torch.testing.assert_close(run(Euler(F, 0.25), u, k=4).u, F.flow(u, 1.0).u)
