"""One test for each bridge of the paper that stands: the two sides of a numbered item, computed by separate routes.

(1.1)     a measurement, and its inversion by least squares
(2.1)     the transform is a row of Fourier multipliers
(2.2)     the cascade multiplies symbols
(2.3)     W^T W = I is the extension principle, in both directions
Ex 2.1    the filters are those of the B-splines
(2.4)     the denoise-and-correct iteration of [32] is forward-backward splitting, kappa = 1
(2.5)     split Bregman is a primal-dual method with tau sigma = 1
(4.1)     moments are derivatives of the symbol, and are what a filter does to polynomials
Prop 4.1  frame coefficients are difference quotients
(4.4)     a threshold is a level, and a level a diffusivity
(4.5)     framelet shrinkage is an explicit scheme for Perona and Malik's diffusion
(4.7)     the accelerated iteration is FISTA for (2.4)
"""

from collections.abc import Callable
from math import comb, factorial, pi, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    ADMM,
    FISTA,
    Blur,
    Filter,
    ForwardBackward,
    FrameletTransform,
    GaussianNoise,
    Identity,
    IsotropicSoft,
    LinearOperator,
    Mask,
    PartialFourier,
    Shrinkage,
    Soft,
    analysis,
    balanced,
    biorthogonal,
    bspline,
    correlate,
    correlate_adjoint,
    gaussian_kernel,
    iterate,
    run,
    tensor_product,
)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def frequencies(*shape: int) -> list[np.ndarray]:
    """The frequencies of the discrete Fourier transform, in radians per sample, one array for each axis."""
    return np.meshgrid(*[2 * pi * np.fft.fftfreq(n) for n in shape], indexing="ij")


def grid(N: int) -> tuple[Tensor, Tensor]:
    """N x N points of the periodic unit square, x_1 along axis -2."""
    return torch.meshgrid(*[torch.arange(N, dtype=torch.float64) / N] * 2, indexing="ij")


# ---- Sections 1 and 2 -------------------------------------------------------------------------------------------


@pytest.mark.paper("(1.1)")
@pytest.mark.parametrize(
    "A",
    [Identity(), Blur(gaussian_kernel(1.0, 2, 3)), Mask(torch.arange(120).reshape(10, 12) % 3 > 0)],
    ids=["denoising", "deblurring", "inpainting"],
)
def test_11_least_squares_reaches_the_picture_that_explains_the_data(A: LinearOperator) -> None:
    """f = A u + eta, and u_rho = (A^T A + rho I)^{-1} A^T f is where the gradient of |A u - f|^2 + rho |u|^2, taken by
    automatic differentiation, vanishes; no other picture tried is better.
    """
    f = GaussianNoise(0.05)(A(random(10, 12)))
    rho = 0.01

    def E(u: Tensor) -> Tensor:
        return ((A(u) - f).square().sum() + rho * u.square().sum()) / 2

    u = A.normal_solve(A.T(f), rho).requires_grad_()
    (slope,) = torch.autograd.grad(E(u), u)
    assert slope.abs().max() < 1e-12
    for size in (1e-3, 1.0):
        assert all(E(u + size * random(10, 12)) > E(u) for _ in range(5))


@pytest.mark.paper("(2.1)")
def test_21_every_band_is_a_fourier_multiplier() -> None:
    """W_{ell,l} u = q_{ell,l}[-.] (*) u: with a periodic border, conj q^_{ell,l} u^ (a correlation conjugates)."""
    W = FrameletTransform(bspline(2), 2)
    u = random(10, 12)
    omega = frequencies(10, 12)
    for d, band in zip(W(u), W.bands, strict=True):
        multiplied = np.conj(W.filter(*band).symbol(*omega)) * np.fft.fft2(u.numpy())
        np.testing.assert_allclose(np.fft.fft2(d.numpy()), multiplied, atol=1e-12)


