r"""Seventeen photographs of scikit-image in two halves: ten to learn from, seven to be scored on, none in both.

`training()` and `held_out()`: grey, the central square of each, shrunk to n x n by area averages. The split is by
picture: a net never sees a part of a picture that it is scored on.

Notebook: 14.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from companion.lab.images import average

_FILES = {"rocket": "rocket.jpg", "retina": "retina.jpg", "hubble": "hubble_deep_field.jpg"}
_FILES |= {"motorcycle": "motorcycle_left.png"}
TRAINING = ("brick", "grass", "gravel", "coffee", "chelsea", "astronaut", "rocket", "retina", "ihc", "hubble")
HELD_OUT = ("camera", "coins", "moon", "page", "text", "horse", "motorcycle")
CREDITS = {  # picture: (what, origin, licence), as the documentation of scikit-image states them
    "grass": ("some grass", "DeviantArt, linolafett", "CC0"),
    "gravel": ("gravel", "CC0Textures, Gravel04", "CC0"),
    "ihc": ("glands of a colon, stained", "Center for Microscopy and Molecular Imaging", "no known restrictions"),
    "hubble": ("the Hubble eXtreme Deep Field", "NASA", "public domain"),
    "moon": ("the surface of the moon", "ships with scikit-image", "not stated; the package is BSD-3-Clause"),
    "page": ("a scanned page", "ships with scikit-image", "not stated; the package is BSD-3-Clause"),
    "text": ("grey text", "Wikipedia, Corner.png", "public domain"),
    "horse": ("the silhouette of a horse", "openclipart, Andreas Preuss", "CC0"),
    "motorcycle": ("a motorcycle, left of a stereo pair", "Middlebury 2014, Scharstein et al.", "not stated"),
}


def training(n: int = 128, names: Sequence[str] = TRAINING) -> dict[str, Float[Tensor, "n n"]]:
    """The photographs to learn from and to choose numbers on: {name: picture}, float32, n <= 300."""
    return _some(names, TRAINING, n)


def held_out(n: int = 128, names: Sequence[str] = HELD_OUT) -> dict[str, Float[Tensor, "n n"]]:
    """The photographs to be scored on: {name: picture}, float32, n <= 172, for the text has no more lines."""
    return _some(names, HELD_OUT, n)


def _some(names: Sequence[str], allowed: Sequence[str], n: int) -> dict[str, Tensor]:
    if wrong := [name for name in names if name not in allowed]:
        raise ValueError(f"This half of the pictures has {', '.join(allowed)}; got {', '.join(wrong)}.")
    return {name: _square(name, n) for name in names}


def _square(name: str, n: int) -> Tensor:
    """The central square of a picture, grey, n x n."""
    import skimage
    from PIL import Image

    with Image.open(Path(skimage.__file__).parent / "data" / _FILES.get(name, f"{name}.png")) as picture:
        u = torch.from_numpy(np.array(picture.convert("RGB"))).double()
    u = u @ torch.tensor([0.2125, 0.7154, 0.0721], dtype=u.dtype) / 255  # the weights of ITU-R BT.709
    m = min(u.shape)
    if not 1 <= n <= m:
        raise ValueError(f"The square of the picture '{name}' shrinks to n x n with 1 <= n <= {m}; got n={n}.")
    top, left = (u.shape[0] - m) // 2, (u.shape[1] - m) // 2
    return average(u[top : top + m, left : left + m], n).float()
