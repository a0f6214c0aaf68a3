r"""f = A x + B theta,  Phi = (x - y)^T S (x - y) / 2,  L = (x^T Q x + theta^T R theta) / 2: the exact control.

H = p . (A x + B theta) - L is concave in (x, theta) and Phi convex, so Pontryagin's conditions are necessary and
sufficient, on the grid too. For y = 0 their solution is linear, with Riccati's recursion backwards from P_N = S:

    K_t = (R + dt B^T P_{t+1} B)^{-1} B^T P_{t+1} (I + dt A)
    P_t = dt Q + (I + dt A)^T P_{t+1} (I + dt A - dt B K_t)
    theta_t = -K_t x_t,    p_t = -P_t x_t,    V_t(x) = x^T P_t x / 2: the least cost from (t, x) on.

-K_t x_t is a feedback: each sample has its own. A control that all samples share, as weights are, is -K_t times the
mean of the states, and costs more by (1/2) tr(Cov(x_0) (P^0 - P_0)), P^0 the P_0 for B = 0.

Paper: Section 5.1.  Notebook: 11.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from companion.flows.schemes import check_dt


class Riccati(NamedTuple):
    """K = (K_0, ..., K_{N-1}), of shape (N, m, d), and P = (P_0, ..., P_N), of shape (N + 1, d, d)."""

    K: Tensor
    P: Tensor


class LinearQuadratic(nn.Module):
    r"""x' = A x + B theta,  (x_N - y)^T S (x_N - y) / 2 + dt sum (x^T Q x + theta^T R theta) / 2.

    A, Q, S  (d, d);  B (d, m);  R (m, m); Q and S symmetric and >= 0, R symmetric and > 0

    Control(lq.f, lq.loss, x, y, dt, lq.running) is the problem. Raises ValueError for shapes that do not fit and
    matrices that are not symmetric or not >= 0, R > 0.

    >>> one = torch.ones(1, 1)
    >>> LinearQuadratic(0 * one, one, 0 * one, one, one).riccati(1, 1.0).K
    tensor([[[0.5000]]])
    """

    A: Tensor
    B: Tensor
    Q: Tensor
    R: Tensor
    S: Tensor

    def __init__(self, A: Tensor, B: Tensor, Q: Tensor, R: Tensor, S: Tensor):
        super().__init__()
        d, m = len(A), B.shape[-1]
        shapes = {"A": (A, (d, d)), "B": (B, (d, m)), "Q": (Q, (d, d)), "R": (R, (m, m)), "S": (S, (d, d))}
        for name, (matrix, shape) in shapes.items():
            if matrix.shape != shape:
                raise ValueError(
                    f"A, Q, S are (d, d), B is (d, m), R is (m, m); with d={d} and m={m} {name} is {shape}, but has "
                    f"shape {tuple(matrix.shape)}."
                )
            self.register_buffer(name, matrix)
        for name, least in (("Q", 0.0), ("S", 0.0), ("R", 1e-12)):
            matrix = shapes[name][0]
            smallest = float(torch.linalg.eigvalsh(matrix).min())
            if not torch.allclose(matrix, matrix.T) or smallest < least - 1e-9 * (name != "R"):
                raise ValueError(
                    f"Q and S are symmetric and >= 0, R symmetric and > 0; {name} has the least eigenvalue "
                    f"{smallest:.3g} of its symmetric part, or is not symmetric."
                )

    def f(self, x: Tensor, theta: Tensor) -> Tensor:
        """A x + B theta, for x of shape (M, d) and theta of shape (m,) or (M, m)."""
        return x @ self.A.T + theta @ self.B.T

    def loss(self, x: Tensor, y: Tensor) -> Float[Tensor, "M"]:
        """(x - y)^T S (x - y) / 2 for each sample."""
        return ((x - y) @ self.S * (x - y)).sum(-1) / 2

    def running(self, x: Tensor, theta: Tensor) -> Float[Tensor, "M"]:
        """(x^T Q x + theta^T R theta) / 2 for each sample."""
        return (x @ self.Q * x).sum(-1) / 2 + (theta @ self.R * theta).sum(-1) / 2

    def riccati(self, N: int, dt: float) -> Riccati:
        """The gains K_t and the values P_t of N layers, for y = 0."""
        dt = check_dt(dt)
        if N < 1:
            raise ValueError(f"Riccati's recursion runs through N >= 1 layers; got N={N}.")
        step = torch.eye(len(self.A)).to(self.A) + dt * self.A
        P, K = [self.S], []
        for _ in range(N):
            after = self.B.T @ P[-1]
            K.append(torch.linalg.solve(self.R + dt * after @ self.B, after @ step))
            P.append(dt * self.Q + step.T @ P[-1] @ (step - dt * self.B @ K[-1]))
        return Riccati(torch.stack(K[::-1]), torch.stack(P[::-1]))
