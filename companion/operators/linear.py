r"""A: U -> F linear, with its adjoint: <A u, f> = <u, A^T f>.   (1.1), (2.1)

Every linear map of the course is a `LinearOperator`: the blur of (1.1), the framelet transform W of (2.1), a gradient.
It is an `nn.Module` with two methods, `forward` (u -> A u) and `adjoint` (f -> A^T f), and from these it has

    A(u)         A u                        A.T          the adjoint, itself an operator; A.T.T is A
    A @ B        the composition            A + B, c * A sums and multiples
    A.norm(u)    ||A|| for inputs like u    A.normal_solve(v, rho)   (A^T A + rho I)^{-1} v
    A.svd(u)     U, s, V for a small u      A.singular_values(u)     s alone, in closed form where there is one
    A.restrict(f)  P_Lambda f: zero where A measures nothing

To add an operator: subclass, write `forward` and `adjoint`, declare `tight = True` if A^T A = I, override `norm` and
`normal_solve` where a closed form exists, and register an example in `tests/laws/registry.py`. The laws do the rest.

Paper: (1.1), (2.1), (2.5).  Notebooks: 00, 01, 02.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

DENSE = 4096  # the most numbers in a domain or range for which a dense matrix is made


class SVD(NamedTuple):
    """A u = sum_i s_i <v_i, u> u_i: singular values s (r,), decreasing; u_i = U[i] in the range, v_i = V[i] in the
    domain.
    """

    U: Tensor
    s: Tensor
    V: Tensor


class LinearOperator(nn.Module):
    """A, with A^T. Leading dimensions are batch; dtype and device follow the input; real and linear over R.

    tight   True promises A^T A = I, so that (A^T A + rho I)^{-1} v = v / (1 + rho) and ||A|| = 1.
    """

    tight: bool = False

    def forward(self, u: Tensor) -> Tensor:
        """A u."""
        raise TypeError(f"{type(self).__name__} does not define forward(u) = A u.")

    def adjoint(self, f: Tensor) -> Tensor:
        """A^T f."""
        raise TypeError(f"{type(self).__name__} does not define adjoint(f) = A^T f.")

    def restrict(self, f: Tensor) -> Tensor:
        """P_Lambda f: f where A measures, zero where it measures nothing; P_Lambda A = A. Here f itself.   (1.1)"""
        return f

    @property
    def T(self) -> LinearOperator:
        """The adjoint A^T as an operator: <A u, f> = <u, A^T f>."""
        return Adjoint(self)

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """A @ B = (u -> A(B u)); its adjoint is B^T A^T."""
        if not isinstance(other, LinearOperator):
            raise TypeError(f"A @ B composes two operators; to apply A to a {type(other).__name__} write A(u).")
        return Composition(self, other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        """A + B = (u -> A u + B u)."""
        if not isinstance(other, LinearOperator):
            raise TypeError(
                f"A + B adds two operators; got a {type(other).__name__}. For A + c I write A + c * Identity()."
            )
        return Sum(self, other)

    def __rmul__(self, c: float | Tensor) -> LinearOperator:
        """c * A = (u -> c A u) for a real number c."""
        return Multiple(c, self)

    def __neg__(self) -> LinearOperator:
        return Multiple(-1.0, self)

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return self + (-other)

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        r"""||A|| = max |A u| / |u| over inputs of the shape of `like`, by power iteration on A^T A.

        A lower bound that grows to ||A||: it stops when the relative growth per step is below tol. A random start,
        seeded, so the value repeats. Returns a 0-d tensor on the device of `like`. Overridden where a closed form is
        known.
        """
        generator = torch.Generator().manual_seed(0)
        u = torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)
        value = u.new_zeros(())
        for _ in range(k):
            v = self.adjoint(self(u / torch.linalg.vector_norm(u)))
            new = torch.linalg.vector_norm(v)
            if new == 0 or (new - value).abs() <= tol * new:
                return new.sqrt()
            u, value = v, new
        return value.sqrt()

    def normal_solve(self, v: Tensor, rho: float | Tensor, tol: float | None = None, k: int = 1000) -> Tensor:
        r"""(A^T A + rho I)^{-1} v: the least-squares step of ADMM and Tikhonov, here by conjugate gradients.

        v    of the domain's shape, batch included (one Krylov space serves the batch)
        rho  > 0, or >= 0 where A^T A is invertible
        tol  relative residual; default 100 times the rounding unit of v's type

        Raises RuntimeError, with the residual reached, if k steps do not suffice. Closed forms override this.
        """
        check_rho(rho)
        return conjugate_gradients(lambda p: self.adjoint(self(p)) + rho * p, v, tol, k)

    def svd(self, like: Tensor) -> SVD:
        r"""A = sum_i s_i u_i v_i^T, for one small picture like `like`, without batch: s_1 >= ... >= s_r >= 0,
        r = min(m, n).

        Dense: A is made as an m x n matrix from its columns A e_j. Raises ValueError if m or n is over 4096. The signs
        of the pairs (u_i, v_i) are arbitrary, and so is the basis where singular values coincide.
        """
        n, shape = like.numel(), self(torch.zeros_like(like)).shape
        if max(n, shape.numel()) > DENSE:
            raise ValueError(
                f"The dense SVD of A is for at most {DENSE} numbers in and out; got {n} and {shape.numel()}. Use a "
                "smaller picture, or A.norm(u) for the largest singular value alone."
            )
        basis = torch.eye(n, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)
        columns = self(basis.reshape(n, *like.shape)).reshape(n, -1)
        V, s, U = torch.linalg.svd(columns, full_matrices=False)
        return SVD(U.reshape(-1, *shape).to(like), s.to(like), V.T.reshape(-1, *like.shape).to(like))

    def singular_values(self, like: Tensor) -> Float[Tensor, "r"]:
        """s_1 >= ... >= s_r >= 0 for one picture like `like`: all 1 if tight, else by the dense `svd`; overridden where
        a closed form is known.
        """
        return like.new_ones(like.numel()) if self.tight else self.svd(like).s


def conjugate_gradients(M: Callable[[Tensor], Tensor], v: Tensor, tol: float | None = None, k: int = 1000) -> Tensor:
    r"""x with M x = v, for M symmetric and positive definite: |v - M x| <= tol |v| after at most k steps from x = 0.

    M    a function on tensors of v's shape, batch included (one Krylov space serves the batch)
    tol  relative residual; default 100 times the rounding unit of v's type

    Raises RuntimeError, with the residual reached, if k steps do not suffice.
    """
    tol = 100 * torch.finfo(v.dtype).eps if tol is None else tol
    x, r = torch.zeros_like(v), v
    p, rr = r, torch.sum(r * r)
    goal = tol**2 * rr
    for _ in range(k):
        if rr <= goal:
            return x
        Mp = M(p)
        step = rr / torch.sum(p * Mp)
        x, r = x + step * p, r - step * Mp
        rr, old = torch.sum(r * r), rr
        p = r + (rr / old) * p
    if rr <= goal:
        return x
    reached = (rr / torch.sum(v * v)).sqrt().item()
    raise RuntimeError(
        f"M x = v: {k} conjugate-gradient steps reached a relative residual of {reached:.1e}, not {tol:.1e}. "
        "Allow more steps (k=...), a looser tol, or, if M = A^T A + rho I, a larger rho."
    )


def check_rho(rho: float | Tensor) -> None:
    """Reject rho < 0: A^T A + rho I must be positive semi-definite."""
    if rho < 0:
        raise ValueError(f"A^T A + rho I needs rho >= 0 to be positive; got rho={rho}.")


class Adjoint(LinearOperator):
    """A^T: swaps forward and adjoint. A.T.T is A."""

    def __init__(self, A: LinearOperator):
        super().__init__()
        self.A = A

    def forward(self, u: Tensor) -> Tensor:
        return self.A.adjoint(u)

    def adjoint(self, f: Tensor) -> Tensor:
        return self.A(f)

    @property
    def T(self) -> LinearOperator:
        return self.A


class Composition(LinearOperator):
    """(A B) u = A(B u), (A B)^T = B^T A^T; tight if both are."""

    def __init__(self, A: LinearOperator, B: LinearOperator):
        super().__init__()
        self.A, self.B = A, B
        self.tight = A.tight and B.tight

    def forward(self, u: Tensor) -> Tensor:
        return self.A(self.B(u))

    def adjoint(self, f: Tensor) -> Tensor:
        return self.B.adjoint(self.A.adjoint(f))

    def restrict(self, f: Tensor) -> Tensor:
        return self.A.restrict(f)


class Sum(LinearOperator):
    """(A + B) u = A u + B u."""

    def __init__(self, A: LinearOperator, B: LinearOperator):
        super().__init__()
        self.A, self.B = A, B

    def forward(self, u: Tensor) -> Tensor:
        return self.A(u) + self.B(u)

    def adjoint(self, f: Tensor) -> Tensor:
        return self.A.adjoint(f) + self.B.adjoint(f)


class Multiple(LinearOperator):
    """(c A) u = c A u for a real number c."""

    c: Tensor

    def __init__(self, c: float | Tensor, A: LinearOperator):
        super().__init__()
        self.A = A
        self.register_buffer("c", torch.as_tensor(c, dtype=torch.float64))
        if self.c.ndim:
            raise ValueError(f"c * A needs a number c; got a tensor of shape {tuple(self.c.shape)}.")

    def forward(self, u: Tensor) -> Tensor:
        return self.c.to(u.dtype) * self.A(u)

    def adjoint(self, f: Tensor) -> Tensor:
        return self.c.to(f.dtype) * self.A.adjoint(f)

    def restrict(self, f: Tensor) -> Tensor:
        return self.A.restrict(f)