@pytest.mark.paper("(2.2)")
@pytest.mark.parametrize(
    ("bank", "dual"),
    [(bspline(1), None), (bspline(2), None), (bspline(4), None), biorthogonal(1, 3)],
    ids=["haar", "linear", "cubic", "pair13"],
)
def test_22_the_cascade_multiplies_symbols(bank, dual) -> None:
    """q^_{ell,l}(w) = q^_ell(2^l w) p^(2^{l-1} w) ... p^(w) (E1: the low-pass at every level below, not band l - 1).

    The left side is the Fourier transform of what the transform does to a point; the right side the filters' symbols.
    """
    N, levels = 64, 3
    W = FrameletTransform(bank, levels, 1, dual=dual)
    point = torch.zeros(N, dtype=torch.float64)
    point[0] = 1
    (omega,) = frequencies(N)
    for d, ((ell,), level) in zip(W(point), W.bands, strict=True):
        product = bank[ell].symbol(2**level * omega)
        for below in range(level):
            product = product * bank[0].symbol(2**below * omega)
        np.testing.assert_allclose(np.conj(np.fft.fft(d.numpy())), product, atol=1e-14)


@pytest.mark.paper("(2.3)")
def test_23_reconstruction_is_the_extension_principle() -> None:
    """For any filters at all, sum_l W_l^T W_l is the Fourier multiplier sum_l |q_l^(w)|^2. So u = W^T W u for every u
    exactly if that sum is 1: it is for the splines, and for a bank with a wrong tap both sides fail by the same amount.
    """
    u = random(32)
    (omega,) = frequencies(32)
    wrong = (bspline(2)[0], bspline(2)[1], Filter([-0.25, 0.55, -0.25]))
    for bank, tight in ((bspline(2), True), (bspline(3), True), (wrong, False)):
        back = torch.zeros_like(u)
        for q in bank:
            taps = torch.tensor(q.taps)
            back = back + correlate_adjoint(correlate(u, taps, q.origin, (-1,)), taps, q.origin, (-1,))
        multiplier = sum(np.abs(q.symbol(omega)) ** 2 for q in bank)
        np.testing.assert_allclose(back, np.fft.ifft(multiplier * np.fft.fft(u.numpy())).real, atol=1e-14)
        assert (np.abs(multiplier - 1).max() < 1e-14) == tight
        assert ((back - u).abs().max() < 1e-14) == tight
        if tight:
            W = FrameletTransform(bank, 1, 1)
            torch.testing.assert_close(W.T(W(u)), u, rtol=0, atol=1e-14)
        else:
            with pytest.raises(ValueError, match="unitary extension principle"):
                FrameletTransform(bank, 1, 1)


@pytest.mark.paper("Ex 2.1")
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ex_21_the_averages_are_inner_products_with_b_splines(order: int) -> None:
    """Refinement all the way down: the taps of the average of level l draw the B-spline itself,

    2^{-l-1} B_m(2^{-l-1} x) = sum_k p_l[k] B_m(x - k),  p_l = p-check_l (*) ... (*) p-check_0.
    """
    levels = 4
    p = FrameletTransform(bspline(order), levels, 1).filter((0,), levels - 1)
    scale = 2**levels

    def B(x: np.ndarray) -> np.ndarray:
        """The centred B-spline of order m on [-m/2, m/2], by truncated powers."""
        if order == 1:
            return ((x >= -0.5) & (x < 0.5)).astype(float)
        steps = range(order + 1)
        terms = ((-1) ** k * comb(order, k) * np.maximum(x + order / 2 - k, 0) ** (order - 1) for k in steps)
        return sum(terms) / factorial(order - 1)

    first = p.origin[0] + (0.5 if order % 2 else 0) * (1 - scale)  # odd orders are centred at 1/2, at every level
    x = np.linspace(-1, 1, 203) * scale * order / 2 + 1e-3
    drawn = sum(tap * B(x - first - k) for k, tap in enumerate(p.taps))
    np.testing.assert_allclose(drawn, B(x / scale) / scale, rtol=0, atol=1e-12)


# ---- Section 2: the models and their iterations -----------------------------------------------------------------

CONTRACTIONS: dict[str, LinearOperator] = {  # |A| <= 1
    "inpainting": Mask(torch.arange(120).reshape(10, 12) % 3 > 0),
    "deblurring": Blur(gaussian_kernel(1.0, 2, 3)),
    "fourier": PartialFourier(torch.arange(120).reshape(10, 12) % 4 != 1),
}
contractions = pytest.mark.parametrize("name", CONTRACTIONS)


def soft(d: Tensor, lam: Tensor) -> Tensor:
    return d.sign() * (d.abs() - lam).clamp_min(0)


