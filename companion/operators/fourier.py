r"""A u = m . F u: magnetic resonance measures some Fourier coefficients of the picture.   (1.1)

F is the unitary discrete Fourier transform, (F u)[k] = |N|^{-1/2} sum_n u[n] e^{-2 pi i k.n/N}, with frequency 0 at
index 0, and m in {0, 1} the sampling pattern. Everything stays real: a complex number is an axis of length 2, (real,
imaginary part), before the space axes, and <f, g> = sum of products is the real inner product, Re <f, g>_C.

A real picture has F u[-k] = conj F u[k]: k and -k carry the same information. With m~ = (m + m[-.]) / 2,

    A^T f = Re F^H (m f),        A^T A = F^H m~ F,        singular values sqrt(m~) in {0, sqrt(1/2), 1}.

A A^T f = m . (m f + conj (m f)[-.]) / 2 is an orthogonal projection if and only if the pattern is symmetric, m[-k] =
m[k]; it then is P_Lambda on data of real pictures, those with f[-k] = conj f[k], but not on all data: noise is not of
this form. A frequency sampled without its opposite counts half in A^T A. A picture with a phase, as a receiver coil
records it, is complex: then A^T A = F^H m F, and A A^T = P_Lambda for every pattern.

Patterns: `radial_pattern`, `cartesian_pattern`, `random_pattern`.

Paper: (1.1).  Notebooks: 01, 04.
"""

from __future__ import annotations

from math import cos, pi, sin

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from companion.operators.checks import check_picture
from companion.operators.linear import LinearOperator, check_rho
from companion.operators.measure import zero_one


def to_complex(f: Float[Tensor, "*shape"], dim: int = 2) -> Tensor:
    """f_0 + i f_1: real (*batch, 2, *space), with `dim` space axes, as complex (*batch, *space)."""
    if f.is_complex() or f.ndim <= dim or f.shape[-dim - 1] != 2:
        raise ValueError(
            f"Complex numbers are held as real tensors with an axis of length 2 before the {dim} space axes, real and "
            f"imaginary part; got {f.dtype} of shape {tuple(f.shape)}. to_real(z, dim) makes such a tensor."
        )
    return torch.complex(*f.unbind(-dim - 1))


def to_real(z: Tensor, dim: int = 2) -> Float[Tensor, "*shape"]:
    """(Re z, Im z): complex (*batch, *space), with `dim` space axes, as real (*batch, 2, *space); Im z = 0 if z is
    real.

    >>> to_real(torch.tensor([3 + 4j]), dim=1)
    tensor([[3.],
            [4.]])
    """
    return torch.stack((z.real, z.imag if z.is_complex() else torch.zeros_like(z)), -dim - 1)


