r"""u_t = div(D(J_rho(grad u_sigma)) grad u): diffusion that turns with the picture.   Section 3, [161]

The structure tensor J_rho averages the directions of grad u_sigma over a neighbourhood of size rho. It has eigenvalues
mu_1 >= mu_2 >= 0: mu_1 along n, across the edges, mu_2 along t = n-perp. D has the same eigenvectors and other
eigenvalues:

    D = across(mu_1, mu_2) n n^T + along(mu_1, mu_2) t t^T

    EdgeEnhancing         across = g(mu_1), along = 1                             noise goes, at edges too; edges stay
    CoherenceEnhancing    across = alpha, along = alpha + (1 - alpha) e^{-(contrast^2/(mu_1 - mu_2))^2}     lines close

Weickert's EED and CED. Both eigenvalues lie in [0, 1], so that max_dt is the stencil's `limit` times h^2. The stencil
(operators/stencils.py) decides about the extrema: `Selling()` keeps them, `ThreeByThree()` and `Scharr()` promise
nothing. The border reflects; the mean is kept by all three.

Paper: Section 3 ([161]).  Notebook: 06.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from companion.flows.field import Field
from companion.operators.checks import check_picture
from companion.operators.derivatives import check_grid_step
from companion.operators.lattice import entries
from companion.operators.smoothing import gaussian_smooth
from companion.operators.stencils import Selling, Stencil, scharr_gradient


def structure_tensor(
    u: Float[Tensor, "*batch H W"],
    sigma: float = 0.0,
    rho: float = 0.0,
    h: float = 1.0,
    gradient: Callable[[Tensor, float], Tensor] = scharr_gradient,
    boundary: str = "reflect",
) -> Float[Tensor, "*batch 2 2 H W"]:
    r"""J_rho = G_rho * (grad u_sigma grad u_sigma^T),  u_sigma = G_sigma * u.

    sigma     the noise scale, rho the integration scale, both in the unit of h; rho = 0 gives grad u grad u^T itself
    gradient  (u, h) -> (*batch, 2, H, W), by default Scharr's filters
    boundary  of both smoothings; "reflect" continues each entry of J_rho evenly, so that lines keep their direction at
              the border. (A picture of twice the size, made of mirror images, has a J_12 of the other sign there.)

    mu_1 - mu_2 says how much of one direction there is, mu_1 + mu_2 = G_rho * |grad u_sigma|^2 how much of any.

    >>> J = structure_tensor(torch.arange(5.0).expand(5, 5), h=0.5)   # u = x_2 / h: grad u = (0, 2)
    >>> J[..., 2, 2]
    tensor([[0., 0.],
            [0., 4.]])
    """
    check_picture(u, "u", 2)
    d = gradient(gaussian_smooth(u, sigma, h, 2, boundary), h)
    return gaussian_smooth(d.unsqueeze(-4) * d.unsqueeze(-3), rho, h, 2, boundary)


def coherence(J: Float[Tensor, "*batch 2 2 H W"]) -> tuple[Tensor, Tensor, Float[Tensor, "*batch 2 2 H W"]]:
    r"""mu_1, mu_2 and N = n n^T - t t^T: J = (mu_1 + mu_2)/2 I + (mu_1 - mu_2)/2 N, at each pixel.

    N = (cos 2 theta, sin 2 theta; sin 2 theta, -cos 2 theta), n = (cos theta, sin theta); N = 0 where mu_1 = mu_2 and
    there is no direction. Gradients are finite everywhere.
    """
    a, b, c = entries(J)
    tiny = torch.finfo(J.dtype).tiny
    half = ((a - c).square() / 4 + b.square()).clamp_min(tiny).sqrt()
    cosine, sine = (a - c) / 2 / half, b / half
    flat = half <= tiny**0.5
    half = torch.where(flat, 0.0, half)
    return (a + c) / 2 + half, (a + c) / 2 - half, _matrix(cosine, sine, -cosine)


def diffusion_tensor(
    J: Float[Tensor, "*batch 2 2 H W"], eigenvalues: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> Float[Tensor, "*batch 2 2 H W"]:
    """D = across(mu_1, mu_2) n n^T + along(mu_1, mu_2) t t^T; n, t and mu_1 >= mu_2 are those of J."""
    mu1, mu2, N = coherence(J)
    across, along = eigenvalues(mu1, mu2)
    mean, half = (across + along) / 2, (across - along) / 2
    return _matrix(mean, torch.zeros_like(mean), mean) + half[..., None, None, :, :] * N


class TensorDiffusion(Field):
    r"""u_t = div(D grad u), D = across(mu_1, mu_2) n n^T + along(mu_1, mu_2) t t^T; n n^T from J_rho(grad u_sigma).

    eigenvalues  (mu_1, mu_2) -> (across, along), tensors with values in [0, 1]; (g(mu_1), g(mu_1)) with sigma = rho = 0
                 is Perona-Malik, D = g I
    sigma, rho   the scales of the structure tensor, in the unit of h
    stencil      Selling() by default, ThreeByThree() or Scharr()

    Pictures are two-dimensional. Raises ValueError for h <= 0 and, with Selling, for an eigenvalue below 0.
    """

    keeps_mean = True

    def __init__(
        self,
        eigenvalues: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        sigma: float = 0.0,
        rho: float = 0.0,
        h: float = 1.0,
        stencil: Stencil | None = None,
    ):
        super().__init__()
        check_grid_step(h)
        self.eigenvalues = eigenvalues
        self.sigma, self.rho, self.h = float(sigma), float(rho), float(h)
        self.stencil = Selling() if stencil is None else stencil
        self.maximum_principle = self.stencil.maximum_principle

    @property
    def max_dt(self) -> float:
        """limit h^2: h^2/4 with edges, 1.98 h^2 with Scharr's filters."""
        return self.stencil.limit * self.h**2

    def tensor(self, u: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch 2 2 H W"]:
        """D(J_rho(grad u_sigma))."""
        stencil = self.stencil
        J = structure_tensor(u, self.sigma, self.rho, self.h, stencil.gradient, stencil.boundary)
        return diffusion_tensor(J, self.eigenvalues)

    def frozen(self, u: Float[Tensor, "*batch H W"]) -> Callable[[Tensor], Tensor]:
        """L(u): v -> div(D(u) grad v), linear in v; F(u) = L(u) u."""
        return self.stencil.frozen(self.tensor(u), self.h)

    def forward(self, u: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
        check_picture(u, "u", 2)
        return self.stencil.divergence(self.tensor(u), u, self.h)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma:g}, rho={self.rho:g}, h={self.h:g}, stencil={self.stencil!r}"


class EdgeEnhancing(TensorDiffusion):
    r"""across = g(mu_1), along = 1: EED. With rho = 0, mu_1 = |grad u_sigma|^2.

    g      a diffusivity of s = |grad u_sigma|^2, such as `FastDecay(contrast)`
    sigma  > 0, the noise scale: with sigma = 0 the flow is ill-posed as Perona-Malik is

    At an edge it still diffuses along the edge, where Perona-Malik stops altogether and leaves the noise.
    """

    def __init__(
        self,
        g: Callable[[Tensor], Tensor],
        sigma: float = 1.0,
        rho: float = 0.0,
        h: float = 1.0,
        stencil: Stencil | None = None,
    ):
        super().__init__(lambda mu1, mu2: (g(mu1.clamp_min(0)), torch.ones_like(mu1)), sigma, rho, h, stencil)
        self.g = g


class CoherenceEnhancing(TensorDiffusion):
    r"""across = alpha, along = alpha + (1 - alpha) e^{-(contrast^2 / (mu_1 - mu_2))^2}: CED.

    contrast  in the unit of |grad u|: directions with mu_1 - mu_2 well above contrast^2 diffuse. Weickert's C is
              contrast^4, with C = 1 for grey values up to 255 and h = 1
    rho       the integration scale, larger than the width of the lines; sigma, the noise scale, smaller
    alpha     in (0, 1): the diffusion everywhere else; 1/alpha bounds the condition number of D

    Raises ValueError unless contrast > 0 and 0 < alpha < 1.
    """

    def __init__(
        self,
        contrast: float,
        sigma: float = 0.5,
        rho: float = 4.0,
        alpha: float = 1e-3,
        h: float = 1.0,
        stencil: Stencil | None = None,
    ):
        if not contrast > 0 or not 0 < alpha < 1:
            raise ValueError(
                "Coherence-enhancing diffusion needs contrast > 0, a length of grad u, and 0 < alpha < 1, the diffusion"
                f" where nothing is coherent; got contrast={contrast}, alpha={alpha}."
            )

        def eigenvalues(mu1: Tensor, mu2: Tensor) -> tuple[Tensor, Tensor]:
            z = ((mu1 - mu2) / contrast**2).clamp_min(
                0.01
            )  # below it the exponential is 0 and its derivative no number
            return torch.full_like(mu1, alpha), alpha + (1 - alpha) * torch.exp(-z.pow(-2))

        super().__init__(eigenvalues, sigma, rho, h, stencil)
        self.contrast, self.alpha = float(contrast), float(alpha)


def _matrix(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """(a b; b c): (*batch, 2, 2, H, W)."""
    return torch.stack([torch.stack([a, b], -3), torch.stack([b, c], -3)], -4)
