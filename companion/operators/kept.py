r"""A value that a step needs again and again, such as A^T f, kept while what it is made of stays the same.

    kept = Kept()
    kept(make, *tensors, key=...)     make(), or what it gave the last time

Paper: none.  Notebook: none, it saves time and changes no number.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from companion.kernels import unwatched


class Kept:
    """make(), computed anew if a tensor is another one or was changed in place, if the key is another one, if one is
    learned, or if somebody asks for a derivative. A copy of the object, or one from a file, begins empty.

    >>> kept, f = Kept(), torch.ones(2)
    >>> kept(lambda: f.sum(), f) is kept(lambda: f.sum(), f)
    True
    >>> f.add_(1)
    tensor([2., 2.])
    >>> kept(lambda: f.sum(), f)
    tensor(4.)
    """

    def __init__(self) -> None:
        self._made: tuple[Any, ...] = ()

    def __call__(self, make: Callable[[], Tensor], *tensors: Tensor, key: Hashable = None) -> Tensor:
        learned = any(isinstance(t, Parameter) or t.is_inference() for t in tensors)
        if torch.compiler.is_compiling() or learned or not unwatched(*tensors) or torch.is_autocast_enabled("cpu"):
            return make()
        made = self._made
        if made and made[0] == key and _same(made[1], tensors):
            return made[2]
        value = make()
        if not value.is_inference():
            self._made = key, [(t, t._version) for t in (*tensors, value)], value
        return value

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Kept, ()


def _same(stamps: list[tuple[Tensor, int]], tensors: tuple[Tensor, ...]) -> bool:
    """Whether these are the tensors, and neither they nor the value have been changed in place."""
    *before, _ = stamps
    unchanged = all(t._version == version for t, version in stamps)
    return unchanged and len(before) == len(tensors) and all(t is u for (t, _), u in zip(before, tensors, strict=True))
