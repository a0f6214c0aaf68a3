"""u^{k+1} = u^k + dt F(u^k, k dt) beside the same loop written out, and what `run` adds to a step.   (5.1)

The limit is the bare loop with the same field. torchdiffeq takes the same steps: its "euler", and for RK4 its
"rk4", which is the 3/8 rule, equal to the order of the scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmarks.harness import Call, Case, Peer, Size, Task
from companion import RK4, DenseField, Euler, NeuralODE, run

N, STEP = 64, 5e-6  # steps of the solve; seconds that `run` may add to a step


def euler(F: Callable[..., Tensor], u: Tensor) -> Tensor:
    for k in range(N):
        u = u + (1 / N) * F(u, k / N)
    return u


def rk4(F: Callable[..., Tensor], u: Tensor) -> Tensor:
    dt = 1 / N
    for k in range(N):
        t = k * dt
        k1 = F(u, t)
        k2 = F(u + dt / 2 * k1, t + dt / 2)
        k3 = F(u + dt / 2 * k2, t + dt / 2)
        k4 = F(u + dt * k3, t + dt)
        u = u + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return u


def solve(scheme: type, bare: Callable[..., Tensor], method: str, gradient: bool = False) -> Callable[..., Case]:
    """The solve, or the solve and the gradient of |u(T)|^2 in the parameters."""

    def make(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
        torch.manual_seed(0)
        F = DenseField(size[1], 64).to(device, dtype)
        u0 = torch.randn(size, dtype=dtype).to(device)
        net, theta = NeuralODE(F, n=N, scheme=scheme), list(F.parameters())

        def by(flow: Callable[[Tensor], Tensor]) -> Call:
            if not gradient:
                return lambda: flow(u0)

            def slopes() -> Tensor:
                with torch.enable_grad():
                    g = torch.autograd.grad(flow(u0).square().mean(), theta)
                return torch.cat([x.flatten() for x in g])

            return slopes

        def torchdiffeq() -> Call:
            from torchdiffeq import odeint

            t = torch.linspace(0, 1, N + 1, dtype=dtype, device=device)
            return by(lambda u: odeint(lambda s, v: F(v, s), u, t, method=method)[-1])

        return Case(
            by(net),
            peers={"torchdiffeq": Peer(torchdiffeq, "torchdiffeq")},
            tolerance=1e-4,
            limit=by(lambda u: bare(F, u)),
            limit_name="the bare loop",
        )

    return make


def running(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
    """`run` with a map that does next to nothing: what it adds to a step."""
    u0, k = torch.ones(size, dtype=dtype, device=device), 1000

    def halve(u: Tensor) -> Tensor:
        return u * 0.5

    def loop() -> Tensor:
        u = u0
        for _ in range(k):
            u = halve(u)
        return u

    def words(seconds: Mapping[str, float]) -> str:
        return f"run adds {(seconds['ours'] - seconds['limit']) / k / STEP:.2f} of the {STEP * 1e6:.0f} us a step"

    return Case(lambda: run(halve, u0, k=k).u, limit=loop, limit_name="the bare loop", words=words)


TASKS = [
    Task("neural ODE, Euler, 64 steps", solve(Euler, euler, "euler"), ((256, 16), (1024, 64)), ((64, 2),)),
    Task("neural ODE, RK4, 64 steps", solve(RK4, rk4, "rk4"), ((256, 16), (1024, 64)), ((64, 2),)),
    Task("neural ODE, RK4, 64 steps, gradient", solve(RK4, rk4, "rk4", True), ((256, 16),), ((64, 2),)),
    Task("run, 1000 steps of u/2", running, ((8,),), ((8,),)),
]
