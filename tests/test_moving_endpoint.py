"""Moving endpoints: units that start as classical steps, the discrepancy principle, the oracle and its Q-function."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from companion import (
    Euler,
    FrameletTransform,
    Halting,
    Observed,
    PeronaMalik,
    Rational,
    RestorationUnit,
    Shrinkage,
    Soft,
    StoppingPolicy,
    TVFlow,
    bspline,
    going_on,
    iterate,
    learned_diffusion,
    noise_level,
    oracle_stop,
    q_loss,
    run,
    stop_loss,
)


def stir(module: nn.Module, size: float = 0.1) -> nn.Module:
    with torch.no_grad():
        for theta in module.parameters():
            theta.add_(size * torch.randn_like(theta))
    return module


def noisy(*shape: int, sigma: float = 0.1) -> Tensor:
    """Steps with Gaussian noise."""
    clean = torch.zeros(*shape, dtype=torch.float64)
    clean[..., shape[-2] // 4 :, shape[-1] // 3 :] = 0.6
    return clean + sigma * torch.randn(*shape, dtype=torch.float64)


# ---- before training --------------------------------------------------------------------------------------------


def test_before_training_the_unit_is_the_given_step() -> None:
    f = noisy(2, 8, 9)
    W = FrameletTransform(bspline(1))
    for G in (Euler(PeronaMalik(Rational(0.1)), 0.2), Shrinkage(W, Soft(W.weights(0.05)))):
        unit = RestorationUnit(G).double()
        assert (run(unit, f, k=6).u - run(G, f, k=6).u).abs().max() < 1e-12
    assert torch.equal(run(RestorationUnit().double(), f, k=6).u, f)


def test_a_unit_around_a_step_with_data_of_its_own() -> None:
    f = noisy(8, 9)
    flow = TVFlow(eps=0.1, f=f, nu=0.2)
    unit = RestorationUnit(learned_diffusion(flow, 0.01, 1).maps[0]).double()
    assert (run(unit, f, k=5).u - run(Euler(flow, 0.01), f, k=5).u).abs().max() < 1e-12


def test_before_training_the_policy_is_the_discrepancy_principle() -> None:
    """The first k with |u^k - f|^2 >= N sigma^2, found by a loop, for three levels of noise."""
    flow = Euler(PeronaMalik(Rational(0.3)), 0.05)
    unit, policy = RestorationUnit(flow).double(), StoppingPolicy().double()
    for sigma in (0.02, 0.05, 0.2):
        f = noisy(24, 24, sigma=sigma)
        u, k = f, 0
        while k == 0 or (u - f).square().mean().sqrt() <= noise_level(f):
            u, k = flow(u), k + 1
        result = run(unit, f, k=1000, until=policy)
        assert (result.k, result.stopped) == (k, "until") and k > 1
        assert (result.u - u).abs().max() < 1e-12


def test_noise_is_estimated_and_edges_hardly_matter() -> None:
    for sigma in (0.02, 0.1, 0.3):
        assert noise_level(noisy(128, 128, sigma=sigma)).item() == pytest.approx(sigma, rel=0.05)
    assert noise_level(noisy(16, 16, sigma=0.0)).item() == 0
    f = noisy(3, 16, 16)
    assert torch.equal(noise_level(f), torch.stack([noise_level(x) for x in f]))


def test_the_probability() -> None:
    policy, f = stir(StoppingPolicy()).double(), noisy(3, 16, 16)
    x = Observed(0.9 * f, f)
    torch.testing.assert_close(policy.probability(x), 1 / (1 + torch.exp(-policy.logit(x))))
    assert [policy(Observed(*pair)) for pair in zip(*x, strict=True)] == (policy.probability(x) > 0.5).tolist()


def test_a_clean_picture_is_never_divided_by_its_noise() -> None:
    policy, u = stir(StoppingPolicy()), torch.zeros(8, 8)
    assert policy.logit(Observed(u, u)).isfinite()
    assert policy.logit(Observed(u + 0.5, u)).isfinite()


# ---- clocks -----------------------------------------------------------------------------------------------------


def test_in_a_batch_every_picture_has_a_clock_of_its_own() -> None:
    unit = RestorationUnit(Euler(PeronaMalik(Rational(0.3)), 0.05)).double()
    policy = StoppingPolicy().double()
    f = torch.stack([noisy(16, 16, sigma=s) for s in (0.02, 0.2, 0.05)])
    alone = [run(unit, x, k=200, until=policy) for x in f]
    halting = Halting(unit, policy)
    together = run(halting, f, k=200, until=halting.done)
    assert together.k == max(result.k for result in alone) and len({result.k for result in alone}) > 1
    assert (together.u - torch.stack([result.u for result in alone])).abs().max() < 1e-12


# ---- the oracle -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [0.0, 0.07])
def test_the_value_of_going_on_by_enumeration_and_the_oracle_is_greedy(cost: float) -> None:
    """Q_k = max over m > k of l_k - l_m - c (m - k), on all orbits of 5 steps of four levels, ties included; the first
    k >= 1 with Q_k <= 0 is the first argmin of l_k + c k over k >= 1."""
    losses = torch.tensor(list(itertools.product((0.0, 0.1, 0.25, 0.3), repeat=6)), dtype=torch.float64).T
    Q, stop = going_on(losses, cost), oracle_stop(losses, cost)
    total = losses + cost * torch.arange(6, dtype=torch.float64)[:, None]
    best = torch.stack([total[k] - total[k + 1 :].amin(0) for k in range(5)])
    torch.testing.assert_close(Q, best, rtol=0, atol=1e-12)
    enumerated = torch.tensor([1 + min(range(5), key=lambda k: (round(x[k], 9), k)) for x in total[1:].T.tolist()])
    greedy = torch.full_like(stop, 5)
    for k in reversed(range(1, 5)):
        greedy[Q[k] <= 1e-12] = k
    assert torch.equal(greedy, enumerated)
    if not cost:
        assert torch.equal(stop, enumerated)


def test_the_oracle_of_a_batch_is_a_loop() -> None:
    losses = torch.rand(7, 2, 3)
    stop = oracle_stop(losses)
    for i, j in itertools.product(range(2), range(3)):
        assert stop[i, j] == oracle_stop(losses[:, i, j]) == 1 + losses[1:, i, j].argmin()


def orbit_of(unit: nn.Module, f: Tensor, k: int) -> list[Observed]:
    return list(itertools.islice(iterate(unit, unit.start(f)), k + 1))


def test_the_loss_of_a_policy_by_hand() -> None:
    unit, policy, f = stir(RestorationUnit(lambda u: 0.9 * u)).double(), stir(StoppingPolicy()).double(), noisy(3, 8, 8)
    states, losses = orbit_of(unit, f, 4), torch.rand(5, 3, dtype=torch.float64)
    total = 0.0
    for k, i in itertools.product(range(1, 4), range(3)):
        p = policy.probability(states[k])[i].item()
        best = max(float(losses[k, i] - losses[m, i]) - 0.01 * (m - k) for m in range(k + 1, 5))
        total -= abs(best) * math.log(p if best <= 0 else 1 - p)
    assert stop_loss(policy, states, losses, 0.01).item() == pytest.approx(total / 9, rel=1e-9)


def test_the_q_loss_by_hand_and_its_fixed_point() -> None:
    """One step of Q-learning by loops; and where -z is going_on(losses), the loss is 0."""
    unit, policy, f = RestorationUnit(lambda u: 0.9 * u).double(), stir(StoppingPolicy()).double(), noisy(3, 8, 8)
    states, losses = orbit_of(unit, f, 4), torch.rand(5, 3, dtype=torch.float64)
    Q = [None, *(-policy.logit(x).detach() for x in states[1:4]), torch.full((3,), -9.0)]
    total = sum(
        (Q[k] - (losses[k] - losses[k + 1] - 0.01) - (Q[k + 1].clamp_min(0) if k < 3 else 0)).square().sum().item()
        for k in (1, 2, 3)
    )
    assert q_loss(policy, states, losses, 0.01).item() == pytest.approx(total / 9, rel=1e-9)
    values = iter(-going_on(losses, 0.01)[1:])
    policy.logit = lambda x: next(values)
    assert q_loss(policy, states, losses, 0.01).item() < 1e-24


# ---- the learned parts ------------------------------------------------------------------------------------------


def test_the_learned_part_of_a_unit_is_homogeneous() -> None:
    unit, f = stir(RestorationUnit()).double(), noisy(2, 8, 8)
    u = torch.rand_like(f)
    P = lambda c: unit(Observed(c * u, c * f)).u - c * u  # noqa: E731
    assert P(1.0).abs().max() > 1e-4
    torch.testing.assert_close(P(3.0), 3.0 * P(1.0), rtol=1e-12, atol=1e-12)


class Logit(nn.Module):
    """z of a policy, as a module: what is differentiated."""

    def __init__(self, policy: StoppingPolicy):
        super().__init__()
        self.policy = policy

    def forward(self, x: Observed) -> Tensor:
        return self.policy.logit(x)


def test_gradients_are_those_of_differences() -> None:
    torch.manual_seed(3)
    f = noisy(2, 5, 6)
    for module in (stir(RestorationUnit(width=2)).double(), Logit(stir(StoppingPolicy(width=2))).double()):
        names, values = zip(*module.named_parameters(), strict=True)

        def act(u: Tensor, *theta: Tensor, module: nn.Module = module, names: tuple[str, ...] = names) -> Tensor:
            y = torch.func.functional_call(module, dict(zip(names, theta, strict=True)), (Observed(u, f),))
            return y if isinstance(y, Tensor) else y.u

        inputs = ((0.8 * f).requires_grad_(), *(v.detach().clone().requires_grad_() for v in values))
        assert torch.autograd.gradcheck(act, inputs, fast_mode=True)


@pytest.mark.parametrize("loss", [stop_loss, q_loss])
def test_a_policy_learns_when_to_stop(loss: Callable) -> None:
    """The oracle stops earlier than the discrepancy principle here; 100 steps of either training come near it."""
    torch.manual_seed(1)
    flow = Euler(PeronaMalik(Rational(0.15)), 0.2)
    unit, policy = RestorationUnit(flow).double(), StoppingPolicy().double()
    sigmas = torch.tensor([0.03, 0.06, 0.09, 0.12, 0.15, 0.18], dtype=torch.float64)
    clean = noisy(6, 24, 24, sigma=0.0)
    f = clean + sigmas[:, None, None] * torch.randn(6, 24, 24, dtype=torch.float64)
    with torch.no_grad():
        states = orbit_of(unit, f, 20)
        mse = torch.stack([(x.u - clean).square().mean((-2, -1)) for x in states])
    losses = 10 * mse.log10()  # -PSNR
    optimiser = torch.optim.Adam(policy.parameters(), 0.02)

    def excess() -> float:
        """How many dB the policy's stop loses against the oracle's, on average."""
        with torch.no_grad():
            z = torch.stack([policy.logit(x) for x in states[1:]]) > 0
        k = torch.where(z.any(0), z.int().argmax(0), 19) + 1
        return float((losses.gather(0, k[None]) - losses.gather(0, oracle_stop(losses)[None])).mean())

    before = excess()
    for _ in range(100):
        optimiser.zero_grad()
        loss(policy, states, losses).backward()
        optimiser.step()
    assert excess() < 0.5 * before
