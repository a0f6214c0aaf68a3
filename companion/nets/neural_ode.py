r"""u(T) of u' = F(u, t), u(0) = u_0: a residual network whose layers share one field.   (5.1)

    NeuralODE   n steps of a scheme: a list of maps for `run`, as a residual network is
    adaptive    the same by torchdiffeq's solver, which chooses its steps: a tool, and the tests' oracle
    augment     (u, 0): more dimensions, for what a flow cannot do in those of u

The gradient of a loss l(u(T)) in the parameters theta of F comes in two ways.

    discretise, then differentiate   back-propagation through the n steps: the exact gradient of what was computed. All
                                     n steps are kept in memory.
    differentiate, then discretise   the costate p = dl/du obeys p' = -F_u^T p, p(T) = l'(u(T)), and
                                     dl/dtheta = int_0^T F_theta^T p dt. `NeuralODE.adjoint` solves for u, p and
                                     dl/dtheta from T back to 0 by the same scheme: memory does not depend on n.

Both tend to the gradient of the ODE's loss at the order of the scheme, so they differ by O(dt^order): the second is not
the gradient of the computed loss. And it recovers u(t) backwards in time, where a contraction is an expansion: for
u' = -a u the rounding error, or the scheme's, grows like e^{aT}.

What the limit n -> infinity asks of F is a Lipschitz bound L in u. Then u_0 -> u(T) is one-to-one with a continuous
inverse: trajectories do not cross. In one dimension they keep their order, so no flow takes u to -u; with a second
dimension a half turn does (`augment`). One step of Euler's scheme is bound to this only for dt L < 1: a residual
network may cross its own trajectories.

Sources: Chen, Rubanova, Bettencourt and Duvenaud, Neural ordinary differential equations (2018); Dupont et al.,
Augmented neural ODEs (2019).
Paper: (5.1), Section 5.1.  Notebook: 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from companion.dynamics import Trajectory, run
from companion.flows.schemes import RK4


class NeuralODE(nn.Module):
    r"""u_0 -> u^n, u^{k+1} = u^k + dt F(u^k, k dt) (Euler) or a better scheme, dt = T/n.   (5.1)

    F       (u, t) -> F(u, t), such as DenseField; `lambda u, t: G(u)` makes one of an autonomous G
    T, n    the time > 0 and the number of steps >= 1
    scheme  (F, dt, t=) -> map: Euler, Heun, RK4, ...

    Raises ValueError unless T is finite and > 0, and n a whole number >= 1.

    >>> turn = NeuralODE(lambda u, t: torch.stack([-u[..., 1], u[..., 0]], -1), T=torch.pi / 2)
    >>> turn(torch.tensor([1.0, 0.0])).round(decimals=3)
    tensor([0., 1.])
    """

    F: Any

    def __init__(self, F: Callable[..., Any], T: float = 1.0, n: int = 8, scheme: Callable[..., Any] = RK4):
        super().__init__()
        self.F, self.T, self.n, self.scheme = F, check_time(T), check_steps(n), scheme
        self._layers: tuple[Any, list[Any]] = (None, [])  # and what they were made of

    def maps(self, n: int | None = None) -> list[Any]:
        """The n layers, layer k from k dt to (k + 1) dt; kept until F, its bound, T, n or the scheme change."""
        bound = float(getattr(self.F, "max_dt", math.inf))
        of = (self.F, bound, self.T, self.n if n is None else n, self.scheme)
        if self._layers[0] != of:
            self._layers = of, steps(self.F, self.T, of[3], self.scheme)
        return list(self._layers[1])

    def forward(self, u0: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return run(self.maps(), u0).u

    def trajectory(self, u0: Float[Tensor, "*shape"], n: int | None = None, keep: int = 1, **watch: Any) -> Trajectory:
        """The whole run: `kept` holds every keep-th u^k, u^0 and u^n included; `watch` is `run`'s record, progress."""
        return run(self.maps(n), u0, keep=keep, **watch)

    def adjoint(self, u0: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        r"""The same value; its gradient by (u, p, g)' = (F, -F_u^T p, -F_theta^T p), solved from T back to 0.

        Nothing is kept between the two passes but u(T) and theta. F must give the same value when it is asked again:
        no dropout, no running means. The gradient can be taken once, not twice. The scheme is an explicit one.
        """
        theta = [p for p in self.F.parameters() if p.requires_grad] if isinstance(self.F, nn.Module) else []
        return _Adjoint.apply(self, u0, *theta)


class _Adjoint(torch.autograd.Function):
    """u_0, theta -> u(T), and back: the adjoint ODE of `NeuralODE.adjoint`."""

    @staticmethod
    def forward(ctx: Any, net: NeuralODE, u0: Tensor, *theta: Tensor) -> Tensor:
        uT = net(u0)
        ctx.net = net
        ctx.save_for_backward(uT, *theta)
        return uT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pT: Tensor) -> tuple[Tensor | None, ...]:
        net, (uT, *theta) = ctx.net, ctx.saved_tensors
        m = uT.numel()

        def backwards(y: Tensor, s: float) -> Tensor:
            """d/ds (u, p, g) = (-F, F_u^T p, F_theta^T p) at the time T - s."""
            with torch.enable_grad():
                u = y[:m].view_as(uT).detach().requires_grad_()
                F = net.F(u, net.T - s)
                slopes = torch.autograd.grad(F, (u, *theta), y[m : 2 * m].view_as(uT), materialize_grads=True)
            return torch.cat([-F.detach().flatten(), *(slope.flatten() for slope in slopes)])

        y = torch.cat([uT.flatten(), pT.flatten(), *(torch.zeros_like(p).flatten() for p in theta)])
        for step in steps(backwards, net.T, net.n, net.scheme):
            y = step(y)
        _, p, *g = y.split([m, m, *(p.numel() for p in theta)])
        return None, p.view_as(uT), *(part.view_as(p) for part, p in zip(g, theta, strict=True))


