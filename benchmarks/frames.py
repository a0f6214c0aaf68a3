"""W, W^T and W~^T S(W u) beside a copy, and beside other ways to the same coefficients.   (2.1)-(2.3), (4.5)

    PyWavelets    swt2, swtn and their inverses, norm=True: Haar's frame alone
    convolutions  torch's depthwise dilated conv2d or conv3d, one for each level, on a padded picture
    FFT           one product with a symbol for each band
    rolls         sums of shifted pictures, axis by axis, in plain torch

All are periodic. The readable form of the package is a peer too where its kernels can be switched off.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

from benchmarks.harness import Call, Case, Peer, Size, Task
from benchmarks.readable import readable
from companion import FrameletTransform, Shrinkage, Soft, bspline

NAMES = {1: "Haar", 2: "linear", 4: "cubic"}
LARGEST = 4.5e9  # bytes of coefficients, and a quarter of the memory; what is larger is left out
ALONE = 1.2e9  # beyond, no peers: they hold the coefficients several times
PATIENCE = 2.0


class Rolls:
    """The cascade (2.2) by shifted pictures: along each axis, sum_k q[k] u[n + 2^l k]."""

    def __init__(self, W: FrameletTransform, u: Tensor):
        self.W, self.axes = W, range(-W.dim, 0)
        self.filters = [[(q.origin[0] + k, float(v)) for k, v in enumerate(q.taps) if v] for q in W.bank]

    def along(self, u: Tensor, ell: int, axis: int, step: int, sign: int) -> Tensor:
        terms = (v * torch.roll(u, -sign * step * k, axis) for k, v in self.filters[ell])
        return sum(terms, start=torch.zeros_like(u))

    def analysis(self, u: Tensor) -> Tensor:
        W, low, high = self.W, u, []
        for level in range(W.levels):
            parts: dict[tuple[int, ...], Tensor] = {(): low}
            for axis in self.axes:
                r = range(len(self.filters))
                parts = {(*i, ell): self.along(v, ell, axis, 2**level, 1) for i, v in parts.items() for ell in r}
            low = parts[W.indices[0]]
            high += [parts[index] for index in W.indices[1:]]
        return torch.stack([low, *high])

    def synthesis(self, d: Tensor) -> Tensor:
        W, r = self.W, len(self.W.indices) - 1
        low = d[0]
        for level in reversed(range(W.levels)):
            parts = dict(zip(W.indices, [low, *d[1 + level * r : 1 + (level + 1) * r]], strict=True))
            for axis in reversed(self.axes):
                heads = dict.fromkeys(index[:-1] for index in parts)
                ells = range(len(self.filters))
                parts = {i: sum(self.along(parts[(*i, ell)], ell, axis, 2**level, -1) for ell in ells) for i in heads}
            low = parts[()]
        return low


class Convolutions:
    """The cascade by torch.nn.functional.conv2d or conv3d: all filters of a level at once, on a wrapped border."""

    def __init__(self, W: FrameletTransform, u: Tensor):
        self.W = W
        self.first = min(q.origin[0] for q in W.bank)
        last = max(q.origin[0] + len(q.taps) for q in W.bank)
        taps = np.zeros((len(W.bank), last - self.first))
        for row, q in zip(taps, W.bank, strict=True):
            row[q.origin[0] - self.first : q.origin[0] - self.first + len(q.taps)] = q.taps
        products = [taps[index[0]] for index in W.indices]
        for i in range(1, W.dim):
            products = [np.multiply.outer(a, taps[index[i]]) for a, index in zip(products, W.indices, strict=True)]
        self.weight = torch.from_numpy(np.stack(products)).to(u)[:, None]
        self.length = taps.shape[1]
        self.convolve = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}[W.dim]

    def wrapped(self, u: Tensor, step: int, first: int) -> Tensor:
        left, right = -first * step, (first + self.length - 1) * step
        return torch.nn.functional.pad(u, [left, right] * self.W.dim, mode="circular")

    def analysis(self, u: Tensor) -> Tensor:
        low, high = u[None, None], []
        for level in range(self.W.levels):
            parts = self.convolve(self.wrapped(low, 2**level, self.first), self.weight, dilation=2**level)
            low = parts[:, :1]
            high.append(parts[:, 1:])
        return torch.cat([low, *high], 1)[0]

    def synthesis(self, d: Tensor) -> Tensor:
        r, low = len(self.W.indices) - 1, d[None, :1]
        flipped = self.weight.flip(list(range(2, self.weight.ndim))).transpose(0, 1)
        for level in reversed(range(self.W.levels)):
            parts = torch.cat([low, d[None, 1 + level * r : 1 + (level + 1) * r]], 1)
            parts = self.wrapped(parts, 2**level, 1 - self.first - self.length)
            low = self.convolve(parts, flipped, dilation=2**level)
        return low[0, 0]


class Fourier:
    """A symbol for each band: the transform of W's own answer to a unit impulse, made once."""

    def __init__(self, W: FrameletTransform, u: Tensor):
        self.axes, self.shape = list(range(-W.dim, 0)), u.shape
        impulse = torch.zeros_like(u)
        impulse.view(-1)[0] = 1
        self.symbol = torch.fft.rfftn(W(impulse), dim=self.axes)

    def analysis(self, u: Tensor) -> Tensor:
        return torch.fft.irfftn(self.symbol * torch.fft.rfftn(u, dim=self.axes), self.shape, self.axes)

    def synthesis(self, d: Tensor) -> Tensor:
        product = (self.symbol.conj() * torch.fft.rfftn(d, dim=self.axes)).sum(0)
        return torch.fft.irfftn(product, self.shape, self.axes)