@pytest.mark.paper("(2.4)")
def test_24_inpainting_by_denoising_is_forward_backward_splitting() -> None:
    """u^{k+1} = P f + (I - P) W^T T_lam(W u^k), the iteration of [32]: denoise, then put the known pixels back.

    With d^{k+1} = T_lam(W u^k) it is d^{k+1} = prox(d^k - grad E(d^k)) for (2.4) with kappa = 1, whose L is 1.
    """
    A, W = CONTRACTIONS["inpainting"], FrameletTransform(bspline(2), 2)
    f, lam = A(random(10, 12)), W.weights(0.1)
    solver = ForwardBackward(balanced(A, f, W, lam, 1.0))
    assert solver.step == 1
    known = A.m.double()
    u = random(10, 12)
    d = soft(W(u), lam)
    for _ in range(30):
        u = known * f + (1 - known) * W.T(d)
        d = solver(d)
        torch.testing.assert_close(d, soft(W(u), lam), rtol=0, atol=1e-12)


@contractions
@pytest.mark.paper("(2.4)")
def test_24_for_any_measurement(name: str) -> None:
    """u^{k+1} = A^T f + (I - A^T A) W^T T_lam(W u^k), and at rest no point near it is better."""
    A, W = CONTRACTIONS[name], FrameletTransform(bspline(1))
    f = A(random(10, 12))
    lam = W.weights(0.1)
    problem = balanced(A, f, W, lam, 1.0)
    d = W(random(10, 12))
    states = iterate(ForwardBackward(problem, step=1.0), d)
    next(states)
    for _ in range(30):
        back = W.T(d)
        u = A.T(f) + back - A.T(A(back))
        d = soft(W(u), lam)
        torch.testing.assert_close(next(states), d, rtol=0, atol=1e-12)
    d = run(ForwardBackward(problem, step=1.0), u, k=1000).x
    for size in (1e-3, 1e-2, 1.0):
        assert all(problem(d + size * random(*d.shape)) > problem(d) for _ in range(3))


@contractions
@pytest.mark.paper("(4.7)", "(2.4)")
@pytest.mark.parametrize("mu", [1.0, 0.6])
def test_47_the_accelerated_iteration_is_fista(name: str, mu: float) -> None:
    """u^k = (I - mu A^T A) W^T T_lam((1 + g) W u^{k-1} - g W u^{k-2}) + mu A^T f, g = (k - 2)/(k + 1) = gamma^{k-1}.

    It is FISTA for (2.4) with kappa = 1/mu and lam/mu: with d^k its iterate, u^k = (I - mu A^T A) W^T d^k + mu A^T f.
    """
    A, W = CONTRACTIONS[name], FrameletTransform(bspline(1))
    f, lam = A(random(10, 12)), W.weights(0.1)

    def correct(v: Tensor) -> Tensor:
        return v - mu * A.T(A(v)) + mu * A.T(f)

    solver = FISTA(balanced(A, f, W, lam / mu, 1 / mu), step=mu)
    state = solver.start(random(10, 12))
    u = old = correct(W.T(state.x))
    for k in range(1, 31):
        gamma = (k - 2) / (k + 1)
        u, old = correct(W.T(soft((1 + gamma) * W(u) - gamma * W(old), lam))), u
        state = solver(state)
        torch.testing.assert_close(correct(W.T(state.x)), u, rtol=0, atol=1e-12)


@contractions
@pytest.mark.paper("(2.5)")
def test_25_split_bregman_is_a_primal_dual_method(name: str) -> None:
    """W^T W = I turns W^T(d^k - b^k) into x^k - W^T(2 b^k - b^{k-1}): with p = rho b, tau = 1/rho and sigma = rho,

    x^{k+1} = prox_{tau E}(x^k - tau W^T(2 p^k - p^{k-1})),  p^{k+1} = clip(p^k + sigma W x^{k+1}) to |p| <= lam,

    the primal-dual method with tau sigma |W|^2 = 1 that extrapolates p where PDHG extrapolates x.
    """
    A, W, rho = CONTRACTIONS[name], FrameletTransform(bspline(1)), 0.7
    lam = W.weights(0.1)
    problem = analysis(A, A(random(10, 12)), W, lam)
    solver = ADMM(problem, rho=rho)
    first = solver(solver.start(random(10, 12)))
    x, p, old = first.x, rho * first.b, torch.zeros_like(first.b)
    state = first
    for _ in range(30):
        state = solver(state)
        x = problem.E.prox(x - W.T(2 * p - old) / rho, 1 / rho)
        p, old = torch.clamp(p + rho * W(x), -lam, lam), p
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-12)
        torch.testing.assert_close(solver.dual(state), p, rtol=0, atol=1e-12)