def steps(F: Callable[..., Any], T: float, n: int, scheme: Callable[..., Any]) -> list[Any]:
    """[scheme(F, dt, t=0), scheme(F, dt, t=dt), ...]: n steps of dt = T/n from 0 to T."""
    return [scheme(F, T / n, t=k * T / n) for k in range(check_steps(n))]


def augment(u: Float[Tensor, "*batch d"], extra: int = 1) -> Tensor:
    """(u, 0), with `extra` zeros: R^d in R^{d + extra}, where trajectories find room to pass each other.

    >>> augment(torch.tensor([[1.0], [-1.0]]))
    tensor([[ 1.,  0.],
            [-1.,  0.]])
    """
    return torch.cat([u, u.new_zeros(*u.shape[:-1], extra)], -1)


def adaptive(
    F: Callable[..., Any],
    u0: Float[Tensor, "*shape"],
    t: float | Sequence[float] | Tensor,
    rtol: float = 1e-7,
    atol: float = 1e-9,
    adjoint: bool = False,
) -> Tensor:
    r"""u(t) of u' = F(u, t), u(0) = u_0, by torchdiffeq's dopri5: order 5, with steps of its own choice.

    t           a time > 0, or an increasing sequence of them: then the results are stacked in front
    rtol, atol  the error allowed in a step; a batch shares its steps
    adjoint     the gradient by the adjoint ODE, solved as accurately; F is then an nn.Module

    Raises ValueError unless the times are > 0 and increase; RuntimeError where no step is small enough.
    """
    import torchdiffeq

    times = torch.as_tensor(t, dtype=u0.dtype, device=u0.device)
    line = torch.cat([times.new_zeros(1), times.reshape(-1)])
    if times.ndim > 1 or len(line) < 2 or not bool((line.diff() > 0).all() and torch.isfinite(line).all()):
        raise ValueError(f"An ODE starts at t = 0 and is read off at times > 0 that increase; got t={times.tolist()}.")
    solve = torchdiffeq.odeint_adjoint if adjoint else torchdiffeq.odeint
    options = {"rtol": rtol, "atol": atol, "method": "dopri5"}
    field = _Swapped(F) if isinstance(F, nn.Module) else (lambda time, u: F(u, time))
    try:
        path = solve(field, u0, line, **options)[1:]
    except AssertionError as error:
        raise RuntimeError(
            f"u' = F(u, t) could not be followed to t = {float(line[-1]):g}: torchdiffeq says {error}. "
            "F may drive u to infinity, or be no function of t that steps could resolve."
        ) from error
    return path if times.ndim else path[0]


class _Swapped(nn.Module):
    """(t, u) -> F(u, t), the order of arguments that torchdiffeq knows."""

    def __init__(self, F: nn.Module):
        super().__init__()
        self.F = F

    def forward(self, t: Tensor, u: Tensor) -> Tensor:
        return self.F(u, t)


def check_time(T: float) -> float:
    """T, or the ValueError that says why not."""
    if not 0 < T < math.inf:
        raise ValueError(f"An ODE is followed over a finite time T > 0; got T={T}.")
    return float(T)


def check_steps(n: int) -> int:
    """n, or the ValueError that says why not."""
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"The number of steps n, the network's depth, is a whole number >= 1; got n={n}.")
    return n
