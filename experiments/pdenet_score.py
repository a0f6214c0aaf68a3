r"""How far a found equation is from the printed one, and from the one that the films obey.

Films that a solver has made are solutions with an error, which a found equation should have, too. `obeyed` measures it:
least squares of u_t on the true terms alone, without noise, by sixth-order differences in time and exact derivatives on
all points of the solver. For pdenet.py and pdenet_grids.py; nothing is run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from companion.lab.identify import in_time
from companion.lab.pde_data import Data
from companion.lab.pdes import Equation
from companion.nets.pdenet import ORDERS
from companion.nets.polynomial import Polynomial


def named(terms: dict[str, float]) -> dict[str, float]:
    """v_x*u and u*v_x are one term."""
    powers = ((name.replace("**", "^"), c) for name, c in terms.items())
    return {"*".join(sorted(name.split("*"))).replace("^", "**"): c for name, c in powers}


def distances(rows: Sequence[dict[str, float]], truth: Sequence[dict[str, float]]) -> dict[str, float]:
    """How far off the true terms are: absolutely for viscosities and for the others, relatively for all."""
    away = {"transport": 0.0, "viscosity": 0.0, "relative": 0.0}
    for f, t in zip(rows, truth, strict=True):
        for name, c in t.items():
            kind = "viscosity" if name.endswith(("_xx", "_yy")) else "transport"
            error = abs(f.get(name, 0.0) - c)
            away[kind] = max(away[kind], error)
            away["relative"] = max(away["relative"], error / abs(c))
    return {key: round(value, 5) for key, value in away.items()}


def compared(found: Sequence[dict[str, float]], equation: Equation) -> dict[str, Any]:
    """The coefficients at the true terms, how far off they are, and the largest other one."""
    found, truth = list(map(named, found)), list(map(named, equation.terms))
    rows = [{name: round(f.get(name, 0.0), 5) for name in t} for f, t in zip(found, truth, strict=True)]
    others = [abs(c) for f, t in zip(found, truth, strict=True) for name, c in f.items() if name not in t]
    return {"coefficients": rows, **distances(found, truth), "spurious": round(max(others, default=0.0), 5)}


def exact_derivatives(u: Tensor) -> Tensor:
    """u, u_x, u_y, u_xx, u_xy, u_yy, v, ... of the Fourier series: (batch, C, N, N) -> (batch, 6 C, N^2)."""
    N = u.shape[-1]
    a, k = torch.fft.rfft2(u), torch.fft.fftfreq(N, 1 / N, dtype=u.dtype)
    x, y = 1j * k[:, None], 1j * k[: N // 2 + 1].abs()
    d = [torch.fft.irfft2(x**i * y**j * a, s=(N, N)) for i, j in ORDERS]
    return torch.stack(d, 2).flatten(1, 2).flatten(2)


def obeyed(equation: Equation, data: Data) -> dict[str, Any]:
    """The coefficients of the true terms that films obey, by least squares; rms(u_t - F)/rms(u_t) that is left."""
    u, u_t = (x.flatten(0, 1) for x in in_time(data.u, data.dt, 7, 6))
    features, rows, residual = exact_derivatives(u), [], []
    for terms, right in zip(map(named, equation.terms), u_t.unbind(1), strict=True):
        p = Polynomial.of(*({name: 1.0} for name in terms), names=equation.names)
        A, b = p(features).transpose(0, 1).flatten(1).T.numpy(), right.flatten().numpy()
        c = np.linalg.lstsq(A, b, rcond=None)[0]
        rows.append({name: round(float(x), 5) for name, x in zip(terms, c, strict=True)})
        residual.append(float(f"{np.linalg.norm(A @ c - b) / np.linalg.norm(b):.2g}"))
    return {"coefficients": rows, "residual": residual}


def averaged(tables: Sequence[list[dict[str, float]]]) -> list[dict[str, list[float]]]:
    """[mean, deviation] of each coefficient over several tables."""
    each = [{name: [t[i][name] for t in tables] for name in row} for i, row in enumerate(tables[0])]
    ddof = min(1, len(tables) - 1)
    return [
        {name: [round(float(f), 5) for f in (np.mean(c), np.std(c, ddof=ddof))] for name, c in r.items()} for r in each
    ]
