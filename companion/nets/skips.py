r"""y = u + F(y): a skip connection that is a step of the implicit Euler scheme.   Section 5.1

    ImplicitSkip   some gradient steps on |y - u - F(y)|^2 / 2, from Euler's y = u + F(u)

On F(u) = z u the exact solution is y = u / (1 - z), at most |u| for every z with Re z <= 0, while Euler asks for
|1 + z| <= 1. With a fixed rate lr, k steps give

    R_k(z) = 1/(1 - z) + (1 - lr (1 - z)^2)^k (1 + z - 1/(1 - z)),   z real,

which is near 1/(1 - z) only where lr (1 - z)^2 < 2: too few or too long steps give the gain away again.

Sources: Li, He and Lin, Implicit Euler skip connections (2020), reference [94].
Paper: Section 5.1.  Notebook: 10.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.nets.blocks import held


class ImplicitSkip(nn.Module):
    r"""y <- y - lr (I - J^T) (y - u - F(y)), J = F'(y), `steps` times from y = u + F(u).

    F      a field; its batch norm, if any, is that of F(u) in all evaluations
    lr     a number, or None: |g|^2 / |(I - J) g|^2 for each element of the batch, g the gradient: the best step if F is
           linear, so that |y - u - F(y)| falls without a rate to choose; it costs one more backward pass
           (a fixed rate is safe while lr |I - J|^2 < 2, which training does not see to)

    Differentiable through all steps. Raises ValueError unless steps >= 0, and lr > 0 where it is a number.

    >>> skip = ImplicitSkip(nn.Linear(1, 1, bias=False), steps=1)
    >>> _ = nn.init.constant_(skip.F.weight, -3.0)
    >>> skip(torch.ones(1, 1)).detach()  # 1 / (1 + 3)
    tensor([[0.2500]])
    """

    def __init__(self, F: nn.Module, steps: int = 2, lr: float | None = None):
        super().__init__()
        if steps < 0 or (lr is not None and not 0 < lr < math.inf):
            raise ValueError(
                f"An implicit skip takes steps >= 0 gradient steps with a rate lr > 0; got steps={steps}, lr={lr}. "
                "lr=None takes the best rate for a linear F."
            )
        self.F, self.steps, self.lr = F, steps, lr

    def forward(self, u: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        learning = torch.is_grad_enabled()
        with held(self.F), torch.enable_grad():
            y = u + self.F(u)
            for _ in range(self.steps):
                y = self._step(u, y, learning)
        return y if learning else y.detach()

    def _step(self, u: Tensor, y: Tensor, learning: bool) -> Tensor:
        y = y if learning and y.requires_grad else y.detach().requires_grad_()
        Fy = self.F(y)
        r = y - u - Fy
        (Jr,) = torch.autograd.grad(Fy, y, r, create_graph=True)  # J^T r, linear in r: its derivative is J
        g = r - Jr
        if self.lr is not None:
            return y - self.lr * g
        (Jg,) = torch.autograd.grad(Jr, r, g, create_graph=learning, retain_graph=True)
        size, image = g.flatten(1).square().sum(1), (g - Jg).flatten(1).square().sum(1)
        rate = torch.where(image > 0, size / torch.where(image > 0, image, 1), 0)
        return y - rate.reshape(-1, *(1,) * (y.ndim - 1)) * g

    def residual(self, u: Tensor, y: Tensor) -> Tensor:
        """|y - u - F(y)|, for each element of the batch: how far y is from the implicit step."""
        with held(self.F):
            self.F(u)
            return (y - u - self.F(y)).flatten(1).norm(dim=1)
