r"""u^{k+1} = G_theta(u^k, f) until P_phi(stop | u^k, f) > 1/2: restoration with a moving endpoint.   (5.1)

A residual network with shared weights is one flow, run for a time; how long is part of the problem:

    min over theta and tau of  E [ Phi(u(tau), y) + int_0^tau c dt ],    du/dt = F_theta(u, f),  u(0) = f

where the endpoint tau may differ from picture to picture: it depends on how noisy f is. The restoration unit is a step
of the flow, the policy unit decides from (u^k, f) whether to stop. On a grid of steps, with losses l_k = Phi(u^k, y),

    k* = argmin over k >= 1 of l_k + c k                                           the oracle, which knows y
    r_k = l_{k-1} - l_k - c for going on from k - 1 to k, 0 for stopping           the reward
    Q_k = r_{k+1} + max(0, Q_{k+1}),  Q_{K-1} = r_K                                the value of going on at k

and the first k >= 1 with Q_k <= 0 is k*, or K if there is none: the best policy that knows y is the oracle. One that
does not takes expectations of all this, given what it has seen; the paper learns such a Q by deep Q-learning, and
`q_loss` is one step of it. The orbit does not depend on the policy, so that Q is known once it was run, and its sign
can be taught, a classification in which a mistake counts what it costs, |Q_k|: `stop_loss`.

Before training each unit is a classical thing. The restoration unit is a given step, such as an explicit diffusion, or
does nothing. The policy is Morozov's discrepancy principle, stop when |u^k - f| >= sigma sqrt(N), with sigma estimated
from f.

Sources: Zhang, Lu, Liu and Dong, Dynamically unfolding recurrent restorer (2019), [175].
Paper: Section 5.1, [175].  Notebook: 14.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from jaxtyping import Float, Int
from torch import Tensor, nn

from companion.dynamics import State, tensors
from companion.nets.learned_diffusion import Observed


class RestorationUnit(nn.Module):
    r"""(u, f) -> (G(u) + C_3 relu(C_2 relu(C_1 (u, f))), f): one step, with the same weights whenever it is taken.

    G      a map from pictures to pictures, or of Observed states; None is the identity
    width  channels of the two hidden layers

    Pictures (*batch, N1, N2), 3 x 3 convolutions mirrored at the border, C_3 = 0 at the start: the unit is G. Without
    constants, so that the learned part P has P(c u, c f) = c P(u, f) for c > 0. Raises ValueError for width < 1.

    >>> from companion import run
    >>> run(RestorationUnit(), torch.eye(3), k=5).u
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]], grad_fn=<AddBackward0>)
    """

    def __init__(self, G: Callable[..., State] | None = None, width: int = 16):
        super().__init__()
        if width < 1:
            raise ValueError(f"A restoration unit has hidden layers of width >= 1; got width={width}.")
        self.G = nn.Identity() if G is None else G
        last = _conv(width, 1)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(_conv(2, width), nn.ReLU(), _conv(width, width), nn.ReLU(), last)

    def start(self, u0: Tensor) -> Observed:
        """(u_0, u_0): the picture is its own data."""
        return Observed(u0, u0)

    def forward(self, x: Observed | Tensor) -> Observed:
        u, f = x = self.start(x) if isinstance(x, Tensor) else x
        new = tensors(self.G(x if hasattr(self.G, "start") else u))[0]
        return Observed(new + _on_pictures(self.layers, u, f).reshape(u.shape), f)


class StoppingPolicy(nn.Module):
    r"""P(stop | u, f) = 1/(1 + e^{-z}),  z = beta (|u - f| / (sigma sqrt N) - 1) + what is learned; a rule for `until`.

    width  channels of the hidden layers of the learned part, a function of u/sigma, (u - f)/sigma and their mean
           squares, 0 at the start
    beta   how sharply the discrepancy decides, at the start; its logarithm is a parameter

    sigma = `noise_level(f)`. run(unit, f, k=..., until=policy) stops where P > 1/2, at least one step and one picture:
    a batch has one clock, so a batch of several pictures raises ValueError. `Halting` gives each its own. Raises
    ValueError for width < 1 or beta <= 0.
    """

    def __init__(self, width: int = 8, beta: float = 10.0):
        super().__init__()
        if width < 1 or not beta > 0:
            raise ValueError(f"A policy has a width >= 1 and a sharpness beta > 0; got width={width}, beta={beta}.")
        self.layers = nn.Sequential(_conv(2, width), nn.ReLU(), _conv(width, width, 2), nn.ReLU())
        self.head = nn.Linear(width + 2, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.log_beta = nn.Parameter(torch.tensor(beta).log())

    def logit(self, x: Observed) -> Float[Tensor, "*batch"]:
        """z, with P = 1/(1 + e^{-z}): one number for each picture."""
        sigma = noise_level(x.f)[..., None, None].clamp_min(torch.finfo(x.f.dtype).eps)
        u, v = x.u / sigma, (x.u - x.f) / sigma
        size = v.square().mean((-2, -1))
        hidden = _on_pictures(self.layers, u, v).mean((-2, -1)).reshape(*size.shape, -1)
        moments = torch.stack([size, u.square().mean((-2, -1))], -1)
        learned = self.head(torch.cat([hidden, torch.log1p(moments)], -1)).squeeze(-1)
        return self.log_beta.exp() * (size.clamp_min(torch.finfo(size.dtype).tiny).sqrt() - 1) + learned

    def probability(self, x: Observed) -> Float[Tensor, "*batch"]:
        """P(stop | u, f)."""
        return self.logit(x).sigmoid()

    def forward(self, new: Observed, old: State = None) -> bool:
        """P(stop | u, f) > 1/2."""
        z = self.logit(new)
        if z.numel() != 1:
            raise ValueError(
                f"As a rule for `until` the policy stops one picture; got {z.numel()}. Give each its own clock: "
                "halting = Halting(unit, policy); run(halting, f, k=..., until=halting.done)."
            )
        return bool(z > 0)


class Halted(NamedTuple):
    """The state of a batch in which some pictures are done: u, f, and 1 for each that goes on."""

    u: Tensor
    f: Tensor
    going: Tensor


class Halting(nn.Module):
    r"""(u, f) -> (G(u, f), f) for every picture with P(stop | u^j, f) <= 1/2 so far: a clock for each of a batch.

    unit, policy  a map of Observed states, and a StoppingPolicy

    run(halting, f, k=30, until=halting.done) ends when all are done, at the latest after k steps.
    """

    def __init__(self, unit: Callable[[Observed], Observed], policy: StoppingPolicy):
        super().__init__()
        self.unit, self.policy = unit, policy

    def start(self, u0: Tensor) -> Halted:
        """All pictures go on."""
        return Halted(u0, u0, torch.ones_like(u0[..., 0, 0]))

    def forward(self, x: Halted) -> Halted:
        new = Observed(torch.where(x.going[..., None, None] > 0, self.unit(Observed(x.u, x.f)).u, x.u), x.f)
        return Halted(new.u, new.f, x.going * (self.policy.logit(new) <= 0))

    @staticmethod
    def done(new: Halted, old: State = None) -> bool:
        """No picture goes on."""
        return not bool(new.going.any())


def noise_level(f: Float[Tensor, "*batch N1 N2"]) -> Float[Tensor, "*batch"]:
    r"""sigma = median |d| / 0.6745, d = (f[n] - f[n + e_1] - f[n + e_2] + f[n + e_1 + e_2]) / 2: Donoho's estimate.

    d is Haar's diagonal band, of the variance of the noise; the median passes over the few large d at corners.
    """
    d = f.diff(dim=-2).diff(dim=-1) / 2
    return d.flatten(-2).abs().median(-1).values / 0.6744897501960817


def oracle_stop(losses: Float[Tensor, "K1 *batch"], cost: float = 0.0) -> Int[Tensor, "*batch"]:
    r"""k* = argmin over k >= 1 of l_k + c k, the first if there are several.

    losses  l_0, ..., l_K along an orbit, for each picture

    >>> oracle_stop(torch.tensor([9.0, 4.0, 2.0, 3.0]))
    tensor(2)
    """
    k = torch.arange(len(losses), dtype=losses.dtype, device=losses.device).reshape(-1, *[1] * (losses.ndim - 1))
    total = (losses + cost * k)[1:]
    best = total.amin(0, keepdim=True)
    return (total == best).int().argmax(0) + 1


def going_on(losses: Float[Tensor, "K1 *batch"], cost: float = 0.0) -> Float[Tensor, "K *batch"]:
    r"""Q_k = r_{k+1} + max(0, Q_{k+1}), Q_{K-1} = r_K, r_k = l_{k-1} - l_k - c: what going on at k = 0, ..., K - 1 is
    worth if one stops as well as can be afterwards.

    >>> going_on(torch.tensor([9.0, 4.0, 2.0, 3.0]))
    tensor([ 7.,  2., -1.])
    """
    rewards = -losses.diff(dim=0) - cost
    values = [rewards[-1]]
    for r in rewards.flip(0)[1:]:
        values.append(r + values[-1].clamp_min(0))
    return torch.stack(values[::-1])


def stop_loss(
    policy: StoppingPolicy, orbit: list[Observed], losses: Float[Tensor, "K1 *batch"], cost: float = 0.0
) -> Tensor:
    r"""The mean over k = 1, ..., K - 1 of |Q_k| times the cross entropy of P(stop | u^k, f) and 1{Q_k <= 0}.

    A wrong decision at k costs |Q_k|, so that near the best step little is asked. Q = `going_on(losses, cost)`.

    orbit  the states of k = 0, ..., K; `losses` theirs, of size 1, such as -PSNR in dB
    """
    Q = going_on(losses, cost)[1:]
    z = torch.stack([policy.logit(x) for x in orbit[1:-1]])
    return nnf.binary_cross_entropy_with_logits(z, (Q <= 0).to(z.dtype), Q.abs())


def q_loss(
    policy: StoppingPolicy, orbit: list[Observed], losses: Float[Tensor, "K1 *batch"], cost: float = 0.0
) -> Tensor:
    r"""The mean of (Q_k - r_{k+1} - max(0, Q_{k+1}))^2, Q_k = -z(u^k, f), the last part fixed: a step of Q-learning.

    -z is the value of going on, over that of stopping, 0: greedy is to stop for z > 0. Take losses of size 1, such as
    -PSNR in dB: r and z are then of one size.
    """
    Q = -torch.stack([policy.logit(x) for x in orbit[1:-1]])
    rewards = -losses.diff(dim=0)[1:] - cost
    later = torch.cat([Q[1:].detach().clamp_min(0), torch.zeros_like(Q[:1])])
    return (Q - rewards - later).square().mean()


def _conv(channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, stride, 1, bias=False, padding_mode="replicate")


def _on_pictures(layers: nn.Module, u: Tensor, v: Tensor) -> Tensor:
    """Two pictures of shape (*batch, N1, N2) as the channels of a network."""
    return layers(torch.stack([u, v], -3).reshape(-1, 2, *u.shape[-2:]))
