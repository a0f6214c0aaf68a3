r"""Lesson 01, inverse problems. Each check looks at an answer as a teacher would, and says what is wrong with it.

A check is a diagnosis `answer -> None (right) | sentence`, decorated by `exercise`; the lesson calls it with the
learner's answer. Wrong answers are recognised by what they do: a pseudo-inverse for an adjoint, a forgotten opposite
frequency, a missing transpose, a norm for its square.

Notebook: 01.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from companion import Blur, GaussianNoise, LinearOperator, PartialFourier, PoissonNoise, gaussian_kernel
from companion.lab.check import exercise
from companion.lab.diagnose import adjoint_gap, described, same
from companion.lab.images import camera
from companion.operators.fourier import cartesian_pattern, random_pattern, to_complex


def _is(out: Tensor, wrong: Tensor) -> bool:
    return out.shape == wrong.shape and bool((out - wrong).norm() <= 1e-6 * wrong.norm())


@exercise(
    title="01.1 the adjoint of a small detector",
    expects=Callable,
    hints=[
        "Write <Au, f> = sum_{i,j} f[i, j] (sum of four pixels) / 4. Which f[i, j] meets u[k, l], with what factor?",
        "Each pixel of u lies in one block, so (A^T f)[k, l] is one value of f, times 1/4.",
        "torch.repeat_interleave(f, 2, dim=-1) doubles each column.",
    ],
    praise="A^T spreads each mean over its block; A A^T = I/4, so 4 A^T is the pseudo-inverse",
)
def block_adjoint(answer: Callable[[Tensor], Tensor]) -> str | None:
    """A^T for (A u)[i, j] = the mean of u over the 2 x 2 pixels of block (i, j)."""

    def A(u: Tensor) -> Tensor:
        return (u[..., ::2, ::2] + u[..., 1::2, ::2] + u[..., ::2, 1::2] + u[..., 1::2, 1::2]) / 4

    def repeat(f: Tensor) -> Tensor:
        return f.repeat_interleave(2, -1).repeat_interleave(2, -2)

    f = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = answer(f)
    if not isinstance(out, Tensor) or out.shape != (8, 12):
        return f"A maps (8, 12) to (4, 6), so A^T maps a tensor of shape (4, 6) to one of (8, 12); got {described(out)}"
    if out.dtype != f.dtype:
        return f"f is float64 and A^T f is {str(out.dtype).removeprefix('torch.')}: keep the type of what comes in"
    gap = adjoint_gap(A, answer, torch.zeros(8, 12, dtype=torch.float64))
    if gap < 1e-12:
        return None
    sparse = torch.zeros(8, 12, dtype=torch.float64)
    sparse[::2, ::2] = f
    slips = {
        "this is the pseudo-inverse, A A^+ = I: every pixel of u enters A with the factor 1/4, and so it must in A^T": (
            repeat(f)
        ),
        "this puts each value into one corner of its block; all four pixels of the block were averaged": sparse,
        "the factor is 1/4 for a pixel, not 1/2": repeat(f) / 2,
        "the values are repeated as tiles of the whole picture; each must fill its own 2 x 2 block": (
            f.repeat(2, 2) / 4
        ),
    }
    words = next((slip for slip, wrong in slips.items() if _is(out, wrong)), "")
    return f"{words or 'this is not the adjoint'}: <Au, f> and <u, A'f> differ by {gap:.2g} of |Au||f|"


@exercise(
    title="01.2 Tikhonov for MRI",
    expects=Callable,
    hints=[
        "(A^T A + alpha I) x = A^T f. What is A^T A for a real picture, in the Fourier domain?",
        "A^T A = F^H m~ F with m~ = (m + m[-.])/2, and A^T f = Re F^H (m f).",
        "m[-.] is m.flip(0, 1).roll((1, 1), (0, 1)); m is bool, so add m.double(). Then "
        "b = torch.fft.ifft2(m * to_complex(f), norm='ortho').real and "
        "x = torch.fft.ifft2(torch.fft.fft2(b) / (mt + alpha)).real.",
    ],
    praise="one division: a frequency whose opposite alone was sampled is known, too",
)
def mri_tikhonov(answer: Callable[[Tensor, Tensor, float], Tensor]) -> str | None:
    """(f, m, alpha) -> (A^T A + alpha I)^{-1} A^T f for the partial Fourier transform of real pictures."""
    n, alpha = 32, 0.1
    u = camera(n)
    for m, everywhere in ((random_pattern(n, 0.4, seed=3), False), (cartesian_pattern(n, 2, seed=1), True)):
        A = PartialFourier(m)
        f = GaussianNoise(0.02, seed=4)(A(u))
        f = f if everywhere else A.restrict(f)
        out, b = answer(f, m, alpha), A.adjoint(f)
        if isinstance(out, Tensor) and out.is_complex():
            return "x is a real picture and yours is complex: A^T f = Re F^H (m f), and the division keeps it real"
        words = same(out, A.normal_solve(b, alpha), 1e-6, "your x")
        if words is None:
            continue

        def divided(g: Tensor, weight: Tensor) -> Tensor:
            return torch.fft.ifft2(torch.fft.fft2(g) / (weight + alpha)).real

        def back(g: Tensor) -> Tensor:
            return torch.fft.ifft2(g, norm="ortho").real

        z, opposite, one, mt = to_complex(f), m.flip(0, 1).roll((1, 1), (0, 1)), m.double(), A.weight()
        either, no_shift = (m | opposite).double(), "no shift is needed: frequency 0 stands at index 0, in"
        weights = {
            "you divide by m + alpha; for real pictures A^T A = F^H m~ F, m~ = (m + m[-.]) / 2": one,
            "you divide by 1 + alpha wherever k or -k is sampled. That solves the problem for complex pictures; or "
            "m + m[-.] of two truth values was a logical or, without the half: (m.double() + ...) / 2": either,
            "m + m[-.] of two truth values is a logical or, 1 and not 2 where both are 1: m.double()": either / 2,
            "the half is forgotten: m~ = (m + m[-.]) / 2, a mean": one + opposite,
            "m[-.] is not m.flip(0, 1): frequency 0 stays, so roll by one after flipping": (one + m.flip(0, 1)) / 2,
            "m[-.] turns both axes round: flip and roll both": (one + m.flip(0).roll(1, 0)) / 2,
            "the filter is the square root of the right one: A^T A has m~, the squares of the s_i": mt.sqrt(),
            f"{no_shift} m as in fft2": torch.fft.fftshift(mt),
        }
        pictures = {
            "m is missing in A^T f = Re F^H (m f): where m = 0 the data hold noise alone": back(z),
            "F must be unitary, norm='ortho': yours differs by a factor n": b / n,
            "F must be unitary, norm='ortho': yours differs by a factor 1/n": b * n,
            "A^T needs the inverse transform F^H, ifft2; fft2 turns the picture round": b.flip(0, 1).roll(
                (1, 1), (0, 1)
            ),
            f"{no_shift} m, in f and in fft2 alike": back(torch.fft.ifftshift(m * z)),
            f"{no_shift} m as in f": back(torch.fft.fftshift(m) * z),
        }
        slips = {"this is A^T f: nothing is divided yet": b}
        slips |= {slip: divided(b, weight) for slip, weight in weights.items()}
        slips |= {slip: divided(g, mt) for slip, g in pictures.items()}
        return next((slip for slip, wrong in slips.items() if isinstance(out, Tensor) and _is(out, wrong)), words)
    return None


@exercise(
    title="01.3 the discrepancy principle",
    expects=Callable,
    hints=[
        "x_alpha = A.normal_solve(A.T(f), alpha), and |A x_alpha - f| grows with alpha: look for its one root.",
        "A measures every entry of f, so the noise has N = f.numel() entries of variance sigma^2 each: |eta| is near "
        "sigma f.numel() ** 0.5. (For a mask or MRI N is the number of measured entries.)",
        "alpha runs over many orders of magnitude: root(excess) halves the interval of log alpha; excess(alpha) is the "
        "residual minus its aim.",
    ],
    praise="the residual is as large as the noise",
)
def discrepancy(answer: Callable[[LinearOperator, Tensor, float], float]) -> str | None:
    """(A, f, sigma) -> alpha with |A x_alpha - f| = sigma sqrt(N), for an A that measures all N entries of f."""
    u = camera(32)
    A = Blur(gaussian_kernel(1.0))
    for sigma in (0.02, 0.05):
        f = GaussianNoise(sigma, seed=11)(A(u))
        value = answer(A, f, sigma)
        try:
            alpha = float(value)
        except (TypeError, ValueError, RuntimeError):
            return f"alpha is one number; got {described(value)}"
        if not 0 < alpha < float("inf"):
            return f"alpha must be positive and finite; got {alpha:.3g}. Did you return its logarithm?"
        residual = (A(A.normal_solve(A.adjoint(f), alpha)) - f).norm()
        ratio = float(residual / (sigma * f.numel() ** 0.5))
        if abs(ratio - 1) < 1e-3:
            continue
        aims = {
            "you ask for |Ax - f| = sigma; the noise has that size in each of its f.numel() entries": 1
            / f.numel() ** 0.5,
            "the squares are mixed up: |Ax - f|^2 = sigma^2 N, and you compare |Ax - f| with sigma^2 N": (
                sigma * f.numel() ** 0.5
            ),
            "you compare |Ax - f|^2 with sigma sqrt(N): square both sides": (sigma * f.numel() ** 0.5) ** -0.5,
            "N is the number of data, f.numel(), not the side of the picture": len(f) ** -0.5,
        }
        for words, aim in aims.items():
            if abs(ratio / aim - 1) < 1e-3:
                return words
        side = "too large: alpha is too large" if ratio > 1 else "too small: alpha is too small"
        return f"at sigma = {sigma} your residual is {ratio:.3g} times sigma sqrt(N), {side}"
    return None


@exercise(
    title="01.4 the gradient of the Kullback-Leibler term",
    expects=Callable,
    hints=[
        "For one pixel, the derivative of v - f log v with respect to v is 1 - f/v.",
        "With v = Au the chain rule brings A^T: grad (F o A)(u) = A^T grad F(Au).",
    ],
    praise="zero iff A^T 1 = A^T (f / Au): where Richardson and Lucy's iteration stands still",
)
def kl_gradient(answer: Callable[[LinearOperator, Tensor, Tensor], Tensor]) -> str | None:
    """(A, f, u) -> A^T (1 - f / Au), the gradient of sum(Au - f log Au)."""
    kernel = torch.tensor([[0.5, 0.2, 0.1], [0.1, 0.05, 0.03], [0.01, 0.005, 0.005]], dtype=torch.float64)
    A = Blur(kernel, boundary="reflect")  # not symmetric, and A^T 1 is not 1 at the border
    u = camera(32) + 0.2
    f = PoissonNoise(20, seed=5)(A(u))
    v = A(u)
    out = answer(A, f, u)
    slips = {
        "A^T is missing: 1 - f/Au lives where the data are, the gradient where u is": 1 - f / v,
        "this applies A where A^T belongs": A(1 - f / v),
        "this is the gradient of least squares, A^T (Au - f): divide by the variance, Au": A.adjoint(v - f),
        "A^T acts on the whole of 1 - f/Au, and A^T 1 is not 1 at the border": 1 - A.adjoint(f / v),
        "f and Au have changed places: the derivative of f log v is f/v": A.adjoint(1 - v / f.clamp_min(1e-9)),
        "the data enter at v = Au, not at u": A.adjoint(1 - f / u),
    }
    words = same(out, A.adjoint(1 - f / v), 1e-9, "your gradient")
    if words is None or not isinstance(out, Tensor) or out.shape != u.shape:
        return words
    return next((slip for slip, wrong in slips.items() if _is(out, wrong)), words)


@exercise(
    title="01.5 the best k terms",
    expects=Callable,
    hints=[
        "Large means large in modulus; the sign does not matter.",
        "c.abs().topk(k).indices are the places of the k largest; put their values into a vector of zeros.",
    ],
    praise="in an orthonormal basis nothing with k terms comes nearer",
)
def best_terms(answer: Callable[[Tensor, int], Tensor]) -> str | None:
    """(c, k) -> c with all but its k entries of largest modulus set to 0."""
    c = torch.randn(40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    before = c.clone()
    for k in (7, 1, 40, 0):
        out = answer(c, k)
        if not bool((c == before).all()):
            return "c itself was changed: work on a copy, c.clone() or torch.zeros_like(c)"
        right = torch.where(c.abs().argsort(descending=True).argsort() < k, c, 0.0)
        words = same(out, right, 1e-12, f"for k = {k}, your vector")
        if words is None:
            continue
        if not isinstance(out, Tensor) or out.shape != c.shape:
            return words
        signed = torch.where(c.argsort(descending=True).argsort() < k, c, 0.0)
        first = torch.where(torch.arange(40) < k, c, 0.0)
        if k == 0 and bool((out == c).all()):
            return (
                "right for k >= 1, but for k = 0 everything is kept instead of nothing: at k = 0 the threshold [k - 1] "
                "is the last one, the smallest, and the slice [-k:] is the whole"
            )
        slips = {
            "you kept the largest values, not the largest in modulus: -3 is a larger coefficient than 2": signed,
            "you kept the first k entries: that is linear approximation; the best k terms are chosen by size": (first),
            "you kept the k smallest ones": torch.where(c.abs().argsort().argsort() < k, c, 0.0),
            "the entries that are kept have lost their signs": right.abs(),
            "this is what was left out: the error, not the approximation": c - right,
        }
        kept = int((out != 0).sum())
        counted = f"{words}: {kept} entries are not 0" if kept != k else words
        return next((slip for slip, wrong in slips.items() if bool((out == wrong).all())), counted)
    return None
