r"""f = A u + eta: how a picture is measured.   (1.1)

    Identity    A u = u                              denoising
    Blur        (A u)[n] = sum_k a[k] u[n - k]       deblurring: a is the picture of a point source
    Mask        (A u)[n] = m[n] u[n]                 inpainting: m = 1 where a pixel is known, 0 where it is not

`PartialFourier` (fourier.py) and `Radon` (radon.py) are the measurements of MRI and CT; noise.py has the noise. Each A
knows its norm, its singular values and its least-squares step (A^T A + rho I)^{-1} v in closed form where there is one:
pointwise for a mask, by the Fourier transform for a periodic blur.

Paper: (1.1).  Notebooks: 00, 01.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from companion.operators.checks import check_picture
from companion.operators.grid import check_boundary, correlate, correlate_adjoint
from companion.operators.kept import Kept
from companion.operators.linear import LinearOperator, check_rho


class Identity(LinearOperator):
    """A u = u: what denoising measures.   (1.1)"""

    tight = True

    def forward(self, u: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        return u

    def adjoint(self, f: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        return f

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """||I|| = 1."""
        return torch.ones((), dtype=like.dtype, device=like.device)

    def normal_solve(
        self, v: Shaped[Tensor, "*shape"], rho: float | Tensor, tol: float | None = None, k: int = 1000
    ) -> Tensor:
        """v / (1 + rho)."""
        check_rho(rho)
        return v / (1 + rho)


def zero_one(m: Tensor, name: str, entry: str) -> Tensor:
    """m as bools; raises unless it is a tensor of zeros and ones, not all zero. `name` and `entry` are for the message,
    as in: a mask must know at least one pixel.
    """
    if not isinstance(m, Tensor):
        raise TypeError(
            f"A {name} is a torch tensor of 0 (unknown) and 1 (known) or of bools; got a {type(m).__name__}."
        )
    grey = m[(m != 0) & (m != 1)]
    if grey.numel():
        raise ValueError(
            f"A {name} is a tensor of 0 (unknown) and 1 (known), or of bools; this one has the value "
            f"{grey[0].item():.3g}. Use m > threshold to make one."
        )
    if not bool(m.any()):
        raise ValueError(f"A {name} must know at least one {entry}; all {m.numel()} entries are 0.")
    return m.bool()


class Mask(LinearOperator):
    r"""(A u)[n] = m[n] u[n], m in {0, 1}: the restriction P_Lambda of inpainting, zero where nothing is known.   (1.1)

    m   known pixels: bool, or numbers 0 and 1, of the picture's shape (it broadcasts over the batch)

    A is an orthogonal projection: A^T = A = A^2.
    """

    m: Tensor

    def __init__(self, m: Tensor):
        super().__init__()
        self.register_buffer("m", zero_one(m, "mask", "pixel"))

    def forward(self, u: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        check_picture(u, "u", self.m.ndim, self.m.device)
        if u.shape[-self.m.ndim :] != self.m.shape:
            raise ValueError(
                f"The mask has shape {tuple(self.m.shape)}, so the last axes of u must too; got shape {tuple(u.shape)}."
            )
        return u * self.m

    def adjoint(self, f: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """A^T = A."""
        return self.forward(f)

    def restrict(self, f: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """P_Lambda f = m f = A f."""
        return self.forward(f)

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """||A|| = 1: a projection that is not zero."""
        return torch.ones((), dtype=like.dtype, device=like.device)

    def normal_solve(
        self, v: Shaped[Tensor, "*shape"], rho: float | Tensor, tol: float | None = None, k: int = 1000
    ) -> Tensor:
        """v[n] / (m[n] + rho), pixel by pixel; rho > 0."""
        check_rho(rho)
        if rho == 0 and not bool(self.m.all()):
            raise ValueError(f"A^T A = diag(m) has zeros, so (A^T A + rho I)^{{-1}} needs rho > 0; got rho={rho}.")
        return v / (self.m.to(v.dtype) + rho)

    def singular_values(self, like: Tensor) -> Float[Tensor, "r"]:
        """m, sorted: as many ones as pixels are known, then zeros."""
        return self.m.to(like.dtype).expand(like.shape).flatten().sort(descending=True).values


class Blur(LinearOperator):
    r"""(A u)[n] = sum_k a[k] u[n - k], a convolution with the picture a of a point source.   (1.1)

    kernel    a, of dimension d = 1, 2 or 3, any size not larger than the picture; `gaussian_kernel` makes one
    boundary  "periodic": by the Fourier transform, exactly diagonal; or "reflect": tap by tap
    origin    index k of the first entry; default: odd sizes are centred at 0, even ones at 1/2

    The last d axes are the picture. Raises ValueError for a kernel larger than the picture.
    """

    kernel: Tensor

    def __init__(self, kernel: Tensor, boundary: str = "periodic", origin: Sequence[int] | None = None):
        super().__init__()
        check_boundary(boundary)
        check_picture(kernel, "kernel", 1)
        self.register_buffer("kernel", kernel.detach().clone())
        self.boundary, self.dim = boundary, kernel.ndim
        if origin is not None and len(origin) != kernel.ndim:
            raise ValueError(
                f"The origin of a {kernel.ndim}-dimensional kernel has {kernel.ndim} indices; got {origin}."
            )
        self._symbol = Kept()
        self.origin = tuple(origin) if origin is not None else tuple(-((n - 1) // 2) for n in kernel.shape)

    def forward(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        self._check(u)
        if self.boundary == "periodic":
            return self._filter(u, self.symbol(u))
        q = self.kernel.to(u.dtype).flip(tuple(range(self.dim)))  # a convolution is a correlation with a[-.]
        return correlate(u, q, self._flipped(), self._space(), boundary=self.boundary)

    def adjoint(self, f: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """A^T f: the correlation with a, folded at the border."""
        self._check(f)
        if self.boundary == "periodic":
            return self._filter(f, self.symbol(f).conj())
        q = self.kernel.to(f.dtype).flip(tuple(range(self.dim)))
        return correlate_adjoint(f, q, self._flipped(), self._space(), boundary=self.boundary)

    def symbol(self, like: Tensor) -> Tensor:
        r"""a^(w_j) = sum_k a[k] e^{-i k.w_j} at the frequencies of `torch.fft.rfftn`: the eigenvalues of the periodic
        A.
        """
        return self._symbol(
            lambda: torch.fft.rfftn(self._point(like)),
            self.kernel,
            key=(like.shape, like.dtype, like.device, self.origin),
        )

    def norm(self, like: Tensor, k: int = 200, tol: float = 1e-6) -> Tensor:
        """||A|| = max |a^| if periodic, else by power iteration."""
        return self.symbol(like).abs().max() if self.boundary == "periodic" else super().norm(like, k, tol)

    def normal_solve(
        self, v: Float[Tensor, "*shape"], rho: float | Tensor, tol: float | None = None, k: int = 1000
    ) -> Tensor:
        """(|a^|^2 + rho)^{-1} v^ if periodic, one division in the Fourier domain, else by conjugate gradients."""
        if self.boundary != "periodic":
            return super().normal_solve(v, rho, tol, k)
        check_rho(rho)
        eigenvalues = self.symbol(v).abs().square() + rho
        rounding = torch.finfo(v.dtype).eps ** 2
        if rho <= rounding and bool(eigenvalues.min() <= rounding * eigenvalues.max()):
            raise ValueError(
                f"The blur annihilates a frequency, so (A^T A + rho I)^{{-1}} needs rho > 0; got rho={rho}."
            )
        return self._filter(v, 1 / eigenvalues)

    def singular_values(self, like: Tensor) -> Float[Tensor, "r"]:
        """|a^(w_j)| at all frequencies, sorted, if periodic: A is diagonal in the Fourier basis; else by `svd`."""
        if self.boundary != "periodic":
            return super().singular_values(like)
        return torch.fft.fftn(self._point(like)).abs().expand(like.shape).flatten().sort(descending=True).values

    def _point(self, like: Tensor) -> Tensor:
        """A delta_0: the kernel, wrapped around the first pixel."""
        a = like.new_zeros(like.shape[-self.dim :])
        a[tuple(slice(n) for n in self.kernel.shape)] = self.kernel.to(like.dtype)
        return torch.roll(a, self.origin, self._space())

    def _filter(self, u: Tensor, symbol: Tensor) -> Tensor:
        if not u.numel():
            return u  # an empty batch
        return torch.fft.irfftn(
            torch.fft.rfftn(u, dim=self._space()) * symbol, s=u.shape[-self.dim :], dim=self._space()
        )

    def _flipped(self) -> list[int]:
        return [-(o + n - 1) for o, n in zip(self.origin, self.kernel.shape, strict=True)]

    def _space(self) -> tuple[int, ...]:
        return tuple(range(-self.dim, 0))

    def _check(self, u: Tensor) -> None:
        check_picture(u, "u", self.dim, self.kernel.device)
        if any(n > N for n, N in zip(self.kernel.shape, u.shape[-self.dim :], strict=True)):
            raise ValueError(
                f"The blur kernel {tuple(self.kernel.shape)} is larger than the picture {tuple(u.shape[-self.dim :])}."
            )


def gaussian_kernel(sigma: float, dim: int = 2, radius: int | None = None) -> Tensor:
    r"""a[k] = exp(-|k|^2 / (2 sigma^2)) / sum, |k_i| <= radius: a blur kernel of standard deviation sigma, in pixels.

    radius defaults to ceil(4 sigma). float64, of shape (2 radius + 1,) * dim; its sum is 1. Raises ValueError unless
    sigma > 0.
    """
    if not 0 < sigma < float("inf"):
        raise ValueError(f"The standard deviation sigma of a blur is a finite length > 0 in pixels; got {sigma}.")
    radius = int(torch.tensor(4.0 * sigma).ceil()) if radius is None else radius
    k = torch.arange(-radius, radius + 1, dtype=torch.float64)
    line = torch.exp(-(k**2) / (2 * sigma**2))
    a = functools.reduce(lambda a, b: a[..., None] * b, [line] * dim)
    return a / a.sum()
