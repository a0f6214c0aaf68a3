"""The dictionary (4.4): from a diffusivity to a shrinkage and back, its bounds, and the group thresholds it needs."""

import copy
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from companion import (
    Charbonnier,
    DiffusionShrinkage,
    Euler,
    Exponential,
    Firm,
    FrameGradient,
    FrameletTransform,
    Garrote,
    Hard,
    Isotropic,
    IsotropicSoft,
    PeronaMalik,
    Rational,
    Regularised,
    Shrinkage,
    ShrinkageDiffusivity,
    Soft,
    StabilityWarning,
    Threshold,
    bspline,
    diffusivity_from,
    run,
    shrinkage_from,
)

HAAR = FrameletTransform(bspline(1))
LINEAR = FrameletTransform(bspline(2))
THRESHOLDS: dict[str, Threshold] = {
    "soft": Soft(0.7),
    "hard": Hard(0.7),
    "garrote": Garrote(0.7),
    "firm": Firm(0.7, 1.9),
}
thresholds = pytest.mark.parametrize("name", THRESHOLDS)
PAIR = ((1, 0), (0, 1))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def scalar(name: str, t: float) -> float:
    """The level lambda(t) of the four thresholds, by their formulas."""
    lam, mu = 0.7, 1.9
    if t <= lam:
        return 1.0
    kept = {"soft": t - lam, "hard": t, "garrote": t - lam**2 / t, "firm": min(t, mu * (t - lam) / (mu - lam))}
    return 1 - kept[name] / t


# ---- thresholds of groups ---------------------------------------------------------------------------------------


@thresholds
@pytest.mark.paper("(4.4)")
def test_a_group_shrinks_by_the_factor_of_its_size(name: str) -> None:
    """Pixel by pixel, level by level, from the formula of the curve; the bands outside the group pass."""
    W = FrameletTransform(bspline(2), levels=2)
    group = ((1, 0), (0, 1), (1, 1))
    S, d = Isotropic(THRESHOLDS[name], W, group), random(len(W.bands), 3, 4)
    exact = d.clone()
    for level, n, m in itertools.product(range(2), range(3), range(4)):
        bands = [W.band(ell, level) for ell in group]
        exact[bands, n, m] *= 1 - scalar(name, d[bands, n, m].norm().item())
    torch.testing.assert_close(S(d), exact, rtol=0, atol=1e-14)
    torch.testing.assert_close(d * (1 - S.level(d)), exact, rtol=0, atol=1e-14)
    outside = [i for i, band in enumerate(W.bands) if band.ell not in group]
    assert torch.equal(S(d)[outside], d[outside])
    assert S(d.expand(2, 3, *d.shape)).shape == (2, 3, *d.shape)


@pytest.mark.parametrize("lam", [0.7, (0.5, 1.2)], ids=["one", "two"])
def test_isotropic_soft_is_a_case(lam: float | tuple) -> None:
    W = FrameletTransform(bspline(1), levels=2)
    d = 2 * random(2, 7, 5, 4)
    lam = lam if isinstance(lam, float) else torch.tensor(lam, dtype=torch.float64).reshape(2, 1, 1, 1)
    assert torch.equal(Isotropic(Soft(lam), W).level(d), IsotropicSoft(lam, W).level(d))


@thresholds
def test_a_group_turns_with_its_bands(name: str) -> None:
    """S(Q d) = Q S(d) for a rotation of the two bands."""
    S, d = Isotropic(THRESHOLDS[name], HAAR, PAIR), 2 * random(4, 6, 6)
    Q = torch.eye(4, dtype=torch.float64)
    c, s = math.cos(0.7), math.sin(0.7)
    first, second = HAAR.band((1, 0)), HAAR.band((0, 1))
    Q[first, first], Q[first, second], Q[second, first], Q[second, second] = c, -s, s, c
    turn = lambda d: torch.einsum("ij,j...->i...", Q, d)  # noqa: E731
    torch.testing.assert_close(S(turn(d)), turn(S(d)), rtol=0, atol=1e-13)


