r"""T u with a random T that keeps the class: what `train(..., augment=...)` does to each batch before the net sees it.

    flip     u[n_1, n_2] -> u[n_1, N - 1 - n_2] for half of the pictures
    shift    u[n] -> u[n + d], |d_i| <= pixels, zero beyond the border

    train(net, data, epochs=30, augment=flip)        with another shift: functools.partial(shift, pixels=4)

The random numbers come from the generator, on the processor, and so are the same in all processes.

Notebook: 10.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from jaxtyping import Float
from torch import Tensor


def flip(u: Float[Tensor, "n *shape"], generator: torch.Generator) -> Float[Tensor, "n *shape"]:
    """Every picture, with probability 1/2, mirrored in its last axis."""
    mirrored = torch.rand(len(u), generator=generator) < 0.5
    return torch.where(mirrored.to(u.device).view(-1, *(1,) * (u.ndim - 1)), u.flip(-1), u)


def shift(
    u: Float[Tensor, "n channel H W"], generator: torch.Generator, pixels: int = 2
) -> Float[Tensor, "n channel H W"]:
    """Every picture moved by its own d, uniform on {-pixels, ..., pixels}^2.

    Raises ValueError unless pixels >= 0.
    """
    if pixels < 0:
        raise ValueError(f"A shift is at most pixels >= 0; got pixels={pixels}.")
    n, _, H, W = u.shape
    d = torch.randint(2 * pixels + 1, (2, n, 1), generator=generator).to(u.device)
    rows = (d[0] + torch.arange(H, device=u.device))[:, :, None]
    columns = (d[1] + torch.arange(W, device=u.device))[:, None, :]
    wide = nnf.pad(u, (pixels,) * 4).movedim(1, -1)
    return wide[torch.arange(n, device=u.device)[:, None, None], rows, columns].movedim(-1, 1)