# ---- Section 4.1 ------------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.1)")
@pytest.mark.parametrize(
    "q",
    [bspline(1)[1], bspline(2)[1], bspline(2)[2], bspline(4)[3], Filter([0.3, -1.0, 0.2, 0.5], -2)],
    ids=["haar", "linear-q1", "linear-q2", "cubic-q3", "lopsided"],
)
def test_41_moments_by_three_routes(q: Filter) -> None:
    """From the taps; as i^b (d/dw)^b q^(0), by Cauchy's formula on a circle about 0; and by what correlation does to
    polynomials: sum_k q[k] (n + k)^b = sum_j binom(b, j) m_j n^{b - j}, so at n = 0 it is m_b.
    """
    radius, points = 0.5, 64
    w = radius * np.exp(2j * pi * np.arange(points) / points)
    on_circle = sum(tap * np.exp(-1j * k[0] * w) for k, tap in q.indices())
    n = torch.arange(-16, 17, dtype=torch.float64)
    taps = torch.tensor(q.taps)
    for b in range(5):
        derivative = factorial(b) * np.mean(on_circle / w**b)
        assert abs(1j**b * derivative - q.moment(b)) < 1e-9
        seen = correlate(n**b, taps, q.origin, (-1,))
        expansion = sum(comb(b, j) * q.moment(j) * n ** (b - j) for j in range(b + 1))
        torch.testing.assert_close(seen[6:-6], expansion[6:-6], rtol=0, atol=1e-9)
        assert seen[16].item() == pytest.approx(q.moment(b), abs=1e-12)


def derivative(alpha: tuple[int, int], x: Tensor, y: Tensor) -> Tensor:
    """d^alpha of sin(2 pi x) cos(2 pi y + 1)."""
    a, b = alpha
    return (2 * pi) ** (a + b) * torch.sin(2 * pi * x + a * pi / 2) * torch.cos(2 * pi * y + 1 + b * pi / 2)


@pytest.mark.paper("Prop 4.1")
@pytest.mark.parametrize(
    ("order", "alpha", "rate"),
    [
        (1, (1, 0), 1),
        (1, (0, 1), 1),
        (1, (1, 1), 1),
        (2, (1, 0), 2),
        (2, (0, 2), 2),
        (2, (1, 1), 2),
        (2, (1, 2), 2),
        (2, (2, 2), 2),
        (3, (2, 0), 1),
        (4, (3, 0), 2),
    ],
    ids=str,
)
def test_prop_41_bands_are_difference_quotients(order: int, alpha: tuple[int, int], rate: int) -> None:
    """u sampled with step h: (C_alpha h^{|alpha|})^{-1} W_alpha u -> d^alpha u, with the sign of C_alpha, and the error
    falls as h^{K - |alpha|}, K \\ {|alpha| + 1} the total order: rate 1 for Haar, 2 for piecewise linear, within 0.1.
    """
    W = FrameletTransform(bspline(order))
    q = W.filter(alpha)
    assert q.vanishing_order() == alpha
    assert q.total_order(allow=alpha) - sum(alpha) == rate
    errors = []
    for N in (32, 64):
        x, y = grid(N)
        quotient = W(derivative((0, 0), x, y))[W.band(alpha)] / (q.constant(alpha) * (1 / N) ** sum(alpha))
        errors.append((quotient - derivative(alpha, x, y)).abs().max().item())
    assert errors[1] < 0.2 * (2 * pi) ** sum(alpha)
    assert abs(np.log2(errors[0] / errors[1]) - rate) < 0.1


@pytest.mark.paper("Prop 4.1")
def test_prop_41_a_band_and_its_adjoint_have_opposite_signs_for_odd_orders() -> None:
    """E7: the adjoint of d^alpha is (-1)^{|alpha|} d^alpha, so W_alpha^T / (C h^{|alpha|}) tends to that."""
    N = 64
    x, y = grid(N)
    u = derivative((0, 0), x, y)
    for order, alpha in ((1, (1, 0)), (2, (0, 1)), (2, (2, 0)), (2, (1, 1)), (2, (1, 2))):
        W = FrameletTransform(bspline(order))
        d = torch.zeros(len(W.bands), N, N, dtype=torch.float64)
        d[W.band(alpha)] = u
        back = W.T(d) / (W.filter(alpha).constant(alpha) * (1 / N) ** sum(alpha))
        exact = (-1) ** sum(alpha) * derivative(alpha, x, y)
        assert (back - exact).abs().max() < 0.1 * exact.abs().max()


