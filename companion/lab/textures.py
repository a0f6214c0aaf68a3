r"""Ten classes of pictures, (shape, texture), drawn from closed forms: a stand-in for CIFAR-10 that needs no download.

    u = occlusion( texture_b 1{phi_a(R(x - c)/r) < 0} + ground 1{phi_a > 0} ) + sigma xi

    class y = 2a + b     a: 0 disc, 1 square, 2 triangle, 3 star, 4 cross     b: 0 stripes, 1 checks

phi_a is the shape's level function, c, r, R its centre, radius and rotation, x in [-1, 1]^2. Everything else is
drawn at random and says nothing of the class: two colours of the shape, period, angle and phase of its texture, a
shaded ground with faint waves of its own, two small discs behind or before the shape, a bar across it, noise.
Neither the shape alone nor the texture alone tells the class.

Origin: generated; licence: none needed.  Notebooks: 10, 11.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from companion.lab.datasets import Split

SHAPES = ("disc", "square", "triangle", "star", "cross")
TEXTURES = ("stripes", "checks")


def shapes_and_textures(
    n: int, n_test: int, size: int = 32, seed: int = 0, noise: float = 0.05, clutter: float = 0.5
) -> Split:
    """n and n_test colour pictures (3, size, size) in float32 with labels 0 .. 9, each class about equally often.

    noise    deviation sigma of the noise; the colours are in [-1/2, 1/2] or a little beyond
    clutter  0: bright shapes on a dark, even ground, nothing else. 1: colours at random, waves in the ground, discs
             and a bar of full size. Between, all of it in proportion

    The test set is drawn from another seed: 2 seed + 1, the training set from 2 seed. About 0.1 ms for a picture of
    32 x 32. How hard they are, by the test error of a ResNet-14 of width 8: 13 % after 60,000 pictures of 16 x 16
    without clutter, 28 % after 80,000 of 32 x 32 with clutter 0.3 and noise 0.1.

    Raises ValueError unless n, n_test >= 10, size >= 8, noise >= 0 and 0 <= clutter <= 1.

    >>> data = shapes_and_textures(20, 10, size=16)
    >>> data.x.shape, data.y.bincount().tolist()
    (torch.Size([20, 3, 16, 16]), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """
    if min(n, n_test) < 10 or size < 8 or not noise >= 0 or not 0 <= clutter <= 1:
        raise ValueError(
            "Shapes and textures need n, n_test >= 10 pictures, of size >= 8 pixels, noise >= 0 and a clutter in "
            f"[0, 1]; got n={n}, n_test={n_test}, size={size}, noise={noise}, clutter={clutter}."
        )
    return Split(*_pictures(n, size, noise, clutter, 2 * seed), *_pictures(n_test, size, noise, clutter, 2 * seed + 1))


def _pictures(
    n: int, size: int, noise: float, clutter: float, seed: int
) -> tuple[Float[Tensor, "n 3 size size"], Int[Tensor, "n"]]:
    """n pictures and their labels, drawn in chunks of 2000."""
    g = torch.Generator().manual_seed(seed)
    y = (torch.arange(n) % 10)[torch.randperm(n, generator=g)]
    return torch.cat([_draw(part, size, noise, clutter, g) for part in y.split(2000)]), y


def _draw(
    y: Int[Tensor, "n"], size: int, noise: float, clutter: float, g: torch.Generator
) -> Float[Tensor, "n 3 size size"]:
    n = len(y)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *(shape or (1, 1)), generator=g)

    x = (torch.arange(size) + 0.5) * (2 / size) - 1
    soft = size / 4  # a level function in units of two pixels: edges are smooth over one

    ground = torch.lerp(torch.tensor(0.15), uniform(0.0, 1.0, 3, 1, 1), clutter)
    waves = _waves(x, uniform(0.0, math.pi), uniform(0.3, 1.2), uniform(0.0, 1.0))
    ground = ground + clutter * (0.15 * waves[:, None] + uniform(-0.2, 0.2, 1, 1, 1) * x)

    r = uniform(0.5, 0.8)
    s, t = _turned(x, uniform(-0.25, 0.25), uniform(-0.25, 0.25), uniform(0.0, 2 * math.pi))
    inside = _step(-_level(s / r, t / r, y // 2) * r * soft)

    period = r * uniform(0.8, 1.2)
    s, t = _turned(x, uniform(-1.0, 1.0), uniform(-1.0, 1.0), uniform(0.0, 2 * math.pi))
    wave, other = (torch.cos(2 * math.pi * v / period) for v in (s, t))
    wave = torch.where((y % 2 == 0)[:, None, None], wave, wave * other * math.sqrt(2))
    first = torch.lerp(torch.tensor(0.9), uniform(0.0, 1.0, 3, 1, 1), clutter)
    second = first + uniform(0.4, 0.8, 3, 1, 1) * torch.where(first < 0.5, 1, -1)
    u = ground + inside[:, None] * (first + (second - first) * (0.5 + 0.5 * wave.clamp(-1, 1))[:, None] - ground)

    for _ in range(2):  # small discs anywhere, of any colour
        disc = _step((clutter * uniform(0.1, 0.2) - _distance(x, uniform(-1.0, 1.0), uniform(-1.0, 1.0))) * soft - 0.5)
        u = u + disc[:, None] * (uniform(0.0, 1.0, 3, 1, 1) - u)
    across, _ = _turned(x, uniform(-0.5, 0.5), uniform(-0.5, 0.5), uniform(0.0, 2 * math.pi))
    bar = _step((clutter * uniform(0.0, 0.2) - across.abs()) * soft - 0.5)
    u = u + bar[:, None] * (uniform(0.0, 1.0, 3, 1, 1) - u)
    return u - 0.5 + noise * torch.randn(u.shape, generator=g)


def _level(s: Tensor, t: Tensor, shape: Int[Tensor, "n"]) -> Tensor:
    """phi_a(s, t) < 0 inside the shape a, each about as large as the unit disc, and the slope at its border about 1."""
    level = torch.empty_like(s)
    for a, phi in enumerate((_disc, _square, _triangle, _star, _cross)):
        of = shape == a
        level[of] = phi(s[of], t[of])
    return level


def _disc(s: Tensor, t: Tensor) -> Tensor:
    return (s * s + t * t).sqrt() - 0.85


def _square(s: Tensor, t: Tensor) -> Tensor:
    return torch.maximum(s.abs(), t.abs()) - 0.75


def _triangle(s: Tensor, t: Tensor) -> Tensor:
    half = math.sqrt(3) / 2
    return torch.maximum(-t, torch.maximum(half * s + t / 2, -half * s + t / 2)) - 0.55


def _star(s: Tensor, t: Tensor) -> Tensor:
    rho, theta = (s * s + t * t).sqrt(), torch.atan2(t, s)
    return rho - 0.75 * (1 + 0.35 * torch.cos(5 * theta))


def _cross(s: Tensor, t: Tensor) -> Tensor:
    s, t = s.abs(), t.abs()
    return torch.minimum(torch.maximum(s - 1, t - 0.35), torch.maximum(t - 1, s - 0.35))


def _step(v: Tensor) -> Tensor:
    """0 below -1/2, 1 above 1/2, linear between: the edge of a picture."""
    return (v + 0.5).clamp(0, 1)


def _turned(x: Tensor, a: Tensor, b: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """The coordinates R(x - c) of the pixels, (n, size, size) each; c = (a, b)."""
    c, s = angle.cos(), angle.sin()
    X, Y = x - a, x[:, None] - b
    return c * X + s * Y, c * Y - s * X


def _distance(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return ((x - a) ** 2 + (x[:, None] - b) ** 2).sqrt()


def _waves(x: Tensor, angle: Tensor, period: Tensor, phase: Tensor) -> Tensor:
    return torch.cos(2 * math.pi * ((angle.cos() * x + angle.sin() * x[:, None]) / period + phase))
