"""F(u) = C_2 relu(N_2 C_1 relu(N_1 u)) and the maps around it, against plain loops and torch's own layers."""

import math

import pytest
import torch
from torch import Tensor, nn

from companion import Euler, Head, Held, Heun, Residual, StageChange, Stem
from companion.flows.multistep import TwoStepState
from companion.nets.blocks import BatchNorm, conv, held, quiet


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def loops(u: Tensor, q: Tensor, stride: int = 1) -> Tensor:
    """sum_{c, k} q[o, c, k] u[c, stride n + k], k centred, zero outside: five plain loops."""
    b, _, H, W = u.shape
    out, _, size, _ = q.shape
    r = size // 2
    v = torch.zeros(b, out, math.ceil(H / stride), math.ceil(W / stride), dtype=u.dtype)
    for i in range(v.shape[2]):
        for j in range(v.shape[3]):
            for k in range(-r, r + 1):
                for m in range(-r, r + 1):
                    x, y = stride * i + k, stride * j + m
                    if 0 <= x < H and 0 <= y < W:
                        v[:, :, i, j] += u[:, :, x, y] @ q[:, :, k + r, m + r].T
    return v


def normal(u: Tensor, N: nn.Module) -> Tensor:
    """gamma (u - mean)/sqrt(var + eps) + beta with the batch's own mean and variance, by the definition."""
    result = torch.empty_like(u)
    for c in range(u.shape[1]):
        values = u[:, c]
        mean = values.sum() / values.numel()
        var = ((values - mean) ** 2).sum() / values.numel()
        result[:, c] = N.weight[c] * (values - mean) / (var + 1e-5).sqrt() + N.bias[c]
    return result


def shaken(block: nn.Module) -> nn.Module:
    """The block in float64, with gains and constants that are not 1 and 0."""
    with torch.no_grad():
        for n, p in enumerate(block.parameters()):
            if p.ndim == 1:
                p.copy_(1 + 0.3 * seeded(len(p), seed=n))
    return block.double()


@pytest.mark.parametrize("stride", [1, 2])
def test_the_field_is_its_formula(stride: int) -> None:
    F = shaken(Residual(3, 4, stride=stride))
    u = seeded(2, 3, 6, 5)
    v = loops(normal(u, F.N1).clamp(min=0), F.C1.weight, stride)
    v = loops(normal(v, F.N2).clamp(min=0), F.C2.weight)
    torch.testing.assert_close(F(u), v, rtol=1e-12, atol=1e-12)


def test_a_signal_is_a_picture_of_one_row() -> None:
    F, G = shaken(Residual(3, dim=1)), shaken(Residual(3))
    with torch.no_grad():
        for p, q in zip(F.parameters(), G.parameters(), strict=True):
            q.zero_()
            (q[:, :, 1] if p.ndim == 3 else q).copy_(p)
    u = seeded(2, 3, 11)
    torch.testing.assert_close(F(u), G(u[:, :, None])[:, :, 0], rtol=1e-12, atol=1e-12)


def test_the_stage_change_is_its_formula() -> None:
    change = shaken(StageChange(2, 4))
    u = seeded(2, 2, 6, 7)
    past = loops(normal(u, change.N).clamp(min=0), change.C.weight, 2)
    new = change(u)
    assert new.shape == (2, 4, 3, 4)
    torch.testing.assert_close(new, past + change.F(u), rtol=1e-12, atol=1e-12)
    state = change(TwoStepState(u, seeded(2, 2, 6, 7, seed=1)))  # the past before does not matter
    assert isinstance(state, TwoStepState)
    assert torch.equal(state.u, new)
    torch.testing.assert_close(state.old, past, rtol=1e-12, atol=1e-12)


