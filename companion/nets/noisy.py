r"""u + eta F(u), eta in {0, 1}: networks with noise in their steps.   Section 5.1

    stochastic_depth   u + dt eta F(u), P(eta = 1) = p                  each step is left out with probability 1 - p
    shake_shake        u + dt (eta F_1(u) + (1 - eta) F_2(u))           eta uniform on [0, 1]

Gates are drawn in training, anew for each step and each element of the batch; after `.eval()` their means are taken.
The networks are lists of the maps `GatedEuler` and `ShakeShake`.

Are these schemes for a stochastic equation? As they are, with dt = T/N, N gates with fluctuations dt (eta - E eta) sum
up to O(dt^{1/2}): the noise disappears as N -> infinity and an ODE remains, u' = p F or u' = (F_1 + F_2)/2. With
scaled=True the fluctuation has the factor dt^{1/2}, and the limit, in the weak sense, is

    dX = p F dt + (p (1 - p))^{1/2} F dB,        dX = (F_1 + F_2)/2 dt + 12^{-1/2} (F_1 - F_2) dB.

With dt = 1, as the networks were written, both forms are one map: which equation it is a step of is a matter of how the
F_k shrink while depth grows.

Sources: Huang, Sun, Liu, Sedra and Weinberger, Deep networks with stochastic depth (2016); Gastaldi, Shake-shake
regularization (2017).
Paper: Section 5.1, [80], [67].  Notebook: 11.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.stochastic import GatedEuler, ShakeShake
from companion.nets.blocks import Residual
from companion.nets.odenet import ODENet, layers, network


class ShakeStep(ShakeShake):
    r"""u + dt (eta F_1(u) + (1 - eta) F_2(u)) with the gradient of u + dt (beta F_1(u) + (1 - beta) F_2(u)).

    eta and beta are drawn independently: Shake-shake as it was published. The gradient is then that of no function; its
    mean over beta, given the values that eta led to, is that of beta = 1/2.
    """

    def forward(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        if not self.training:
            return super().forward(u)
        F1, F2 = self.F1(u), self.F2(u)
        there = u + self.dt / 2 * (F1 + F2) + self.fluctuation(self.draw(u)) * (F1 - F2)
        back = u + self.dt / 2 * (F1 + F2) + self.fluctuation(self.draw(u)) * (F1 - F2)
        return back + (there - back).detach()


def survival_probabilities(n: int, last: float) -> list[float]:
    r"""p_k = 1 - (k/n) (1 - p_n), k = 1, ..., n: linear decay to p_n = `last`.

    >>> survival_probabilities(4, 0.5)
    [0.875, 0.75, 0.625, 0.5]
    """
    if not 0 < last <= 1:
        raise ValueError(f"A step survives with a probability in (0, 1]; got survival={last}.")
    return [1 - k / n * (1 - last) for k in range(1, n + 1)]


def stochastic_depth(
    depth: int = 20,
    survival: float = 0.5,
    *,
    dt: float = 1.0,
    scaled: bool = False,
    channels: int = 3,
    classes: int = 10,
    width: int = 16,
    dim: int = 2,
) -> ODENet:
    r"""u + dt eta_k F_k(u): ResNet whose k-th step is there with probability p_k = 1 - (k/n)(1 - survival).

    survival  of the last step; 1 is ResNet
    scaled    the fluctuation times dt^{1/2} in place of dt: a step of an SDE (above)

    The StageChanges, which the next stage needs, are always there and are not counted. Same fields as `resnet` at equal
    depth and seed. Raises ValueError for survival outside (0, 1], and as `resnet`.
    """
    parts = layers(depth, channels, classes, width, dim)
    steps = sum(isinstance(part, Residual) for part in parts)
    p = iter(survival_probabilities(steps, survival))
    return network(parts, lambda F: GatedEuler(F, dt, next(p), scaled=scaled))


def shake_shake(
    depth: int = 20,
    *,
    backward: bool = False,
    dt: float = 1.0,
    scaled: bool = False,
    channels: int = 3,
    classes: int = 10,
    width: int = 16,
    dim: int = 2,
) -> ODENet:
    r"""u + dt (eta_k F_k(u) + (1 - eta_k) G_k(u)): two residual branches a step, mixed at random.

    backward  True: the gradient has gates of its own (`ShakeStep`), as in the original; False: it is that of the value
    scaled    the fluctuation times dt^{1/2} in place of dt: a step of an SDE (above)

    Raises ValueError as `resnet`.
    """
    step = ShakeStep if backward else ShakeShake
    branches = lambda c: nn.ModuleList([Residual(c, dim=dim), Residual(c, dim=dim)])  # noqa: E731
    parts = layers(depth, channels, classes, width, dim, branches)
    return network(parts, lambda FG: step(FG[0], FG[1], dt, scaled=scaled))