@thresholds
def test_a_group_of_zeros_and_gradients(name: str) -> None:
    """At d = 0 nothing is divided by 0; a learned lam receives its gradient; types are kept."""
    S = Isotropic(THRESHOLDS[name], HAAR, PAIR)
    zero = torch.zeros(4, 3, 3, dtype=torch.float64, requires_grad=True)
    S(zero).sum().backward()
    assert torch.equal(S(zero), zero) and zero.grad.isfinite().all()
    if name != "hard":
        assert torch.autograd.gradcheck(S, (2 * random(4, 2, 2).requires_grad_(),))
    assert S(torch.ones(4, 3, 3)).dtype == torch.float32
    assert copy.deepcopy(S).to("meta")(torch.ones(4, 3, 3, device="meta")).device.type == "meta"


# ---- from a diffusivity to a shrinkage --------------------------------------------------------------------------


@pytest.mark.paper("(4.5)")
@pytest.mark.parametrize(
    ("order", "dim", "shape", "boundary"),
    [
        (1, 1, (17,), "periodic"),
        (1, 3, (5, 4, 6), "periodic"),
        (2, 2, (12, 9), "reflect"),
        (3, 2, (9, 8), "periodic"),
        (4, 2, (12, 9), "reflect"),
        (2, 1, (12,), "reflect"),
    ],
    ids=str,
)
def test_the_shrinkage_is_the_explicit_scheme(order: int, dim: int, shape: tuple[int, ...], boundary: str) -> None:
    """For splines of every order, in dimensions 1 to 3, at both borders."""
    W, g, h = FrameletTransform(bspline(order), dim=dim, boundary=boundary), Rational(1.5), 0.7
    F = PeronaMalik(g, FrameGradient(bspline(order), h=h, dim=dim, boundary=boundary))
    S = shrinkage_from(g, W, 0.05, h)
    u = random(2, *shape)
    diffused = run(Euler(F, 0.05), u, k=30).u
    torch.testing.assert_close(run(Shrinkage(W, S), u, k=30).u, diffused, rtol=0, atol=1e-13)
    assert (diffused - u).abs().max() > 0.05


@pytest.mark.paper("(4.4)")
def test_the_level_by_hand() -> None:
    """Haar with h = 1/2: gamma = -4, level 16 tau g(16 |d|^2), by loops; linear splines: gamma^2 = 8; else `rest`."""
    tau, g = 0.01, Exponential(2.0)
    for W, square in ((HAAR, 16.0), (LINEAR, 8.0)):
        for isotropic in (True, False):
            S, d = shrinkage_from(g, W, tau, 0.5, isotropic, rest=0.25), random(len(W.bands), 3, 3)
            level, pair = S.level(d), [W.band(ell) for ell in PAIR]
            for n, m, i in itertools.product(range(3), range(3), range(len(W.bands))):
                size = (d[pair, n, m] ** 2).sum() if isotropic else d[i, n, m] ** 2
                exact = tau * square * math.exp(-square * size / 8) if i in pair else 0.25 * (i > 0)
                assert level[i, n, m].item() == pytest.approx(exact, abs=1e-15)
            assert S.max_level == pytest.approx(tau * square)
            t = torch.linspace(0, 2, 5, dtype=torch.float64)
            torch.testing.assert_close(S.curve(t), tau * square * torch.exp(-square * t**2 / 8))


@pytest.mark.paper("(4.5)")
@pytest.mark.parametrize(("order", "stable", "shrinks"), [(1, 0.5, 0.25), (2, 2.0, 0.5), (4, 128 / 27, 1.0)], ids=str)
def test_bounds_in_units_of_h_squared(order: int, stable: float, shrinks: float) -> None:
    """max_tau = 2/(max |grad|^2 max g): h^2/2, 2 h^2, 128/27 h^2 for the cubic pair; level 1 at 1/(gamma^2 max g)."""
    W, h, g = FrameletTransform(bspline(order)), 0.3, Regularised(0.5)  # g(0) = 2
    assert shrinkage_from(g, W, 1e-3, h).max_tau == pytest.approx(stable * h**2 / 2, rel=1e-9)
    for part in (0.999, 1.001):
        assert shrinkage_from(g, W, part * shrinks * h**2 / 2, h).shrinks == (part < 1)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            shrinkage_from(g, W, part * stable * h**2 / 2, h)
        assert [w.category for w in seen] == ([] if part < 1 else [StabilityWarning])