def test_stem_and_head() -> None:
    stem, head = Stem(2, 3).double(), shaken(Head(3, 4))
    x = seeded(2, 2, 5, 4)
    u = stem(x)
    torch.testing.assert_close(u, loops(x, stem.C.weight), rtol=1e-12, atol=1e-12)
    mean = normal(u, head.N).clamp(min=0).mean((2, 3))
    scores = mean @ head.A.weight.T + head.A.bias
    torch.testing.assert_close(head(u), scores, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(head(TwoStepState(u, x)), scores, rtol=1e-12, atol=1e-12)


def test_batch_norm_is_torchs() -> None:
    N, M = shaken(BatchNorm(3)), nn.BatchNorm2d(3).double()
    M.load_state_dict(N.state_dict())
    for seed in range(3):
        u = 2 + seeded(4, 3, 5, 5, seed=seed)
        assert torch.equal(N(u), M(u))
    assert all(torch.equal(a, b) for a, b in zip(N.buffers(), M.buffers(), strict=True))
    assert torch.equal(N.eval()(u), M.eval()(u))


def test_one_picture_may_train_but_one_point_may_not() -> None:
    N = BatchNorm(2)
    assert N(torch.randn(1, 2, 2, 2)).isfinite().all()
    assert N(torch.randn(2, 2, 1, 1)).isfinite().all()
    with pytest.raises(ValueError, match="two values or more"):
        N(torch.randn(1, 2, 1, 1))
    assert N.eval()(torch.randn(1, 2, 1, 1)).isfinite().all()


def test_weights_have_the_variance_of_he() -> None:
    torch.manual_seed(0)
    for dim, size in ((1, 3), (2, 3), (2, 1)):
        q = conv(dim, 50, 200, size=size).weight
        assert float(q.detach().var()) == pytest.approx(2 / (200 * size**dim), rel=0.05)
    F = Residual(4)
    assert all(bool((N.weight == 1).all() and (N.bias == 0).all()) for N in (F.N1, F.N2))


# ---- one field for the whole step -------------------------------------------------------------------------------


def frozen(u: Tensor, at: Tensor) -> Tensor:
    """(u - mean)/sqrt(var + eps), mean and variance those of `at`."""
    mean, var = at.mean((0, 2, 3), keepdim=True), at.var((0, 2, 3), correction=0, keepdim=True)
    return (u - mean) / (var + 1e-5).sqrt()


def test_held_the_statistics_are_those_of_the_first_evaluation() -> None:
    N = BatchNorm(3).double()
    u, v = seeded(4, 3, 5, 5), 3 + 2 * seeded(4, 3, 5, 5, seed=1)
    with held(N):
        first, second = N(u), N(v)
    torch.testing.assert_close(first, frozen(u, u), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(second, frozen(v, u), rtol=1e-12, atol=1e-12)
    assert int(N.num_batches_tracked) == 1
    torch.testing.assert_close(N.running_mean, 0.1 * u.mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(N(v), frozen(v, v), rtol=1e-12, atol=1e-12)  # and then let go


def test_held_once_more_starts_anew() -> None:
    N = BatchNorm(3).double()
    step = Held(N)
    for seed in range(2):
        u = seeded(4, 3, 5, 5, seed=seed) + seed
        torch.testing.assert_close(step(u), frozen(u, u), rtol=1e-12, atol=1e-12)


def test_held_lets_go_after_an_error() -> None:
    N = BatchNorm(1)
    with pytest.raises(ValueError), held(N):
        N(torch.zeros(1, 1, 1, 1))
    assert N.held is None


def test_a_held_step_in_training_is_the_step_of_one_function() -> None:
    """Heun with F frozen at u, written out."""
    F = shaken(Residual(3))
    u = seeded(4, 3, 5, 5)

    def at_u(v: Tensor) -> Tensor:
        a, b = normal(u, F.N1), frozen(v, u) * F.N1.weight.reshape(-1, 1, 1) + F.N1.bias.reshape(-1, 1, 1)
        inner_u, inner_v = F.C1(a.relu()), F.C1(b.relu())
        c = frozen(inner_v, inner_u) * F.N2.weight.reshape(-1, 1, 1) + F.N2.bias.reshape(-1, 1, 1)
        return F.C2(c.relu())

    k1 = at_u(u)
    expected = u + 0.25 * (k1 + at_u(u + 0.5 * k1))
    torch.testing.assert_close(Held(Heun(F, 0.5))(u), expected, rtol=1e-11, atol=1e-11)
    assert not torch.allclose(Heun(F, 0.5)(u), expected, atol=1e-3)


def test_held_changes_nothing_where_f_is_taken_once_or_in_evaluation() -> None:
    F = shaken(Residual(3))
    u = seeded(4, 3, 5, 5)
    assert torch.equal(Held(Euler(F, 1.0))(u), Euler(F, 1.0)(u))
    F.eval()
    assert torch.equal(Held(Heun(F, 1.0))(u), Heun(F, 1.0)(u))


def test_quiet_leaves_the_running_statistics_alone() -> None:
    F = shaken(Residual(3))
    u = seeded(4, 3, 5, 5)
    before = [b.clone() for b in F.buffers()]
    with quiet(F):
        silent = F(u)
    assert all(torch.equal(a, b) for a, b in zip(before, F.buffers(), strict=True))
    assert torch.equal(silent, F(u))
    assert int(F.N1.num_batches_tracked) == 1