# ---- Section 4.3 ------------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.4)")
def test_44_thresholds_levels_and_proximal_maps() -> None:
    """S_lambda(d) = d (1 - lambda(d)) with lambda(d) = min(1, lam/|d|): taken entry by entry it solves
    min lam |v|_1 + |v - d|^2 / 2, taken with |d| over the bands of a pixel it solves the same with the group norm.

    The minimisers are found without the formula: by gradient descent on a smoothed energy, the smoothing going to 0.
    """
    W, lam = FrameletTransform(bspline(1)), 0.7
    d = 1.5 * random(4, 3, 3)
    energies: list[tuple[Callable[[Tensor], Tensor], torch.nn.Module]] = [
        (lambda v, eps: lam * (v[1:].square() + eps).sqrt().sum(), Soft(W.weights(lam))),
        (lambda v, eps: lam * (v[1:].square().sum(0) + eps).sqrt().sum(), IsotropicSoft(lam, W)),
    ]
    for R, S in energies:
        v = d.clone().requires_grad_()
        for eps in (1e-2, 1e-4, 1e-6):
            solver = torch.optim.LBFGS([v], max_iter=200, tolerance_change=1e-14, line_search_fn="strong_wolfe")

            def close(v=v, eps=eps, R=R, solver=solver) -> Tensor:
                solver.zero_grad()
                E = R(v, eps) + (v - d).square().sum() / 2
                E.backward()
                return E

            solver.step(close)
        torch.testing.assert_close(S(d), v.detach(), rtol=0, atol=5e-3)
        torch.testing.assert_close(S(d), d * (1 - S.level(d)), rtol=0, atol=1e-15)
    assert (Soft(W.weights(lam))(d) - IsotropicSoft(lam, W)(d)).abs().max() > 0.1


def diffusivity(s: Tensor) -> Tensor:
    """g(|grad u|^2) = 1 / (1 + |grad u|^2 / K), with K = 4 in the units of |grad u|^2."""
    return 1 / (1 + s / 4)


class DiffusiveShrinkage(torch.nn.Module):
    """S_ell(xi) = xi_ell (1 - tau gamma~ gamma g(gamma^2 |xi|^2)) on the two first bands, E9: every gamma in its place;
    the average and the other bands pass (E10).
    """

    def __init__(self, W: FrameletTransform, tau: float, h: float, adjoint_sign: float = 1.0):
        super().__init__()
        d = W.dim
        axes = [tuple(int(i == j) for j in range(d)) for i in range(d)]
        self.bands = [W.band(axis) for axis in axes]
        self.gamma = 1 / (W.filter(axes[0]).constant(axes[0]) * h)
        self.rate = tau * self.gamma * self.gamma * adjoint_sign

    def level(self, d: Tensor) -> Tensor:
        return self.rate * diffusivity((self.gamma * d[self.bands]).square().sum(0))

    def forward(self, d: Tensor) -> Tensor:
        level = torch.zeros_like(d)
        level[self.bands] = self.level(d)
        return d * (1 - level)


def perona_malik(u: Tensor, tau: float, h: float) -> Tensor:
    """u + tau div(g(|grad u|^2) grad u) on the cells between the pixels, by shifts alone: the gradient of a cell from
    the means of its sides, the divergence minus the transpose of that.
    """

    def to_cells(u: Tensor, axis: int) -> Tensor:
        along = (torch.roll(u, -1, axis) - u) / h
        return (along + torch.roll(along, -1, 1 - axis)) / 2

    def to_pixels(p: Tensor, axis: int) -> Tensor:
        across = (p + torch.roll(p, 1, 1 - axis)) / 2
        return (across - torch.roll(across, 1, axis)) / h

    grad = [to_cells(u, axis) for axis in (0, 1)]
    g = diffusivity(grad[0] ** 2 + grad[1] ** 2)
    return u + tau * sum(to_pixels(g * grad[axis], axis) for axis in (0, 1))


