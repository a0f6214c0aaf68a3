r"""F -> F_Theta: a copy of a map in which chosen buffers are Parameters, theta = 0 being the classical map.   Section 5

Every map of the course holds the numbers one might learn (thresholds, penalties, steps) as buffers. To learn them is
to make Parameters of them, and to keep what the mathematics asks of them: a threshold stays >= 0, a penalty > 0, a
step below its bound. So a buffer v_0 becomes a function of a free parameter theta of its shape,

    v = v_0 / (v_0/b + (1 - v_0/b) e^{-theta}),        0 < v < b,   v = v_0 at theta = 0,   dv/dtheta = v (1 - v/b),

the logistic curve through v_0; without a bound, b = infinity, it is v_0 e^theta. What is 0 stays 0: the average of a
frame is not thresholded, whatever is learned. What is b stays b.

Paper: Section 5.  Notebook: 14.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

M = TypeVar("M", bound=nn.Module)


class Between(nn.Module):
    r"""theta -> v = v_0 / (v_0/b + (1 - v_0/b) e^{-theta}): a number that stays between 0 and b, from v_0 on.

    start  v_0, 0 <= v_0 <= b, entry by entry
    bound  b > 0, by default infinity: v = v_0 e^theta

    `right_inverse` is theta of a v, where there is one. Raises ValueError for a start outside [0, b].

    >>> Between(torch.tensor([0.0, 2.0]))(torch.tensor([0.5, math.log(2)]))
    tensor([0., 4.])
    """

    first: Tensor

    def __init__(self, start: Tensor, bound: float = math.inf):
        super().__init__()
        if not bool(((start >= 0) & (start <= bound) & start.isfinite()).all()):
            raise ValueError(
                f"A number learned between 0 and {bound:g} starts there; got {start.flatten().tolist()[:8]}."
            )
        self.register_buffer("first", start.detach().clone())
        self.bound = bound

    def forward(self, theta: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """v."""
        part = self.first / self.bound
        return self.first / (part + (1 - part) * torch.exp(-theta))

    def right_inverse(self, v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """theta = log v (b - v_0) / (v_0 (b - v)); 0 where v = v_0. ValueError where no theta gives v."""
        part, whole, moved = self.first / self.bound, v / self.bound, v != self.first
        theta = torch.where(moved, (v / self.first).log() + torch.log1p(-part) - torch.log1p(-whole), 0.0)
        if not bool(theta.isfinite().all()):
            raise ValueError(
                f"A number learned between 0 and {self.bound:g} from {self.first.flatten().tolist()[:8]} on cannot be "
                f"{v.flatten().tolist()[:8]}: it stays inside, and what starts at 0 or at the bound stays there."
            )
        return theta


def learned(module: M, *names: str, bounds: Mapping[str, float] | None = None) -> M:
    r"""A copy of a map with the named buffers as Parameters, equal to the map until it is trained.

    names   of buffers that are >= 0, as `module.named_buffers()` has them ("rho", "problem.R.lam"); or of submodules
            ("problem.K"), which are copied with the Parameters they have
    bounds  {name: b} where a buffer has to stay below b

    Only the modules that lead to a named one are copied. All else is shared with `module`, so that k copies of a solver
    hold one blur, one mask, one frame.

    Raises ValueError for a name that is no buffer, and for a submodule without Parameters.

    >>> from companion.flows.shrinkage import Soft
    >>> S = learned(Soft(1.0), "lam")
    >>> [(name, p.item()) for name, p in S.named_parameters()], S(torch.tensor([3.0]))
    ([('parametrizations.lam.original', 0.0)], tensor([2.], grad_fn=<SubBackward0>))
    """
    parts = dict(module.named_modules(remove_duplicate=False))
    fresh: set[int] = set()
    for name in names:
        check_name(module, name, parts)
        way = name.split(".")
        fresh |= {id(parts[".".join(way[:n])]) for n in range(len(way))}
        fresh |= {id(m) for m in parts[name].modules()} if name in parts else set()
    twin = copy.deepcopy(module, {id(m): m for m in parts.values() if id(m) not in fresh})
    for name in names:
        if name not in parts:
            place, _, leaf = name.rpartition(".")
            holder = twin.get_submodule(place)
            start = holder.get_buffer(leaf)
            del holder._buffers[leaf]
            holder.register_parameter(leaf, nn.Parameter(start.clone()))
            parametrize.register_parametrization(holder, leaf, Between(start, (bounds or {}).get(name, math.inf)))
    return twin


def check_name(module: nn.Module, name: str, parts: Mapping[str, nn.Module]) -> None:
    """Raise ValueError unless it names a buffer, or a submodule with Parameters."""
    buffers = dict(module.named_buffers(remove_duplicate=False))
    if name in parts and not list(parts[name].parameters()):
        raise ValueError(f"{name} = {type(parts[name]).__name__} has no Parameters of its own. Name its buffers.")
    if name not in parts and name not in buffers:
        raise ValueError(
            f"{type(module).__name__} has no buffer {name!r} to learn; it has {', '.join(map(repr, buffers))}."
        )
