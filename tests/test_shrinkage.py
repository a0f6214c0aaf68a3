"""u^k = W~^T S(W u^{k-1}): framelet shrinkage (4.5) as a map, and what iterating it does to a picture."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from companion import (
    Firm,
    FrameletTransform,
    Garrote,
    GaussianNoise,
    Hard,
    IsotropicSoft,
    Shrinkage,
    Soft,
    Threshold,
    biorthogonal,
    bspline,
    fixed_point,
    run,
)

HAAR = FrameletTransform(bspline(1), levels=2)
LINEAR = FrameletTransform(bspline(2), levels=2, boundary="reflect")
FRAMES = pytest.mark.parametrize("W", [HAAR, LINEAR], ids=["haar", "linear-reflect"])
KINDS: dict[str, Callable[[FrameletTransform], Threshold]] = {
    "soft": lambda W: Soft(W.weights(0.4)),
    "hard": lambda W: Hard(W.weights(0.4)),
    "garrote": lambda W: Garrote(W.weights(0.4)),
    "firm": lambda W: Firm(W.weights(0.4), W.weights(1.0)),
    "isotropic": lambda W: IsotropicSoft(0.4, W),
}
SHRINKAGES = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def picture(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def disc(n: int = 32) -> Tensor:
    x = torch.linspace(-1, 1, n, dtype=torch.float64)
    return (x[:, None] ** 2 + x[None, :] ** 2 < 0.4).double()


# ---- one step ---------------------------------------------------------------------------------------------------


@pytest.mark.paper("(4.5)")
@FRAMES
@SHRINKAGES
def test_one_step_is_transform_shrink_and_back(W: FrameletTransform, kind) -> None:
    u, S = picture(2, 12, 13), kind(W)
    assert torch.equal(Shrinkage(W, S)(u), W.T(S(W(u))))


@pytest.mark.paper("(4.5)")
def test_with_a_dual_frame_the_way_back_is_the_dual() -> None:
    bank, dual = biorthogonal(2, 2)
    W = FrameletTransform(bank, dual=dual)
    u, S = picture(9, 10), Garrote(W.weights(0.3))
    assert torch.equal(Shrinkage(W, S)(u), W.dual.T(S(W(u))))
    assert (Shrinkage(W, S)(u) - W.T(S(W(u)))).abs().max() > 0.1
    torch.testing.assert_close(Shrinkage(W, Soft(0.0))(u), u, rtol=0, atol=1e-14)


@pytest.mark.paper("(4.5)")
def test_any_map_of_coefficients_will_do() -> None:
    u = picture(8, 9)
    torch.testing.assert_close(Shrinkage(HAAR, lambda d: d)(u), u, rtol=0, atol=1e-14)
    torch.testing.assert_close(Shrinkage(HAAR, lambda d: 0.5 * d)(u), 0.5 * u, rtol=0, atol=1e-14)


def test_a_huge_threshold_leaves_the_average_alone() -> None:
    """All high bands vanish: u -> W_0^T W_0 u, a blur with p and with its mirror image."""
    u = picture(8, 9)
    d = HAAR(u)
    d[1:] = 0
    torch.testing.assert_close(Shrinkage(HAAR, Soft(HAAR.weights(1e6)))(u), HAAR.T(d), rtol=0, atol=1e-14)


@FRAMES
@SHRINKAGES
def test_the_mean_is_kept(W: FrameletTransform, kind) -> None:
    """High bands have mean zero there and back, and the average passes: a diffusion without loss."""
    u = picture(2, 12, 13)
    end = run(Shrinkage(W, kind(W)), u, k=4).u
    torch.testing.assert_close(end.mean((-1, -2)), u.mean((-1, -2)), rtol=0, atol=1e-14)
    assert (end - u).abs().max() > 0.1


@FRAMES
@SHRINKAGES
def test_constants_rest(W: FrameletTransform, kind) -> None:
    one = torch.full((12, 13), 0.4, dtype=torch.float64)
    torch.testing.assert_close(run(Shrinkage(W, kind(W)), one, k=4).u, one, rtol=0, atol=1e-14)


@SHRINKAGES
def test_a_batch_is_a_loop_and_the_type_is_kept(kind) -> None:
    F, u = Shrinkage(LINEAR, kind(LINEAR)), picture(2, 3, 12, 13)
    looped = torch.stack([F(x) for x in u.reshape(6, 12, 13)]).reshape(u.shape)
    torch.testing.assert_close(F(u), looped, rtol=0, atol=1e-15)
    assert F(u.float()).dtype == torch.float32


@SHRINKAGES
def test_the_symmetries_of_the_square_and_shifts(kind) -> None:
    """Mirrored, turned, or moved, a picture is shrunk as before: S is odd and sees the same group of coefficients."""
    F, u = Shrinkage(HAAR, kind(HAAR)), picture(12, 12)
    moves: list[Callable[[Tensor], Tensor]] = [
        lambda u: u.flip(0),
        lambda u: u.flip(1),
        lambda u: u.T.contiguous(),
        lambda u: u.rot90(),
        lambda u: u.roll((3, 5), (0, 1)),
    ]
    for move in moves:
        torch.testing.assert_close(F(move(u)), move(F(u)), rtol=0, atol=1e-13)


# ---- iterated ---------------------------------------------------------------------------------------------------


@FRAMES
@pytest.mark.parametrize("kind", [KINDS["soft"], KINDS["isotropic"]], ids=["soft", "isotropic"])
def test_soft_shrinkage_is_nonexpansive(W: FrameletTransform, kind) -> None:
    """Two pictures never move apart, since W is an isometry and S a proximal map."""
    F = Shrinkage(W, kind(W))
    u, v = picture(12, 13), picture(12, 13)
    apart = [torch.dist(u, v)]
    for a, b in zip(run(F, u, k=6, keep=1).kept.values(), run(F, v, k=6, keep=1).kept.values(), strict=True):
        apart.append(torch.dist(a, b))
    assert (torch.stack(apart).diff() <= 1e-14).all()
    assert apart[-1] < apart[0]


@pytest.mark.paper("(4.5)")
def test_soft_shrinkage_descends_its_moreau_envelope() -> None:
    """With M(u) = min_d R(d) + |W u - d|^2 / 2 = R(S(W u)) + |W u - S(W u)|^2 / 2 and W^T W = I, the step is
    u - grad M(u), and the energy M falls at every step.
    """
    lam = LINEAR.weights(0.4, decay=0.5)
    S = Soft(lam)

    def M(u: Tensor) -> Tensor:
        d = LINEAR(u)
        v = S(d)
        return (lam * v.abs()).sum() + (d - v).square().sum() / 2

    u = picture(10, 11).requires_grad_()
    (slope,) = torch.autograd.grad(M(u), u)
    torch.testing.assert_close(Shrinkage(LINEAR, S)(u.detach()), u.detach() - slope, rtol=0, atol=1e-13)
    curve = run(Shrinkage(LINEAR, S), u.detach(), k=20, record={"M": M}).curves["M"]
    assert (curve.diff() < 0).all()


def test_left_to_itself_shrinkage_flattens_the_picture() -> None:
    u = picture(10, 10)
    end = run(Shrinkage(HAAR, Soft(HAAR.weights(1.0))), u, k=5000, until=fixed_point(1e-12))
    assert end.stopped == "until"
    torch.testing.assert_close(end.u, u.mean().expand(10, 10), rtol=0, atol=1e-9)


def test_hard_shrinkage_stays_where_it_has_arrived() -> None:
    """A disc of contrast 1 has no coefficient between 0 and a small threshold: it is a fixed point of keep-or-kill."""
    u = disc()
    W = FrameletTransform(bspline(1))
    torch.testing.assert_close(Shrinkage(W, Hard(W.weights(0.2)))(u), u, rtol=0, atol=1e-14)
    assert (Shrinkage(W, Soft(W.weights(0.2)))(u) - u).abs().max() > 0.05


@pytest.mark.paper("(4.5)")
@pytest.mark.parametrize("W", [FrameletTransform(bspline(2), 3), LINEAR], ids=["periodic", "reflect"])
def test_shrinkage_removes_noise(W: FrameletTransform) -> None:
    """The threshold of each band is a multiple of the noise in it, sigma |q_{ell,l}|_2."""
    u, sigma = disc(48), 0.15
    f = GaussianNoise(sigma)(u)
    before = torch.dist(f, u)
    for S, ratio in ((Soft(W.weights(1.0 * sigma * W.gains)), 0.6), (Hard(W.weights(2.7 * sigma * W.gains)), 0.5)):
        assert torch.dist(Shrinkage(W, S)(f), u) < ratio * before, type(S).__name__


@pytest.mark.paper("(4.5)")
def test_thresholds_may_change_from_step_to_step() -> None:
    """lambda^{k-1} in (4.5): a list of maps, one for each step."""
    u = picture(8, 9)
    steps = [Shrinkage(HAAR, Soft(HAAR.weights(lam))) for lam in (0.5, 0.2, 0.1)]
    v = u
    for lam in (0.5, 0.2, 0.1):
        v = HAAR.T(Soft(HAAR.weights(lam))(HAAR(v)))
    assert torch.equal(run(steps, u).u, v)
    assert not torch.equal(run(steps[::-1], u).u, v)


# ---- learned ----------------------------------------------------------------------------------------------------


def test_gradients_flow_through_the_iteration() -> None:
    F = Shrinkage(HAAR, IsotropicSoft(0.3, HAAR))
    assert torch.autograd.gradcheck(lambda u: run(F, u, k=3).u, (picture(4, 5).requires_grad_(),))


def test_a_threshold_can_be_learned() -> None:
    """F -> F_Theta: the buffer becomes a Parameter, one number for each band, and descends on the error."""
    u = disc(24)
    f = GaussianNoise(0.15)(u)
    S = Soft(HAAR.weights(0.01))
    S.lam = nn.Parameter(S.lam)
    F = Shrinkage(HAAR, S)
    assert [name for name, _ in F.named_parameters()] == ["S.lam"]
    optimiser = torch.optim.SGD(F.parameters(), lr=2e-3)
    errors = []
    for _ in range(15):
        optimiser.zero_grad()
        error = (F(f) - u).square().sum()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.7 * errors[0]
    assert (S.lam.flatten()[1:] > 0.01).all()


def test_a_shrinkage_moves_with_its_parts() -> None:
    bank, dual = biorthogonal(2, 2)
    W = FrameletTransform(bank, dual=dual)
    F = Shrinkage(W, Soft(W.weights(0.3))).to("meta")
    assert F(torch.zeros(2, 9, 10, device="meta")).shape == (2, 9, 10)
    assert {b.device.type for b in F.buffers()} == {"meta"}