@pytest.mark.paper("(4.5)")
def test_45_haar_shrinkage_is_perona_malik() -> None:
    """Thirty steps of each, from noise: u^k = W^T S(W u^{k-1}) and u^k = u^{k-1} + tau div(g grad u^{k-1}).

    For Haar gamma = -2/h, and the level 4 tau g / h^2 lies in [0, 1] as (4.4) asks, up to tau = h^2 / 4.
    """
    h, W = 0.5, FrameletTransform(bspline(1))
    tau = h**2 / 4
    S = DiffusiveShrinkage(W, tau, h)
    assert S.gamma == -2 / h
    u = random(16, 18)
    assert 0 < S.level(W(u)).min() < S.level(W(u)).max() <= 1
    wavelet = run(Shrinkage(W, S), u, k=30).u
    pde = run(lambda u: perona_malik(u, tau, h), u, k=30).u
    assert (wavelet - pde).abs().max() < 1e-13
    assert (wavelet - u).abs().max() > 0.5


@pytest.mark.paper("(4.5)")
@pytest.mark.parametrize("order", [1, 2])
def test_45_the_printed_sign_is_antidiffusion(order: int) -> None:
    """E8: gamma~ W^T must approximate -d, that is gamma~ = gamma. With gamma~ W^T ~ +d, as printed, noise explodes."""
    h, W = 1.0, FrameletTransform(bspline(order))
    u = random(16, 16)
    size = [run(Shrinkage(W, DiffusiveShrinkage(W, h**2 / 4, h, s)), u, k=40).u.norm() for s in (1.0, -1.0)]
    assert size[0] < 0.8 * u.norm()
    assert size[1] > 2 * u.norm()


@pytest.mark.paper("(4.5)")
def test_45_the_rest_of_the_bands_must_pass() -> None:
    """E10: u - sum_ell W_ell^T (W_ell u - S_ell(W u)) over the shrunk bands is (4.5) since the others add up to the
    rest of u; a checkerboard lies in the diagonal band alone, and so survives the diffusion for ever.
    """
    W = FrameletTransform(bspline(1))
    S = DiffusiveShrinkage(W, 0.2, 1.0)
    u = random(12, 12)
    d = W(u)
    moved = torch.zeros_like(d)
    moved[S.bands] = (d - S(d))[S.bands]
    torch.testing.assert_close(Shrinkage(W, S)(u), u - W.T(moved), rtol=0, atol=1e-14)
    n = torch.arange(12)
    checkerboard = (-1.0) ** (n[:, None] + n[None, :]).double()
    energy = W(checkerboard).square().sum((-1, -2))
    assert energy[W.band((1, 1))] == pytest.approx(144)
    assert energy.sum() - energy[W.band((1, 1))] == 0
    torch.testing.assert_close(run(Shrinkage(W, S), checkerboard, k=50).u, checkerboard, rtol=0, atol=1e-13)


@pytest.mark.paper("(4.5)")
def test_45_the_stability_bound_of_haar_shrinkage_is_sharp() -> None:
    """With g = 1 the level is 4 tau / h^2, and the maximum principle holds up to tau = h^2 / 2, not beyond."""
    W, u = FrameletTransform(bspline(1)), random(16, 16)
    pair = torch.zeros(4, 1, 1, dtype=torch.float64)
    pair[[W.band((1, 0)), W.band((0, 1))]] = 1
    for ratio, stable in ((0.5, True), (0.51, False)):
        end = run(Shrinkage(W, lambda d, level=4 * ratio: d * (1 - level * pair)), u, k=200, record={"max": torch.max})
        assert (end.curves["max"].max() <= u.max() + 1e-12) == stable
        assert (end.u.norm() < u.norm()) == stable


@pytest.mark.paper("(4.1)", "Ex 2.1")
def test_the_tensor_bands_of_example_21() -> None:
    """In two dimensions r = 3 for Haar and 8 for piecewise linear (E2), and band (i, j) has vanishing order (i, j)."""
    for order, r in ((1, 3), (2, 8)):
        W = FrameletTransform(bspline(order))
        assert len(W.bands) - 1 == r
        for band in W.bands:
            q = W.filter(*band)
            assert q == tensor_product(*(bspline(order)[i] for i in band.ell))
            assert q.vanishing_order() == band.ell
    assert FrameletTransform(bspline(2)).filter((1, 0)).constant((1, 0)) == pytest.approx(-sqrt(2) / 2)