class PyWavelets:
    """swt2 or swtn with norm=True, whose filters are Haar's of (2.1), and their inverses, which are the adjoint."""

    def __init__(self, W: FrameletTransform, u: Tensor):
        import pywt

        self.W, self.pywt = W, pywt
        self.words = ["".join("ad"[i] for i in index) for index in W.indices]

    def analysis(self, u: Tensor) -> Any:
        if self.W.dim == 2:
            return self.pywt.swt2(u.numpy(), "haar", level=self.W.levels, trim_approx=True, norm=True)
        return self.pywt.swtn(u.numpy(), "haar", level=self.W.levels, trim_approx=True, norm=True)

    def synthesis(self, d: Any) -> np.ndarray:
        inverse = self.pywt.iswt2 if self.W.dim == 2 else self.pywt.iswtn
        return inverse(d, "haar", norm=True)

    def read(self, d: Any) -> np.ndarray:
        """Their list, coarse to fine, as our band axis."""
        low, *coarse_to_fine = d
        details = [list(level) if self.W.dim == 2 else [level[w] for w in self.words[1:]] for level in coarse_to_fine]
        return np.stack([low, *itertools.chain(*reversed(details))])

    def written(self, d: Tensor) -> Any:
        """Our band axis as their list."""
        r, levels = len(self.words) - 1, range(self.W.levels)
        details = [d[1 + level * r : 1 + (level + 1) * r].numpy() for level in reversed(levels)]
        if self.W.dim == 2:
            return [d[0].numpy(), *map(tuple, details)]
        return [d[0].numpy(), *(dict(zip(self.words[1:], level, strict=True)) for level in details)]

    def soft(self, d: Any, lam: np.ndarray) -> Any:
        """Soft thresholds, one for each band."""
        r = len(self.words) - 1
        shrunk = [d[0]]
        for n, level in enumerate(d[1:]):
            at = lam[1 + (self.W.levels - 1 - n) * r :]
            if self.W.dim == 2:
                shrunk.append(tuple(self.pywt.threshold(x, t, "soft") for x, t in zip(level, at, strict=False)))
            else:
                shrunk.append({w: self.pywt.threshold(level[w], at[i]) for i, w in enumerate(self.words[1:])})
        return shrunk


WAYS: dict[str, Callable[..., Any]] = {"convolutions": Convolutions, "FFT": Fourier, "rolls": Rolls}


def setting(order: int, levels: int, size: Size, dtype: torch.dtype, device: torch.device) -> tuple[Any, Tensor]:
    """W and a picture of white noise."""
    u = torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=dtype).to(device)
    return FrameletTransform(bspline(order), levels, len(size)).to(device), u


