"""What a picture must be: a real, finite, floating-point tensor with enough axes, where the operator lives.

One place for the questions every operator asks of its input, and for the words of the answers.  Notebook: 02.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def check_picture(u: Tensor, name: str, rank: int, device: torch.device | None = None) -> None:
    """Raise unless u is a real floating-point tensor of at least `rank` axes, on `device`, and (where that is cheap)
    finite.
    """
    check_kind(u, name, rank, device)
    check_finite(u, name)


def check_kind(u: Tensor, name: str, rank: int, device: torch.device | None = None) -> None:
    """What `check_picture` asks of the type, the shape and the place of u, not of its entries."""
    if not isinstance(u, Tensor):
        raise TypeError(f"{name} must be a torch tensor; got {type(u).__name__}. Use torch.as_tensor({name}).")
    if u.is_complex():
        raise TypeError(
            f"The operator is real, but {name} has type {u.dtype}. Apply it to {name}.real and {name}.imag apart."
        )
    if not u.is_floating_point():
        raise TypeError(
            f"{name} must be floating point, grey values usually in [0, 1]; got {u.dtype}. Use {name}.double() / 255."
        )
    if u.ndim < rank:
        raise ValueError(f"{name} must have at least {rank} axes here; got shape {tuple(u.shape)}.")
    if device is not None and u.device != device:
        raise ValueError(
            f"The operator lives on {device} but {name} on {u.device}. Move one of them: operator.to({name}.device)."
        )


def check_finite(u: Tensor, name: str, image: Tensor | None = None) -> Tensor:
    """Raise if u has NaN or infinite entries, where that is cheap: by its sum, or by that of a smaller `image` of u
    that is not finite where u is not. Returns the image, or u.
    """
    # On a GPU the test would stall the stream, and under torch.compile break the graph: there NaN passes through.
    asked = u if image is None else image
    if u.device.type == "cpu" and not torch.compiler.is_compiling() and not math.isfinite(asked.detach().sum()):
        bad = int((~torch.isfinite(u)).sum())
        if bad:
            raise ValueError(
                f"{name} must be finite; {bad} of its {u.numel()} entries are NaN or infinite. "
                "A mask marks unknown pixels."
            )
    return asked