@pytest.mark.parametrize("rest", [0.3, 1.0])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_bound_with_a_rest_is_that_of_the_symbol(order: int, rest: float) -> None:
    """sup_w (tau |grad^|^2 + rest sum_others |q^|^2) = 2, on a fine grid of frequencies."""
    W, h = FrameletTransform(bspline(order)), 0.5
    tau = shrinkage_from(torch.ones_like, W, 0.01, h, rest=rest).max_tau
    w = np.linspace(0, np.pi, 401)
    x, y = np.meshgrid(w, w, indexing="ij")
    total, gamma = np.zeros_like(x), shrinkage_from(torch.ones_like, W, 0.01, h).gamma
    for band in W.bands[1:]:
        share = abs(W.filter(*band).symbol(x, y)) ** 2
        total += (tau * gamma**2 if sum(band.ell) == 1 else rest) * share
    assert total.max() == pytest.approx(2, abs=1e-4)
    u = random(16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        end = run(Shrinkage(W, shrinkage_from(torch.ones_like, W, tau, h, rest=rest)), u, k=200).u
    assert end.norm() <= u.norm() * (1 + 1e-9)


def test_rest_removes_what_the_first_bands_do_not_see() -> None:
    """rest = 1 leaves a picture with the low-pass and the first bands only, in one step."""
    u = random(12, 12)
    S = shrinkage_from(Charbonnier(1.0), LINEAR, 1e-12, rest=1.0)
    d = LINEAR(u)
    kept = torch.zeros_like(d)
    kept[:3] = d[:3]
    torch.testing.assert_close(Shrinkage(LINEAR, S)(u), LINEAR.T(kept), rtol=0, atol=1e-10)


def test_a_shrinkage_is_a_module_like_any() -> None:
    """Batches, types, devices, derivatives; a learned number inside g receives its gradient."""
    g = Rational(1.5)
    S = shrinkage_from(g, HAAR, 0.1, rest=0.2)
    d = random(2, 3, 4, 5, 5)
    assert torch.equal(S(d)[1, 2], S(d[1, 2]))
    assert S(d.float()).dtype == S.level(d.float()).dtype == torch.float32
    assert torch.autograd.gradcheck(S, (random(4, 3, 3).requires_grad_(),))
    g.lam = torch.nn.Parameter(g.lam)
    S(random(4, 5, 5)).square().sum().backward()
    assert g.lam.grad.abs() > 0
    meta = shrinkage_from(Rational(1.5), HAAR, 0.1).to("meta")
    assert meta(torch.ones(4, 3, 3, device="meta")).device.type == "meta"


# ---- from a shrinkage to a diffusivity --------------------------------------------------------------------------


@thresholds
@pytest.mark.paper("(4.4)")
def test_the_diffusivity_by_its_formula(name: str) -> None:
    """g(s) = lambda(sqrt(s)/|gamma|)/(tau gamma^2), |gamma| = 2/h or 2^{1/2}/h."""
    for W, size in ((HAAR, 4.0), (LINEAR, 2 * 2**0.5)):
        g = diffusivity_from(Isotropic(THRESHOLDS[name], W), W, 0.2, 0.5)
        for r in (0.0, 0.3, 1.0, 2.0, 2.7, 3.5, 5.0, 7.4, 8.1, 100.0):
            exact = scalar(name, r / size) / (0.2 * size**2)
            assert g(torch.tensor([r * r], dtype=torch.float64)).item() == pytest.approx(exact, rel=1e-12)


@thresholds
def test_where_the_flux_turns(name: str) -> None:
    """Soft: the flux never falls. Hard, firm, garrote: it falls from (gamma lam)^2 on; check on the flux itself."""
    g = diffusivity_from(THRESHOLDS[name], HAAR, 0.2, 0.5)
    assert isinstance(g, ShrinkageDiffusivity)
    if name == "soft":
        assert g.threshold == math.inf
        return
    K = (4 * 0.7) ** 2
    assert g.threshold == pytest.approx(K, rel=1e-9)
    r = torch.linspace(0, 2 * K**0.5, 2001, dtype=torch.float64)
    flux = r * g(r**2)
    below = r < K**0.5 * (1 - 1e-9)
    assert (flux[below].diff() > 0).all()
    assert (flux[r > K**0.5 * (1 + 1e-9)].diff() <= 1e-15).all()


@pytest.mark.paper("(4.4)")
@pytest.mark.parametrize("g", [Rational(0.8), Exponential(1.3), Charbonnier(0.4), Regularised(0.3)], ids=repr)
@pytest.mark.parametrize("W", [HAAR, LINEAR], ids=["haar", "linear"])
def test_there_and_back(g: torch.nn.Module, W: FrameletTransform) -> None:
    """diffusivity_from(shrinkage_from(g)) = g; another tau is another unit of time."""
    S = shrinkage_from(g, W, 0.01, 0.5)
    back = diffusivity_from(S, W, 0.01, 0.5)
    s = torch.cat([torch.zeros(1), torch.logspace(-6, 3, 200)]).double()
    torch.testing.assert_close(back(s), g(s), rtol=1e-13, atol=0)
    torch.testing.assert_close(back.derivative(s[1:]), g.derivative(s[1:]), rtol=1e-9, atol=1e-12)
    assert back.threshold == pytest.approx(g.threshold, rel=1e-6)
    torch.testing.assert_close(diffusivity_from(S, W, 0.02, 0.5)(s), g(s) / 2, rtol=1e-13, atol=0)


@thresholds
@pytest.mark.paper("(4.4)")
def test_back_and_there(name: str) -> None:
    """shrinkage_from(diffusivity_from(S)) = S, on the pair of bands; entry by entry where S acts so."""
    d = 2 * random(4, 8, 8)
    S = Isotropic(THRESHOLDS[name], HAAR, PAIR)
    again = shrinkage_from(diffusivity_from(S, HAAR, 0.2, 0.5), HAAR, 0.2, 0.5)
    assert isinstance(again, DiffusionShrinkage)
    torch.testing.assert_close(again(d), S(d), rtol=0, atol=1e-13)
    each = shrinkage_from(diffusivity_from(THRESHOLDS[name], HAAR, 0.2, 0.5), HAAR, 0.2, 0.5, isotropic=False)
    pair = [HAAR.band(ell) for ell in PAIR]
    torch.testing.assert_close(each(d)[pair], THRESHOLDS[name](d[pair]), rtol=0, atol=1e-13)


def test_a_curve_drawn_by_hand() -> None:
    """Any level of one's own is a diffusivity: a Threshold, or a function of t."""

    class Half(Threshold):
        def level(self, d: Tensor) -> Tensor:
            return 0.5 * (d.abs() <= self.threshold(d)).to(d.dtype)

    g = diffusivity_from(Half(0.5), HAAR, 0.25)
    torch.testing.assert_close(g(torch.tensor([0.0, 0.9, 1.1])), torch.tensor([0.5, 0.5, 0.0]))
    own = ShrinkageDiffusivity(lambda t: 1 / (1 + t), tau=0.25, gamma=-2.0)
    torch.testing.assert_close(own(torch.tensor([0.0, 4.0])), torch.tensor([1.0, 0.5]))


def test_the_average_is_never_shrunk_by_a_group() -> None:
    """Shrinkage takes a group of one number, and refuses the bare threshold."""
    u = random(8, 8)
    for S in THRESHOLDS.values():
        v = Shrinkage(HAAR, Isotropic(S, HAAR))(u)
        assert v.mean().item() == pytest.approx(u.mean().item(), abs=1e-14)
