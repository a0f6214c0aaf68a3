"""What diagnoses are made of: comparisons of a learner's answer with the right one, in words.

Notebook: all, inside the checks of `exercises.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def same(answer: Any, right: Any, tol: float = 1e-6, name: str = "your result") -> str | None:
    """||answer - right|| <= tol ||right||, shapes and types equal: None, or a sentence on how the answer differs.

    It recognises the usual slips: another sign, a constant factor, a reversed, transposed or shifted array.

    >>> same(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 3.0]))
    'your result is right but reversed along its last axis'
    """
    right = torch.as_tensor(right).detach().cpu()
    try:
        arrays = isinstance(answer, (Tensor, np.ndarray, np.generic))
        answer = torch.as_tensor(answer, dtype=None if arrays else right.dtype).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        return f"{name} is {described(answer)}; it must be {described(right) if right.ndim else 'a number'}"
    if answer.shape != right.shape and not right.ndim:
        return f"{name} is {described(answer)}; it must be a number"
    if answer.shape != right.shape:
        return f"{name} has shape {tuple(answer.shape)}; it must have shape {tuple(right.shape)}"
    if answer.dtype != right.dtype:
        return f"{name} is of type {_name(answer.dtype)}; it must be of type {_name(right.dtype)}"
    a, b = (v.to(torch.complex128 if v.is_complex() else torch.float64) for v in (answer, right))
    if not bool(torch.isfinite(a).all()):
        return f"{name} has NaN or infinite entries"
    error, close = _distance(a, b), max(tol, 1e-6)
    if error <= tol:
        return None
    slips = {"of the wrong sign": -a}
    if a.ndim and a.numel() > 1:
        slips["reversed along its last axis"] = a.flip(-1)
        for axis in range(-min(a.ndim, 3), 0):
            slips[f"shifted by +1 along axis {axis}"] = a.roll(-1, axis)
            slips[f"shifted by -1 along axis {axis}"] = a.roll(1, axis)
    if a.ndim > 1:
        slips["reversed along its last two axes"] = a.flip(-1, -2)
        if a.shape[-1] == a.shape[-2]:
            slips["transposed"] = a.mT
    for words, mended in slips.items():
        if _distance(mended, b) <= close:
            return f"{name} is right but {words}"
    factor = float((torch.vdot(b.flatten(), a.flatten()) / torch.linalg.vector_norm(b) ** 2).real)
    if factor and abs(factor - 1) >= 1e-3 and a.numel() > 1 and _distance(a / factor, b) <= close:
        return f"{name} is {factor:.4g} times what it must be"
    size = "norm" if a.ndim else "size"
    return f"{name} differs from the right one by {error:.2g} of its {size}; at most {tol:.0e} is allowed"


def adjoint_gap(W: Callable[[Tensor], Tensor], WT: Callable[[Tensor], Tensor], u: Tensor) -> float:
    """|<W u, d> - <u, W^T d>| / (||W u|| ||d||), u and d random: zero iff WT is the adjoint of W.

    Raises ValueError where W^T d has not the shape of u.
    """
    draw = torch.Generator().manual_seed(0)
    u = torch.randn(u.shape, generator=draw, dtype=u.dtype).to(u.device)
    Wu = W(u)
    d = torch.randn(Wu.shape, generator=draw, dtype=Wu.dtype).to(Wu.device)
    WTd = WT(d)
    if WTd.shape != u.shape:
        raise ValueError(
            f"W maps shape {tuple(u.shape)} to {tuple(Wu.shape)}, so W^T maps back; this one gave {tuple(WTd.shape)}."
        )
    gap = torch.vdot(d.flatten(), Wu.flatten()) - torch.vdot(WTd.flatten(), u.flatten())
    return float(gap.abs() / (torch.linalg.vector_norm(Wu) * torch.linalg.vector_norm(d)))


def described(value: Any) -> str:
    """What a value is, in words: "a tensor of shape (8,)", "the number 3", "a function", "a list of 2".

    >>> described(torch.zeros(2, 3))
    'a tensor of shape (2, 3)'
    """
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}" if value.ndim else f"the number {value.item():.4g}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {value.shape}"
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, (int, float, complex, np.number)):
        return f"the number {value:.4g}"
    if isinstance(value, str):
        return f"the text '{value if len(value) < 40 else value[:37] + '...'}'"
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return f"{kind(type(value))} of {len(value)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return kind(type(value)) if isinstance(value, torch.nn.Module) or not callable(value) else "a function"


def kind(expected: Any) -> str:
    """A type, or a tuple of types, with its article: "a tensor", "a function", "a list or a tuple"."""
    if isinstance(expected, tuple):
        return " or ".join(map(kind, expected))
    known = {
        Tensor: "a tensor",
        Callable: "a function",
        Mapping: "a dictionary",
        dict: "a dictionary",
        np.ndarray: "a NumPy array",
    }
    known |= {
        int: "a whole number",
        float: "a number",
        bool: "a truth value (True or False)",
        str: "a text",
        tuple: "a tuple",
    }
    name = getattr(expected, "__name__", str(expected))
    return known.get(expected) or f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _distance(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||, or ||a|| where b = 0."""
    size = float(torch.linalg.vector_norm(b))
    return float(torch.linalg.vector_norm(a - b)) / (size or 1.0)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