class PartialFourier(LinearOperator):
    r"""A u = m . F u, the unitary Fourier transform where m = 1, zero elsewhere.   (1.1)

    mask   m of the picture's shape, (*space): bool, or numbers 0 and 1; frequency 0 at index 0, as `torch.fft` has it
    dim    number of space axes: 1, 2 or 3
    phase  False: real pictures,    (*batch, *space)    -> (*batch, 2, *space)
           True:  complex pictures, (*batch, 2, *space) -> (*batch, 2, *space)

    Raises ValueError for an empty pattern, a pattern or a picture of another shape, data without the axis of 2;
    TypeError for complex tensors: `to_real` makes real ones of them.
    """

    m: Tensor

    def __init__(self, mask: Tensor, dim: int = 2, phase: bool = False):
        super().__init__()
        m = zero_one(mask, "sampling pattern", "frequency")
        if dim not in (1, 2, 3) or m.ndim != dim:
            raise ValueError(
                f"A sampling pattern has the picture's dim = 1, 2 or 3 axes, without batch; got shape {tuple(m.shape)} "
                f"with dim={dim}."
            )
        self.register_buffer("m", m)
        self.dim, self.phase, self.tight = dim, phase, bool(m.all())

    def forward(self, u: Float[Tensor, "*picture"]) -> Float[Tensor, "*data"]:
        return self._data(self._transform(self._picture(u)) * self.m)

    def adjoint(self, f: Float[Tensor, "*data"]) -> Float[Tensor, "*picture"]:
        """A^T f = Re F^H (m f), or F^H (m f) for pictures with a phase."""
        u = self._transform(self._spectrum(f) * self.m, inverse=True)
        return self._data(u) if self.phase else u.real

    def restrict(self, f: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """P_Lambda f = m f: the data, zero where no frequency is sampled."""
        self._spectrum(f)
        return f * self.m

    def weight(self) -> Tensor:
        """m~ = (m + m[-.]) / 2, or m for pictures with a phase: A^T A = F^H m~ F.  float64."""
        axes = tuple(range(self.dim))
        opposite = self.m if self.phase else self.m.flip(axes).roll((1,) * self.dim, axes)
        return (self.m.double() + opposite.double()) / 2

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """max sqrt(m~): 1, or sqrt(1/2) where no frequency is sampled together with its opposite."""
        return self.weight().max().sqrt().to(like)

    def normal_solve(
        self, v: Float[Tensor, "*shape"], rho: float | Tensor, tol: float | None = None, k: int = 1000
    ) -> Tensor:
        """F^H (m~ + rho)^{-1} F v: one division in the Fourier domain; rho > 0 unless every frequency is known."""
        check_rho(rho)
        weight = self.weight() + rho
        if rho == 0 and not bool(weight.min() > 0):
            raise ValueError(
                f"The pattern leaves frequencies unknown, so (A^T A + rho I)^{{-1}} needs rho > 0; got rho={rho}."
            )
        u = self._transform(self._transform(self._picture(v)) / weight.to(v.dtype), inverse=True)
        return self._data(u) if self.phase else u.real

    def singular_values(self, like: Tensor) -> Float[Tensor, "r"]:
        """sqrt(m~), sorted; each twice for pictures with a phase, which have twice as many numbers."""
        self._picture(like)
        return self.weight().sqrt().to(like).expand(like.shape).flatten().sort(descending=True).values

    def _transform(self, z: Tensor, inverse: bool = False) -> Tensor:
        """F z or F^H z, complex."""
        if not z.numel():
            return z if z.is_complex() else torch.complex(z, z)  # an empty batch
        return (torch.fft.ifftn if inverse else torch.fft.fftn)(z, dim=tuple(range(-self.dim, 0)), norm="ortho")

    def _picture(self, u: Tensor) -> Tensor:
        """u, checked; complex if it has a phase."""
        self._check(u, "u", self.dim + self.phase)
        return to_complex(u, self.dim) if self.phase else u

    def _spectrum(self, f: Tensor) -> Tensor:
        """f, checked, as complex numbers."""
        self._check(f, "f", self.dim)
        return to_complex(f, self.dim)

    def _data(self, z: Tensor) -> Tensor:
        return to_real(z, self.dim)

    def _check(self, u: Tensor, name: str, rank: int) -> None:
        if isinstance(u, Tensor) and u.is_complex():
            raise TypeError(
                f"{name} is held as a real tensor with an axis of length 2 for real and imaginary part; got {u.dtype}. "
                f"Use to_real({name}), and PartialFourier(..., phase=True) if the picture itself is complex."
            )
        check_picture(u, name, rank, self.m.device)
        if u.shape[-self.dim :] != self.m.shape:
            raise ValueError(
                f"The sampling pattern has shape {tuple(self.m.shape)}, so the last axes of {name} must too; got shape "
                f"{tuple(u.shape)}."
            )

    def extra_repr(self) -> str:
        share = self.m.double().mean().item() if self.m.device.type != "meta" else float("nan")
        return f"{'x'.join(map(str, self.m.shape))}, {share:.1%} sampled, phase={self.phase}"


def radial_pattern(n: int, lines: int) -> Bool[Tensor, "n n"]:
    r"""{round(t (cos theta_j, sin theta_j) / max(|cos|, |sin|))}, theta_j = pi j / lines: lines through frequency 0.

    n      the pattern is n x n, in FFT order
    lines  >= 1, at equal angles; each goes from border to border, one frequency for each step along its longer axis

    Symmetric, m[-k] = m[k]. Raises ValueError unless n >= 1 and lines >= 1.
    """
    _check_size(n)
    if lines < 1:
        raise ValueError(f"A radial pattern needs lines >= 1 through frequency 0; got lines={lines}.")
    m = torch.zeros(n, n, dtype=torch.bool)
    t = torch.arange(-(n // 2), n // 2 + 1, dtype=torch.float64)
    ends = [(cos(pi * j / lines), sin(pi * j / lines)) for j in range(lines)]
    slopes = torch.tensor([[a / max(abs(a), abs(b)), b / max(abs(a), abs(b))] for a, b in ends], dtype=torch.float64)
    k1, k2 = (slopes.T[:, :, None] * t).round().long() % n
    m[k1, k2] = True
    return m


def cartesian_pattern(
    n: int, acceleration: float | int, centre: float | int = 0.08, seed: int = 0
) -> Bool[Tensor, "n n"]:
    r"""round(n / acceleration) whole rows k_1 = const: a central share of the n rows, the others at random.

    n             the pattern is n x n, in FFT order; a row is one phase encoding of a scanner, along axis -1
    acceleration  >= 1: how many times fewer rows than n
    centre        share of the n rows next to frequency 0 that are all sampled, at least the row of frequency 0
    seed          the same seed gives the same rows everywhere

    Raises ValueError for acceleration < 1, centre outside [0, 1], or more central rows than rows in all.
    """
    _check_size(n)
    if not acceleration >= 1:
        raise ValueError(f"The acceleration is the factor n / rows >= 1; got {acceleration}. 4 samples a quarter.")
    if not 0 <= centre <= 1:
        raise ValueError(
            f"centre is the share of rows that are all sampled about frequency 0, in [0, 1]; got {centre}."
        )
    rows, central = round(n / acceleration), max(1, round(centre * n))
    if central > rows:
        raise ValueError(
            f"round(n / acceleration) = {rows} rows hold no centre of {central} rows; got n={n}, "
            f"acceleration={acceleration}, centre={centre}. Lower the acceleration or the centre."
        )
    score = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    frequency = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    score[(frequency.abs() - (frequency > 0) * 0.5).argsort()[:central]] = -1.0  # 0, 1, -1, 2, -2, ...
    m = torch.zeros(n, n, dtype=torch.bool)
    m[score.argsort()[:rows]] = True
    return m


def random_pattern(n: int, fraction: float | int, decay: float | int = 2.0, seed: int = 0) -> Bool[Tensor, "n n"]:
    r"""round(fraction n^2) frequencies drawn without replacement, with weights (1 + |k|)^{-decay}, and frequency 0.

    n         the pattern is n x n, in FFT order
    fraction  in (0, 1], of all frequencies; at least one is sampled
    decay     >= 0: 0 is uniform, more crowds the low frequencies, where pictures have their energy
    seed      the same seed gives the same pattern everywhere

    Drawn as a race: k is reached after an exponential time of rate (1 + |k|)^{-decay}, and the first ones are sampled.
    Raises ValueError for fraction outside (0, 1] or decay < 0.
    """
    _check_size(n)
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is the share of frequencies that are sampled, in (0, 1]; got {fraction}.")
    if not 0 <= decay < float("inf"):
        raise ValueError(f"The density (1 + |k|)^(-decay) needs a finite decay >= 0; got {decay}. 0 is uniform.")
    k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    uniform = torch.rand(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    time = -torch.log1p(-uniform) * (1 + torch.hypot(k[:, None], k)) ** decay
    time[0, 0] = -1.0
    m = torch.zeros(n * n, dtype=torch.bool)
    m[time.flatten().argsort()[: max(1, round(fraction * n * n))]] = True
    return m.reshape(n, n)


def _check_size(n: int) -> None:
    if n < 1:
        raise ValueError(f"A sampling pattern is n x n with n >= 1; got n={n}.")
