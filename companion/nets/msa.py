r"""theta_t <- argmax over theta of sum_i H(x_t^i, p_{t+1}^i, theta), for all layers t: successive approximations.

    MSA    states forwards, costates backwards, then every layer maximises its own H; and again
    EMSA   H~ = H - rho/2 |v - f(x, theta)|^2 - rho/2 |q + dH/dx(x, p, theta)|^2 in place of H, where
           v = (x_{t+1} - x_t) / dt,   q = (p_{t+1} - p_t) / dt   come from the weights before the step

Each is a map theta -> theta, so `run` trains: run(EMSA(problem, rho), theta, k=30, record={"J": problem}). Gradient
descent is run(Euler(problem.descent, lr), theta, k=30), one step uphill on H where these go to the top.

MSA takes x and p for what they were, while new weights in the layers below move x and new weights above move p. To
first order the step is right, but nothing limits it, and J may rise or diverge. The two terms of EMSA are 0 at the old
weights and punish weights that would move the states or the costates: J falls if rho is large enough, more slowly the
larger it is; `grow` finds a rho for every step. One number theta, J = S theta^2 / 2 + R theta^2 / 2 and f = B theta
for one layer dt = 1, shows it: a step multiplies theta by

    (rho B^2 - S) / (R + rho B^2),    so MSA converges for S < R only, and EMSA for S < R + 2 rho B^2.

Sources: Li, Chen, Tai and E, Maximum principle based algorithms for deep learning (2018), [95].
Paper: Section 5.1.  Notebook: 11.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.nets.control import Control

TRIES = 30


class MSA(nn.Module):
    """theta_t <- argmax sum_i H(x_t^i, p_{t+1}^i, theta): the method of successive approximations, theta -> theta.

    problem  a Control; its f must be made of torch's functions that `torch.vmap` knows
    k        at most so many iterations of L-BFGS for the maximum, from the weights before
    newton   True: one step of Newton's method instead, in each layer. It ends at the maximum itself where H~ is a
             parabola in theta: f linear in theta, L quadratic. A few iterations of L-BFGS may stop short, which damps

    The maxima of the layers do not interact, so L-BFGS climbs their sum. Where H has no maximum, as for f linear in
    theta and L = 0, it ends somewhere uphill; Newton's method raises ValueError where H~ is not strictly concave.
    Raises ValueError for k < 1, TypeError for a problem with noise.

    >>> from companion.dynamics import run
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> problem = Control(lambda x, a: a.expand_as(x), lambda x, y: (x - y).square().sum(1) / 2, x, 0 * x, dt=0.5,
    ...                   running=lambda x, a: a.square().sum())
    >>> run(MSA(problem), torch.zeros(1, 1), k=20).u      # -2 / (2 + 0.5)
    tensor([[-0.8000]])
    """

    def __init__(self, problem: Control, k: int = 10, newton: bool = False):
        super().__init__()
        if k < 1:
            raise ValueError(f"The maximum of H is sought by k >= 1 iterations of L-BFGS; got k={k}.")
        if hasattr(problem, "noise"):
            raise TypeError(
                "MSA and EMSA maximise H = p . f - L; with noise it has a term of g, which they do not know; "
                f"got a {type(problem).__name__}. Descend along problem.descent."
            )
        self.problem, self.k, self.newton = problem, k, newton

    def forward(self, theta: Tensor) -> Tensor:
        return self.climb(theta, 0.0)

    def climb(self, theta: Tensor, rho: float) -> Tensor:
        """The weights that maximise H~ with the weight rho, for the states and costates of theta."""
        old = theta.detach()
        x, p = (torch.stack(path) for path in self.problem.paths(old))
        if self.newton:
            return self.peak(x, p, old, rho)
        new = old.clone().requires_grad_()
        climber = torch.optim.LBFGS(
            [new], max_iter=self.k, tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe"
        )

        def descend() -> Tensor:
            value = -self.augmented(x, p, new, rho).sum()
            new.grad = torch.autograd.grad(value, new)[0]
            return value.detach()

        with torch.enable_grad():
            climber.step(descend)
        return new.detach()

    def peak(self, x: Tensor, p: Tensor, theta: Tensor, rho: float) -> Tensor:
        """theta - (d2H~/dtheta2)^{-1} dH~/dtheta, layer by layer."""
        with torch.enable_grad():
            at = theta.clone().requires_grad_()
            slope = torch.autograd.grad(self.augmented(x, p, at, rho).sum(), at, create_graph=True)[0].flatten(1)
            slope = slope + 0 * at.flatten(1)  # where H~ is linear, too, it has a derivative: 0
            rows = [torch.autograd.grad(-s.sum(), at, retain_graph=True)[0].flatten(1) for s in slope.unbind(1)]
        factor, failed = torch.linalg.cholesky_ex(torch.stack(rows, 1))
        if failed.any():
            t = int(failed.nonzero()[0])
            raise ValueError(
                "Newton's step ends at the maximum of a concave parabola; here -d2H~/dtheta2 is not positive definite "
                f"in layer {t}. Climb by L-BFGS, newton=False, or add weight decay to L."
            )
        return theta + torch.cholesky_solve(slope.detach()[..., None], factor)[..., 0].view_as(theta)

    def augmented(self, x: Tensor, p: Tensor, theta: Tensor, rho: float) -> Float[Tensor, "N"]:
        """(1/M) sum_i H~ for each layer: x, p of shape (N + 1, M, ...) from the weights before, theta (N, ...) new."""
        problem, dt = self.problem, self.problem.dt
        z = x[:-1].clone().requires_grad_()
        H = torch.vmap(problem.hamiltonian)(z, p[1:], theta)
        if rho == 0:
            return H.mean(1)
        v, q = x.diff(dim=0) / dt, p.diff(dim=0) / dt
        dH = torch.autograd.grad(H.sum(), z, create_graph=True, materialize_grads=True)[0]
        gaps = (v - torch.vmap(problem.f)(z.detach(), theta)).square() + (q + dH).square()
        return (H - rho / 2 * gaps.flatten(2).sum(2)).mean(1)


class EMSA(MSA):
    """theta_t <- argmax sum_i [H - rho/2 |v - f|^2 - rho/2 |q + dH/dx|^2]: extended, so that J falls.

    problem, k, newton  as in MSA
    rho         > 0; on the scale of the second derivatives of J: too small is MSA, large is a short step
    grow        > 1: where J would rise, the step is taken again with rho grow, rho grow^2, ... until it does not, at
                most 30 times; the next step starts from rho. 1 takes every step, as in [95]

    Raises ValueError unless rho is finite and > 0, and grow finite and >= 1.
    """

    def __init__(self, problem: Control, rho: float = 1.0, k: int = 10, grow: float = 1.0, newton: bool = False):
        super().__init__(problem, k, newton)
        if not 0 < rho < math.inf:
            raise ValueError(f"EMSA needs a finite weight rho > 0 of its two terms; got rho={rho}. rho = 0 is MSA.")
        if not 1 <= grow < math.inf:
            raise ValueError(
                f"EMSA multiplies rho by a finite grow > 1 until J does not rise; got grow={grow}. 1 keeps rho."
            )
        self.rho, self.grow = float(rho), float(grow)

    def forward(self, theta: Tensor) -> Tensor:
        if self.grow == 1:
            return self.climb(theta, self.rho)
        with torch.no_grad():
            J = self.problem(theta)
            for tries in range(TRIES):
                new = self.climb(theta, self.rho * self.grow**tries)
                if self.problem(new) <= J:
                    return new
        return theta
