r"""(A u)(theta, s) = integral of u along the line x cos(theta) + y sin(theta) = s: what a scanner measures.   (1.1)

The picture is piecewise constant: n x n pixels of side h = 2/n fill the square [-1, 1]^2, x to the right (axis -1) and
y upwards, so that axis -2 runs downwards. Each of the angles theta gives one row of detectors of width h, which see the
mean of the line integrals over a strip of width h:

    (A u)[theta, k] = 1/h * integral of u over |x cos(theta) + y sin(theta) - s_k| < h/2,    s_k = (k - (D-1)/2) h.

The area that a pixel shares with a strip is known in closed form (`_share`), so the rows of A are exact, and every row
of detectors that covers the picture carries its whole mass: h sum_k (A u)[theta, k] = h^2 sum u. The units are grey
value x length. At theta = 0 the lines are the columns of the picture, at theta = 90 its rows, the lowest first.

The symmetries of the square carry every angle into [0, 45] degrees (`_FOLDS`). So A is a small sparse matrix M, applied
to four pictures at once, followed by a choice of rows: A = P M S, and A^T = S^T M^T P^T with M^T stored beside M.

scikit-image: h `radon(u, theta, circle=False)` has the same angles and orientation, and interpolates where A
integrates. It turns about the centre of pixel (n//2, n//2), which is that of the picture for odd n only. So
`iradon(f.T / h, A.angles, output_size=n, circle=False)` takes our data if n is odd; if n is even, it takes the values
of row theta at the positions A.s + (cos(theta) - sin(theta) - 1) h/2.

Paper: (1.1).  Notebooks: 01, 04.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import ceil, radians, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from companion.operators.checks import check_picture
from companion.operators.linear import LinearOperator

_DIGITS = 11  # two folded angles in degrees that agree to so many digits after the point are one
_FOLDS: tuple[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]], ...] = (
    # of (n, n, *batch): a picture v whose projection at phi in [0, 45] is that of u at theta; and u from v
    (lambda u: u, lambda v: v),  # theta = phi
    (lambda u: u.flip(0, 1).transpose(0, 1), lambda v: v.flip(0, 1).transpose(0, 1)),  # 90 - phi: x and y swapped
    (lambda u: u.rot90(-1, (0, 1)), lambda v: v.rot90(1, (0, 1))),  # 90 + phi: a quarter turn
    (lambda u: u.flip(1), lambda v: v.flip(1)),  # 180 - phi: x mirrored
)


class Radon(LinearOperator):
    r"""(A u)[theta, k] = sum_p |pixel p and strip (theta, k)| u[p] / h: parallel-beam projections of a picture.   (1.1)

    n          the picture is n x n, with pixels of side h = 2/n
    angles     theta in degrees, in any order: a list or a 1-d tensor; or an integer K: K of them, 180 i/K
    detectors  D >= 1; default: the smallest D >= sqrt(2) n + 1 of n's parity, which covers the picture at every angle,
               and whose strips at theta = 0 are the columns. A smaller D measures truncated data: what lies outside
               the central strips is not seen.

    (*batch, n, n) -> (*batch, angles, D). A.angles (degrees) and A.s (positions s_k) are float64 on the CPU, A.h is a
    number. M and M^T are built at the first use in a type and on a device, and kept; half precision computes in
    float32. For n = 128 and 60 angles both take 10 MB in float32, for n = 256 40 MB. There is no closed form for the
    norm and the least-squares step: power iteration and conjugate gradients.

    Raises ValueError unless n >= 1, D >= 1, there are angles, all finite, and the picture is n x n.

    >>> A = Radon(4, [0.0, 90.0], detectors=4)
    >>> A(torch.arange(16.0).reshape(4, 4)).tolist()
    [[12.0, 14.0, 16.0, 18.0], [27.0, 19.0, 11.0, 3.0]]
    """

    def __init__(self, n: int, angles: int | Sequence[int | float] | Tensor, detectors: int | None = None):
        super().__init__()
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"The picture is n x n with an integer n >= 1; got n={n!r}.")
        if isinstance(angles, int):
            angles = [180.0 * i / angles for i in range(angles)]
        theta = torch.as_tensor(angles, dtype=torch.float64, device="cpu").detach().clone()
        if theta.ndim != 1 or not theta.numel():
            raise ValueError(
                "The projections need at least one angle: a list or 1-d tensor of degrees, or the number K >= 1 of "
                f"angles 180 i/K; got a shape of {tuple(theta.shape)}."
            )
        if not bool(theta.isfinite().all()):
            raise ValueError(f"Angles are finite numbers of degrees; got {theta[~theta.isfinite()][0].item()}.")
        if detectors is None:
            detectors = ceil(sqrt(2) * n + 1)
            detectors += (detectors - n) % 2
        if not isinstance(detectors, int) or detectors < 1:
            raise ValueError(f"A projection is measured by an integer number D >= 1 of detectors; got {detectors!r}.")
        self.n, self.h, self.angles, self.detectors = n, 2 / n, theta, detectors
        self.s = (torch.arange(detectors, dtype=torch.float64) - (detectors - 1) / 2) * self.h
        self._matrices: dict[tuple[torch.dtype, torch.device], _Matrices] = {}

    def forward(self, u: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch angles detectors"]:
        check_picture(u, "u", 2)
        if u.shape[-2:] != (self.n, self.n):
            raise ValueError(
                f"This operator projects {self.n} x {self.n} pixels; got shape {tuple(u.shape)}. Use Radon(n, angles)."
            )
        batch, shape = u.shape[:-2], (len(self.angles), self.detectors)
        if u.is_meta:
            return u.new_empty(*batch, *shape)
        M, M_T, place = self._matrix(u)
        v = u.to(M.dtype).reshape(-1, self.n, self.n).movedim(0, -1)  # the batch becomes columns
        v = torch.stack([fold(v) for fold, _ in _FOLDS], 2).reshape(self.n**2, -1)
        f = _Product.apply(v, M, M_T).reshape(4 * M.shape[0], -1).index_select(0, place)
        return f.T.reshape(*batch, *shape).to(u.dtype)

    def adjoint(self, f: Float[Tensor, "*batch angles detectors"]) -> Float[Tensor, "*batch n n"]:
        """A^T f: back projection, which smears every measured value over its strip."""
        check_picture(f, "f", 2)
        batch, shape = f.shape[:-2], (len(self.angles), self.detectors)
        if f.shape[-2:] != shape:
            raise ValueError(f"The last axes of f are (angles, detectors) = {shape}; got shape {tuple(f.shape)}.")
        if f.is_meta:
            return f.new_empty(*batch, self.n, self.n)
        M, M_T, place = self._matrix(f)
        g = f.to(M.dtype).reshape(-1, place.numel()).T
        g = g.new_zeros(4 * M.shape[0], g.shape[1]).index_add(0, place, g).reshape(M.shape[0], -1)
        v = _Product.apply(g, M_T, M).reshape(self.n, self.n, 4, -1)
        u = torch.stack([unfold(v[:, :, i]) for i, (_, unfold) in enumerate(_FOLDS)]).sum(0)
        return u.movedim(-1, 0).reshape(*batch, self.n, self.n).to(f.dtype)

    def __getstate__(self) -> dict:
        """A copy builds its own matrices: PyTorch does not copy sparse ones."""
        return {**self.__dict__, "_matrices": {}}

    def extra_repr(self) -> str:
        return f"n={self.n}, angles={len(self.angles)}, detectors={self.detectors}"

    def _matrix(self, like: Tensor) -> _Matrices:
        """M, M^T and the rows to choose, in the type and on the device of `like`; built once."""
        dtype = like.dtype if like.dtype in (torch.float32, torch.float64) else torch.float32
        key = dtype, like.device
        if key not in self._matrices:
            with torch.inference_mode(False), torch.no_grad():
                phi, place = _fold(self.angles, self.detectors)
                M, M_T = _strips(self.n, phi, self.detectors, dtype)
                self._matrices[key] = _Matrices(M.to(like.device), M_T.to(like.device), place.to(like.device))
        return self._matrices[key]


class _Matrices(NamedTuple):
    """M (angles phi x detectors, pixels) and M^T, both by rows, and which rows of M S make up A."""

    M: Tensor
    M_T: Tensor
    place: Tensor


class _Product(torch.autograd.Function):
    """M x for a constant sparse M, whose derivative is M^T g, whose derivative is M: differentiable at every order."""

    @staticmethod
    def forward(ctx, x: Tensor, M: Tensor, M_T: Tensor) -> Tensor:
        ctx.pair = M_T, M
        return M @ x

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(g, *ctx.pair), None, None


def _fold(angles: Tensor, detectors: int) -> tuple[Tensor, Int[Tensor, "rows"]]:
    r"""theta = phi, 90 - phi, 90 + phi or 180 - phi (+ 180, which mirrors s): the phi, and the rows of M S that are A.

    Row ((i D + k) 4 + fold) of M S, with its columns laid out as (fold, batch), is strip k at phi_i of that fold.
    """
    half = torch.floor(angles / 180)
    theta, mirrored = angles - 180 * half, half % 2 == 1
    fold = (theta > 45).long() + (theta > 90) + (theta > 135)
    phi = torch.stack([theta, 90 - theta, theta - 90, 180 - theta])[fold, torch.arange(len(theta))]
    phi, i = torch.unique(phi.round(decimals=_DIGITS).clamp_min(0), return_inverse=True)
    k = torch.arange(detectors)
    k = torch.where(mirrored[:, None], k.flip(0), k)
    return phi, ((i[:, None] * detectors + k) * 4 + fold[:, None]).flatten()


def _strips(n: int, phi: Tensor, detectors: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    r"""M[(phi, k), p] = |pixel p and strip (phi, k)| / h for phi in [0, 45] degrees, and M^T, as sparse rows (CSR).

    A pixel's shadow is at most sqrt(2) h wide and meets at most three strips: M^T has a short row for each pixel, and
    is written down row by row of the picture; M is its transpose.
    """
    c, s = torch.cos(torch.deg2rad(phi)), torch.sin(torch.deg2rad(phi))
    size = n * n, len(phi) * detectors
    index = torch.int32 if max(3 * n * n * len(phi), *size) < 2**31 else torch.int64
    column = torch.arange(len(phi))[:, None] * detectors
    j = torch.arange(n, dtype=torch.float64)[:, None] - (n - 1) / 2
    values, columns, counts = [], [], []
    for i in range(n):
        centre = j * c + ((n - 1) / 2 - i) * s + detectors / 2  # of the shadows, in strips from the first one's edge
        first = torch.floor(centre - (c + s) / 2)
        edge = first[..., None] + torch.arange(4)
        share = _share(edge - centre[..., None], c[:, None], s[:, None]).diff()
        k = edge[..., :3]
        seen = (share > 1e-15) & (k >= 0) & (k < detectors)
        values.append((share[seen] * (2 / n)).to(dtype))
        columns.append((column + k).to(index)[seen])
        counts.append(seen.sum((-2, -1)))
    rows = torch.nn.functional.pad(torch.cat(counts).cumsum(0), (1, 0)).to(index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "Sparse CSR tensor support is in beta state"
        M_T = torch.sparse_csr_tensor(rows, torch.cat(columns), torch.cat(values), size, check_invariants=False)
        C = M_T.to_sparse_csc()  # M^T by columns is M by rows
        M = torch.sparse_csr_tensor(C.ccol_indices(), C.row_indices(), C.values(), size[::-1], check_invariants=False)
    return M, M_T


def _share(t: Tensor, c: Tensor, s: Tensor) -> Tensor:
    r"""The part of a unit square that lies left of t, minus 1/2, if it is seen under phi in [0, 45], c >= s >= 0.

    The shadow is a trapezoid, of height 1/c for |t| <= q = (c - s)/2 and falling to 0 at (c + s)/2. With r the length
    of what |t| covers of the slope: [min(|t|, q) + r - r^2/(2 s)] / c, odd in t.
    """
    q = (c - s) / 2
    r = (t.abs() - q).clamp_min(0).minimum(s)
    return t.sign() * (t.abs().minimum(q) + r - r * r / (2 * s).clamp_min(1e-300)) / c


def ellipse_projection(
    angles: Float[Tensor, "angles"],
    s: Float[Tensor, "detectors"],
    a: float,
    b: float,
    x0: float = 0.0,
    y0: float = 0.0,
    degrees: float = 0.0,
    amplitude: float = 1.0,
) -> Float[Tensor, "angles detectors"]:
    r"""2 a b A sqrt(r^2 - t^2)/r^2 where |t| < r, else 0: the line integrals of A on an ellipse, exactly.

    t = s - x0 cos(theta) - y0 sin(theta),  r^2 = a^2 cos^2(theta - beta) + b^2 sin^2(theta - beta).

    angles, s   the lines x cos(theta) + y sin(theta) = s, theta in degrees: `A.angles`, `A.s`
    a, b        semi-axes > 0, the first one at the angle beta = `degrees` to the x-axis
    x0, y0      the centre, y upwards
    amplitude   A, the grey value inside

    A pointwise value: `Radon` gives its mean over strips of width h. Raises ValueError unless a, b > 0.

    >>> ellipse_projection(torch.tensor([0.0, 90.0]), torch.tensor([0.0]), a=0.5, b=0.25).tolist()
    [[0.5], [1.0]]
    """
    if not (a > 0 and b > 0):
        raise ValueError(f"The semi-axes of an ellipse are lengths a, b > 0; got a={a}, b={b}.")
    theta, beta = torch.deg2rad(angles)[:, None], radians(degrees)
    t = s - x0 * torch.cos(theta) - y0 * torch.sin(theta)
    r2 = a**2 * torch.cos(theta - beta) ** 2 + b**2 * torch.sin(theta - beta) ** 2
    inside = t * t < r2
    return 2 * a * b * amplitude * torch.where(inside, r2 - t * t, 1.0).sqrt() / r2 * inside
