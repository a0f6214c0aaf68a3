r"""u' = lambda u, z = dt lambda: u^{k+1} = R(z) u^k, and where |R(z)| <= 1.   Section 5.1

    stability_function   R(z), measured by one step of a scheme
    stability_region     |R| on a rectangle of the complex plane, for a picture
    real_interval        the x with |R| <= 1 on [-x, 0]: what a diffusion, or a descent, allows
    imaginary_interval   the y with |R| <= 1 on i [-y, y]: what an oscillation, or a transport, allows

For a linear u' = A u with A normal the scheme is stable if dt lambda lies in the region for every eigenvalue lambda. A
scheme with a memory multiplies its state by a matrix; its R is the eigenvalue of largest modulus. Nothing here knows a
scheme: what is asked of one is that it maps a state to the next.

Paper: Section 5.1.  Notebook: 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from companion.dynamics import iterate, tensors

CHUNK = 64  # how many z one step is taken for: an implicit scheme solves one system for all of them
STEP = 0.01  # an interval is scanned in steps of this length; a shorter one counts as 0


def stability_function(make: Callable[..., Any]) -> Callable[[Complex[Tensor, "*shape"]], Complex[Tensor, "*shape"]]:
    r"""z -> R(z): the factor of one step of make(F, dt) for u' = lambda u, dt = 1; of a scheme with a memory the
    eigenvalue of largest modulus of the matrix that maps its state to the next.

    make   (F, dt) -> map, such as a class of schemes, or lambda F, dt: TwoStep(F, dt, alpha=-0.5)

    The complex plane is R^2 for the scheme, which must then commute with the rotations, as all schemes do.

    >>> from companion import Euler
    >>> stability_function(Euler)(torch.tensor([-0.5 + 1j]))
    tensor([0.5000+1.j])
    """

    def R(z: Complex[Tensor, "*shape"]) -> Complex[Tensor, "*shape"]:
        parts = [_measured(make, part) for part in z.to(torch.complex128).reshape(-1).split(CHUNK)]
        return torch.cat(parts).reshape(z.shape).to(z.dtype if z.is_complex() else torch.complex128)

    return R


def _measured(make: Callable[..., Any], z: Tensor) -> Tensor:
    """R at the n numbers z of one chunk."""

    def F(u: Tensor) -> Tensor:
        return torch.view_as_real(z * torch.view_as_complex(u.contiguous()))

    step = make(F, 1.0)
    one = torch.view_as_real(torch.ones_like(z))
    if not hasattr(step, "start"):
        return torch.view_as_complex(step(one).contiguous())
    orbit = iterate(step, step.start(one))
    x = [next(orbit) for _ in range(8)][-1]  # the starter has done its work
    rows = [a.reshape(-1, *one.shape) for a in tensors(x) if a.ndim]  # every part of the state as pictures
    sizes = [len(a) for a in rows]
    columns = []
    for i in range(sum(sizes)):
        unit = torch.zeros(sum(sizes), *one.shape, dtype=one.dtype)
        unit[i] = one
        blocks = iter(unit.split(sizes))
        state = type(x)(*(next(blocks).reshape(a.shape) if a.ndim else a for a in tensors(x)))
        image = torch.cat([a.reshape(-1, *one.shape) for a in tensors(step(state)) if a.ndim])
        columns.append(torch.view_as_complex(image.contiguous()))
    eigenvalues = torch.linalg.eigvals(torch.stack(columns, 1).movedim(-1, 0))
    return eigenvalues.gather(-1, eigenvalues.abs().argmax(-1, keepdim=True)).squeeze(-1)


def stability_region(
    R: Callable[[Any], Any],
    re: tuple[float, float] = (-5.0, 1.0),
    im: tuple[float, float] = (-4.0, 4.0),
    n: int = 200,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"], Float[Tensor, "m n"]]:
    r"""x, y and |R(x + i y)|, of shape (m, n): n points from left to right and as many to a unit upwards. The scheme is
    stable where the picture is <= 1.

    R    a stability function, such as Euler.R, Neumann(F, dt).R or stability_function(make)
    """
    m = max(2, round(n * (im[1] - im[0]) / (re[1] - re[0])))
    x = torch.linspace(*re, n, dtype=torch.float64)
    y = torch.linspace(*im, m, dtype=torch.float64)
    return x, y, torch.as_tensor(R(torch.complex(x.expand(m, n), y[:, None].expand(m, n)))).abs()


def real_interval(R: Callable[[Any], Any], most: float = 40.0) -> float:
    r"""The largest x with |R| <= 1 on [-x, 0]; infinity if it is beyond `most`.

    >>> from companion import RK4, Euler
    >>> round(real_interval(Euler.R), 6), round(real_interval(RK4.R), 6)
    (2.0, 2.785294)
    """
    return _interval(R, -1.0, most)


def imaginary_interval(R: Callable[[Any], Any], most: float = 40.0) -> float:
    r"""The largest y with |R| <= 1 on i [0, y], and by symmetry on i [-y, 0]; infinity if it is beyond `most`.

    >>> from companion import RK4, Euler
    >>> imaginary_interval(Euler.R), round(imaginary_interval(RK4.R) ** 2, 6)
    (0.0, 8.0)
    """
    return _interval(R, 1j, most)


def _interval(R: Callable[[Any], Any], direction: float | complex, most: float) -> float:
    x = np.arange(STEP, most, STEP)
    size = lambda t: np.abs(np.asarray(R(torch.from_numpy(np.asarray(direction * t, dtype=complex)))))  # noqa: E731
    bad = np.nonzero(~(size(x) <= 1 + 1e-10))[0]
    if not len(bad):
        return math.inf
    low, high = x[bad[0]] - STEP, x[bad[0]]
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) <= 1 + 1e-12 else (low, middle)
    return float(low) if low >= STEP else 0.0
