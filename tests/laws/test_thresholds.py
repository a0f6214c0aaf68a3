"""What every shrinkage S(d) = d (1 - lambda(d)) of (4.4) obeys, and the closed forms that its docstring claims."""

from math import inf

import pytest
import torch
from torch import Tensor, nn

from companion import Firm, FrameletTransform, Garrote, Hard, IsotropicSoft, Soft, Threshold, bspline
from tests.laws.registry import HAAR2, LAM, LINEAR1, MU, THRESHOLDS, ThresholdExample, public_subclasses

STEP = 1 / 200
LINE = torch.arange(-800, 801, dtype=torch.float64) / 200


@pytest.fixture(params=THRESHOLDS, ids=lambda example: example.name)
def example(request: pytest.FixtureRequest) -> ThresholdExample:
    return request.param


@pytest.fixture(params=[e for e in THRESHOLDS if e.scalar], ids=lambda example: example.name)
def scalar(request: pytest.FixtureRequest) -> ThresholdExample:
    return request.param


def test_every_threshold_has_an_example() -> None:
    seen = {type(example.make()) for example in THRESHOLDS}
    missing = sorted(cls.__name__ for cls in public_subclasses(Threshold) - seen)
    assert not missing, f"Register an example of {', '.join(missing)} in tests/laws/registry.py."


# ---- (4.4) ------------------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.4)")
def test_the_level_is_the_fraction_taken_away(example: ThresholdExample) -> None:
    S, d = example.make(), example.input(3)
    level = S.level(d)
    assert level.shape == d.shape
    assert level.min() >= 0
    assert level.max() <= 1
    torch.testing.assert_close(S(d), d * (1 - level), rtol=0, atol=1e-14)


@pytest.mark.paper("(4.4)")
def test_at_zero_the_level_is_one_and_nothing_is_divided_by_zero(example: ThresholdExample) -> None:
    S, zero = example.make(), torch.zeros(example.shape, dtype=torch.float64)
    assert torch.equal(S(zero), zero)
    assert torch.equal(S(-zero), zero)
    level = S.level(zero)
    assert level.isfinite().all()
    if example.scalar:
        assert torch.equal(level, torch.full_like(zero, float(S.lam > 0)))


def test_odd(example: ThresholdExample) -> None:
    S, d = example.make(), example.input(3)
    assert torch.equal(S(-d), -S(d))
    assert torch.equal(S.level(-d), S.level(d))


def test_never_away_from_zero_nor_across_it(example: ThresholdExample) -> None:
    S, d = example.make(), example.input(3)
    assert (S(d).abs() <= d.abs()).all()
    assert (S(d) * d >= 0).all()


def test_large_coefficients_keep_all_but_the_bias(example: ThresholdExample) -> None:
    S = example.make()
    d = (example.reach + 1e-9 + example.input(5).abs()) * torch.sign(example.input(5))
    assert (d - S(d)).abs().max() <= example.bias + 1e-12


def test_no_threshold_leaves_everything_unchanged() -> None:
    d = 3 * torch.randn(7, 4, 5, dtype=torch.float64)
    for S in (Soft(0.0), Hard(0.0), Garrote(0.0), Firm(0.0, 1.0), Firm(0.0, 0.0), IsotropicSoft(0.0, HAAR2)):
        assert torch.equal(S(d), d), type(S).__name__
        assert torch.count_nonzero(S.level(d)) == 0 or isinstance(S, Hard)


def test_where_the_weights_are_zero_the_average_is_untouched() -> None:
    for W, shape in ((HAAR2, (2, 6, 5)), (LINEAR1, (2, 12))):
        d = W(torch.randn(shape, dtype=torch.float64))
        low = d.select(-W.dim - 1, 0)
        lam = W.weights(0.6)
        for S in (Soft(lam), Hard(lam), Garrote(lam), Firm(lam, W.weights(1.5)), IsotropicSoft(0.6, W)):
            shrunk = S(d)
            assert torch.equal(shrunk.select(-W.dim - 1, 0), low), type(S).__name__
            assert not torch.equal(shrunk, d), type(S).__name__