def analysis(order: int, levels: int) -> Callable[..., Case]:
    def make(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
        W, u = setting(order, levels, size, dtype, device)

        def by(way: Callable[..., Any]) -> Callable[[], Call]:
            def prepare() -> Call:
                other = way(W, u)
                return lambda: other.analysis(u)

            return prepare

        peers = {name: Peer(by(way)) for name, way in WAYS.items()}
        if order == 1 and device.type == "cpu":
            peers["PyWavelets"] = Peer(by(PyWavelets), "pywt", read=lambda d: PyWavelets(W, u).read(d))
        peers |= readable(lambda: W(u))
        peers = peers if coefficients(order, levels, size) <= ALONE else {}
        return Case(lambda: W(u), len(W.bands) * _bytes(u), peers, patience=PATIENCE)

    return make


def synthesis(order: int, levels: int) -> Callable[..., Case]:
    def make(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
        W, u = setting(order, levels, size, dtype, device)
        d = W(u)

        def by(way: Callable[..., Any]) -> Callable[[], Call]:
            def prepare() -> Call:
                other = way(W, u)
                given = other.written(d) if way is PyWavelets else d
                return lambda: other.synthesis(given)

            return prepare

        peers = {name: Peer(by(way)) for name, way in WAYS.items()}
        if order == 1 and device.type == "cpu":
            peers["PyWavelets"] = Peer(by(PyWavelets), "pywt")
        peers |= readable(lambda: W.T(d))
        peers = peers if coefficients(order, levels, size) <= ALONE else {}
        return Case(lambda: W.T(d), len(W.bands) * _bytes(u), peers, patience=PATIENCE)

    return make


def shrinkage(order: int, levels: int = 1, lam: float = 0.1) -> Callable[..., Case]:
    def make(size: Size, dtype: torch.dtype, device: torch.device) -> Case:
        W, u = setting(order, levels, size, dtype, device)
        weights = W.weights(lam).to(device)
        S = Soft(weights)
        step = Shrinkage(W, S)

        def by(way: Callable[..., Any]) -> Callable[[], Call]:
            def prepare() -> Call:
                other = way(W, u)
                if way is PyWavelets:
                    at = weights.flatten().tolist()
                    return lambda: other.synthesis(other.soft(other.analysis(u), at))
                return lambda: other.synthesis(S(other.analysis(u)))

            return prepare

        peers = {name: Peer(by(way)) for name, way in WAYS.items()}
        if order == 1 and device.type == "cpu":
            peers["PyWavelets"] = Peer(by(PyWavelets), "pywt")
        peers |= readable(lambda: step(u))
        return Case(lambda: step(u), _bytes(u), peers, patience=PATIENCE)

    return make


def _bytes(u: Tensor) -> int:
    return u.numel() * u.element_size()


def coefficients(order: int, levels: int, size: Size) -> float:
    """The bytes of W u in float32."""
    return 4.0 * math.prod(size) * (1 + levels * ((order + 1) ** len(size) - 1))


def _fitting(order: int, levels: int, sizes: Sequence[Size]) -> tuple[Size, ...]:
    """The sizes that LARGEST and this machine allow."""
    most = min(LARGEST, psutil.virtual_memory().total / 4)
    return tuple(size for size in sizes if coefficients(order, levels, size) <= most)


def _tasks() -> list[Task]:
    sizes: tuple[Size, ...] = ((512, 512), (2048, 2048), (128, 128, 128))
    tasks = []
    for name, make in (("W", analysis), ("W^T", synthesis)):
        for order, levels in itertools.product(NAMES, (1, 2, 3, 4)):
            title = f"{name}, {NAMES[order]}, {levels} level{'s' if levels > 1 else ''}"
            quick = ((256, 256),) if levels == 1 or (order, levels) == (1, 2) else ()
            tasks.append(Task(title, make(order, levels), _fitting(order, levels, sizes), quick))
    tasks += [Task(f"W^T S W, {NAMES[order]}, 1 level", shrinkage(order), sizes, ((256, 256),)) for order in NAMES]
    return tasks


TASKS = _tasks()