def test_batch_is_a_loop(example: ThresholdExample) -> None:
    S, d = example.make(), example.input(2, 3)
    looped = torch.stack([S(x) for x in d.reshape(-1, *example.shape)]).reshape(d.shape)
    assert torch.equal(S(d), looped)


def test_type_and_device_follow_the_input(example: ThresholdExample) -> None:
    S, d = example.make(), example.input()
    exact = S(d)
    for dtype, rounding in ((torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        far = (d.abs() - LAM).abs() > 0.05  # where rounding d does not carry it over a jump
        near = S(d.to(dtype))
        assert near.dtype == S.level(d.to(dtype)).dtype == dtype
        if example.lipschitz < inf:
            far = torch.ones_like(far)
        assert (near.double() - exact)[far].abs().max() < rounding
    assert S.to("meta")(d.to("meta")).device.type == "meta"


def test_nothing_is_changed_in_place(example: ThresholdExample) -> None:
    S, d = example.make(), example.input()
    before, lam = d.clone(), S.lam.clone()
    S(d)
    S.level(d)
    assert torch.equal(d, before)
    assert torch.equal(S.lam, lam)


# ---- as functions of one variable -------------------------------------------------------------------------------


def test_nondecreasing(scalar: ThresholdExample) -> None:
    """S is nondecreasing in d, and the level nonincreasing in |d|."""
    S = scalar.make()
    assert (S(LINE).diff() >= -1e-15).all()
    assert (S.level(LINE[LINE >= 0]).diff() <= 1e-15).all()


def test_the_steepest_slope_is_the_lipschitz_constant(scalar: ThresholdExample) -> None:
    slope = (scalar.make()(LINE).diff() / STEP).max().item()
    if scalar.lipschitz < inf:
        assert scalar.lipschitz * 0.99 <= slope <= scalar.lipschitz * (1 + 1e-9)
    else:
        assert slope >= 0.99 * LAM / STEP  # a jump of height lam, whatever the step


@pytest.mark.parametrize("example", [e for e in THRESHOLDS if e.lipschitz < inf], ids=lambda example: example.name)
def test_lipschitz(example: ThresholdExample) -> None:
    S, a = example.make(), example.input(200)
    b = a + 0.5 * example.input(200)
    axes = tuple(range(1, a.ndim))
    far = torch.linalg.vector_norm(S(a) - S(b), dim=axes)
    assert (far <= example.lipschitz * torch.linalg.vector_norm(a - b, dim=axes) * (1 + 1e-12)).all()


def test_soft_thresholds_are_firmly_nonexpansive() -> None:
    """|S(a) - S(b)|^2 <= <S(a) - S(b), a - b>: what makes them proximal maps, and the others not."""
    a, b = 2 * torch.randn(2, 500, 7, 4, 5, dtype=torch.float64)

    def gap(S: Threshold) -> float:
        moved = S(a) - S(b)
        return (moved * (a - b) - moved**2).flatten(1).sum(1).min().item()

    assert gap(Soft(HAAR2.weights(LAM))) >= 0
    assert gap(IsotropicSoft(LAM, HAAR2)) >= 0
    for S in (Hard(LAM), Garrote(LAM), Firm(LAM, MU)):
        moved = S(LINE).diff()
        assert (moved * STEP - moved**2).min() < -1e-6, type(S).__name__


# ---- closed forms -----------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.4)")
def test_soft_formula() -> None:
    exact = LINE.sign() * (LINE.abs() - LAM).clamp_min(0)
    torch.testing.assert_close(Soft(LAM)(LINE), exact, rtol=0, atol=1e-15)
    level = torch.clamp(LAM / LINE[LINE != 0].abs(), max=1)
    torch.testing.assert_close(Soft(LAM).level(LINE[LINE != 0]), level, rtol=1e-15, atol=0)


def test_hard_formula() -> None:
    exact = torch.tensor([d if abs(d) > LAM else 0.0 for d in LINE.tolist()], dtype=torch.float64)
    assert torch.equal(Hard(LAM)(LINE), exact)


def test_garrote_formula() -> None:
    exact = torch.tensor([d - LAM**2 / d if abs(d) > LAM else 0.0 for d in LINE.tolist()], dtype=torch.float64)
    torch.testing.assert_close(Garrote(LAM)(LINE), exact, rtol=0, atol=1e-15)


def test_firm_formula() -> None:
    def S(d: float) -> float:
        t = abs(d)
        return 0.0 if t <= LAM else d if t >= MU else (d / t) * MU * (t - LAM) / (MU - LAM)

    exact = torch.tensor([S(d) for d in LINE.tolist()], dtype=torch.float64)
    torch.testing.assert_close(Firm(LAM, MU)(LINE), exact, rtol=0, atol=1e-14)


def test_firm_lies_between_soft_and_hard() -> None:
    """mu -> infinity is soft, mu -> lam is hard."""
    torch.testing.assert_close(Firm(LAM, 1e12)(LINE), Soft(LAM)(LINE), rtol=0, atol=1e-10)
    torch.testing.assert_close(Firm(LAM, LAM + 1e-12)(LINE), Hard(LAM)(LINE), rtol=0, atol=1e-14)


def test_isotropic_formula() -> None:
    """One factor for all bands of a level at a pixel, from their Euclidean norm."""
    d = 2 * torch.randn(7, 4, 5, dtype=torch.float64)
    exact = d.clone()
    for level in range(2):
        bands = [i for i, band in enumerate(HAAR2.bands) if not band.low and band.level == level]
        for n in range(4):
            for m in range(5):
                group = d[bands, n, m]
                exact[bands, n, m] = group * max(0.0, 1 - LAM / group.norm().item())
    torch.testing.assert_close(IsotropicSoft(LAM, HAAR2)(d), exact, rtol=0, atol=1e-14)


def test_isotropic_thresholds_per_level() -> None:
    d = 2 * torch.randn(7, 4, 5, dtype=torch.float64)
    S = IsotropicSoft(torch.tensor([0.5, 1.5]).reshape(2, 1, 1, 1), HAAR2)(d)
    fine, coarse = IsotropicSoft(0.5, HAAR2)(d), IsotropicSoft(1.5, HAAR2)(d)
    for i, band in enumerate(HAAR2.bands):
        assert torch.equal(S[i], fine[i] if band.level == 0 else coarse[i]), band


def test_isotropic_shrinkage_turns_with_its_bands() -> None:
    """S(Q d) = Q S(d) for every rotation Q of the bands of a level; entrywise soft thresholding has no such law."""
    Q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    d = 2 * torch.randn(4, 20, 20, dtype=torch.float64)

    def turn(d: Tensor) -> Tensor:
        return torch.cat([d[:1], torch.einsum("ij,j...->i...", Q, d[1:])])

    W = FrameletTransform(bspline(1))
    S = IsotropicSoft(LAM, W)
    torch.testing.assert_close(S(turn(d)), turn(S(d)), rtol=0, atol=1e-13)
    entrywise = Soft(W.weights(LAM))
    assert (entrywise(turn(d)) - turn(entrywise(d))).abs().max() > 0.1


def test_isotropic_with_one_band_is_soft() -> None:
    W = FrameletTransform(bspline(1), levels=3, dim=1)
    d = W(torch.randn(16, dtype=torch.float64))
    torch.testing.assert_close(IsotropicSoft(0.3, W)(d), Soft(W.weights(0.3))(d), rtol=0, atol=1e-15)


# ---- proximal maps ----------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.4)")
def test_soft_is_the_proximal_map_of_the_absolute_value() -> None:
    """v = S(d) minimises lam |v| + (v - d)^2 / 2: <d - v, z - v> <= lam (|z| - |v|) for every z, all on a grid."""
    d, z = LINE[:, None], LINE[None, ::4]
    v = Soft(LAM)(d)
    assert ((d - v) * (z - v) <= LAM * (z.abs() - v.abs()) + 1e-14).all()
    energy = LAM * z.abs() + (z - d) ** 2 / 2
    best = z.expand_as(energy).gather(1, energy.argmin(1, keepdim=True))
    assert (best - v).abs().max() <= 2 * STEP * (1 + 1e-9)  # the grid's nearest point, from one side or the other


def test_hard_and_firm_minimise_their_concave_penalties() -> None:
    """Hard: lam^2/2 for v != 0.  Firm: lam int_0^|v| (1 - s/mu)_+ ds, which bends down to a constant at mu.

    S(d) attains the least energy of a grid: what is compared is the energy, since the minimiser of `Hard` jumps.
    """
    lam, mu = 0.8, 2.0
    d, z = LINE[::5, None], LINE[None, :]

    def count(v: Tensor) -> Tensor:
        return lam**2 / 2 * (v != 0).double()

    def bent(v: Tensor) -> Tensor:
        t = v.abs().clamp_max(mu)
        return lam * (t - t**2 / (2 * mu))

    for S, penalty in ((Hard(lam), count), (Firm(lam, mu), bent)):
        attained = penalty(S(d)) + (S(d) - d) ** 2 / 2
        brute = (penalty(z) + (z - d) ** 2 / 2).min(1, keepdim=True).values
        assert (attained <= brute + 1e-14).all(), type(S).__name__


@pytest.mark.paper("(4.4)")
def test_isotropic_soft_is_the_proximal_map_of_the_group_norm() -> None:
    """<d - v, z - v> <= R(z) - R(v) for z near and far, R(d) = lam sum_{k, l} (sum_ell |d_{ell,l}[k]|^2)^{1/2}."""
    d = 2 * torch.randn(7, 4, 5, dtype=torch.float64)
    lam = torch.tensor([0.8, 1.3], dtype=torch.float64)
    v = IsotropicSoft(lam.reshape(2, 1, 1, 1), HAAR2)(d)
    assert (v[1:4].norm(dim=0) == 0).any()
    assert (v[1:4].norm(dim=0) > 0).any()

    def R(d: Tensor) -> Tensor:
        return sum(lam[i] * d[..., 1 + 3 * i : 4 + 3 * i, :, :].norm(dim=-3).sum((-1, -2)) for i in range(2))

    for size in (1e-6, 1e-3, 1.0, 100.0):
        z = v + size * torch.randn(300, *v.shape, dtype=torch.float64)
        z[:, 0] = v[0]  # the average bears no penalty, so v[0] = d[0] and its part of the inequality is 0 <= 0
        left = ((d - v) * (z - v)).flatten(1).sum(1)
        assert (left <= R(z) - R(v) + 1e-12 * size).all()
    assert torch.equal(v[0], d[0])
    wrong = Soft(HAAR2.weights(0.8))(d)
    z = torch.stack([v, d, torch.zeros_like(d)])
    z[:, 0] = v[0]
    assert not (((d - wrong) * (z - wrong)).flatten(1).sum(1) <= R(z) - R(wrong)).all()


# ---- gradients --------------------------------------------------------------------------------------------------


def kinks(dtype: torch.dtype) -> Tensor:
    values = [0.0, -0.0, LAM, -LAM, MU, -MU, LAM / 2, 1.4, 3.0, 1e-30, -1e-42]
    return torch.tensor(values, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_gradients_are_finite_at_zero_and_at_the_kinks(example: ThresholdExample, dtype: torch.dtype) -> None:
    """... with respect to the coefficients and to a learned threshold, where it is zero as well."""
    S = example.make()
    values = kinks(dtype)
    d = values.reshape(-1, *[1] * len(example.shape)).expand(-1, *example.shape).clone().requires_grad_()
    for name, b in list(S.named_buffers()):
        setattr(S, name, nn.Parameter(b.clone()))
    S(d).float().sum().backward()
    assert d.grad.isfinite().all()
    for name, theta in S.named_parameters():
        assert theta.grad is None or theta.grad.isfinite().all(), name
    level = S.level(d)
    if level.requires_grad:
        d.grad = None
        level.float().sum().backward()
        assert d.grad is None or not d.grad.isnan().any()


def test_gradients_of_the_coefficients_and_of_the_threshold(example: ThresholdExample) -> None:
    S, d = example.make(), example.input().requires_grad_()
    assert torch.autograd.gradcheck(S, (d,))
    if isinstance(S, Hard):
        return  # constant in lam but for its jumps
    lam = (S.lam + 0.01).requires_grad_()

    def of_lam(lam: Tensor) -> Tensor:
        S.lam = lam
        return S(d.detach())

    assert torch.autograd.gradcheck(of_lam, (lam,))
