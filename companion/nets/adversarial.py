r"""min over theta of E max over |eta|_inf <= eps of Phi(net(x + eta), y): training against attacks.

    pgd    eta <- clip(eta + step sign d/deta Phi(net(x + eta), y)), k times: k full passes, forwards and backwards
    YOPO   the perturbation moves the first layer only. With p_1 = -dPhi/da at its output a = G_0(x + eta), the costate,
           d/deta Phi = -d/deta <p_1, G_0(x + eta)>: the Hamiltonian of the first layer. YOPO-m-n keeps p_1 for n steps
           of eta, which cost one layer each, before the next of its m full passes.

clip keeps |eta|_inf <= eps and the picture x + eta in [0, 1]. For n = 1 the etas are those of pgd with m steps; for
any n they are, if the rest of the net and Phi are affine, since p_1 then does not move.

A net is a list of maps, `net.maps`, or such a list itself: its first layer is maps[:first].

Sources: Madry et al. (2018); Zhang, Zhang, Lu, Zhu and Dong, You only propagate once (2019), [171].
Paper: Section 5.1.  Notebook: 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from companion.dynamics import maps, run

Loss = Callable[[Tensor, Tensor], Tensor]


def layers(net: Any) -> list[Any]:
    """The maps of a net: of a list, or of a Module with `maps`."""
    found = maps(getattr(net, "maps", net))
    if not found:
        raise TypeError(
            f"Here a net is a list of maps, or a Module with such a list as net.maps; got {type(net).__name__}."
        )
    return found


def clip(eta: Tensor, x: Tensor, eps: float) -> Tensor:
    """The nearest eta with |eta|_inf <= eps and x + eta in [0, 1], for x in [0, 1]."""
    return torch.maximum(torch.minimum(eta.clamp(-eps, eps), 1 - x), -x)


def start(x: Tensor, eps: float, generator: torch.Generator | None = None) -> Tensor:
    """eta uniform in the box |eta|_inf <= eps, clipped to x + eta in [0, 1]."""
    noise = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return clip(eps * (2 * noise - 1), x, eps)


def pgd(
    net: Any,
    x: Tensor,
    y: Tensor,
    eps: float,
    step: float,
    k: int,
    *,
    loss: Loss = cross_entropy,
    generator: torch.Generator | None = None,
    eta: Tensor | None = None,
) -> Tensor:
    """eta <- clip(eta + step sign d/deta Phi(net(x + eta), y)), k times from a random start: the pictures x + eta.

    net        a list of maps, or a Module with `maps`; used in the mode, training or not, in which it is
    x, y       pictures with values in [0, 1], (batch, ...), and their classes
    eps, step  > 0, in the unit of x
    eta        a start instead of the random one
    loss       (scores, y) -> one number, or one for each picture

    No gradients are left in the net. Raises ValueError for eps or step <= 0, k < 0, or x outside [0, 1].
    """
    check_attack(x, eps, step)
    if k < 0:
        raise ValueError(f"The attack takes k >= 0 steps; got k={k}.")
    sequence = layers(net)
    eta = start(x, eps, generator) if eta is None else clip(eta, x, eps)
    for _ in range(k):
        eta = clip(eta + step * ascent(lambda e: loss(run(sequence, x + e).u, y), eta), x, eps)
    return x + eta


def ascent(value: Callable[[Tensor], Tensor], eta: Tensor) -> Tensor:
    """sign of d/deta of the sum of value(eta)."""
    with torch.enable_grad():
        e = eta.detach().requires_grad_()
        return torch.autograd.grad(value(e).sum(), e)[0].sign()


def robust_accuracy(
    net: Any,
    x: Tensor,
    y: Tensor,
    eps: float,
    step: float,
    k: int,
    *,
    restarts: int = 1,
    generator: torch.Generator | None = None,
) -> float:
    """The share of pictures that are classified rightly, unperturbed and after each of `restarts` attacks by `pgd`.

    restarts = 0 measures the accuracy. A thousand pictures at a time; the net is used in the mode in which it is.
    """
    if restarts < 0 or not len(x) or len(x) != len(y):
        raise ValueError(
            "Robustness is measured by restarts >= 0 attacks on one picture at least, each with its class; got "
            f"restarts={restarts}, {len(x)} x and {len(y)} y."
        )
    sequence, right = layers(net), 0
    for u, target in zip(x.split(1000), y.split(1000), strict=True):
        pictures = [u] + [pgd(net, u, target, eps, step, k, generator=generator) for _ in range(restarts)]
        with torch.no_grad():
            hits = torch.stack([run(sequence, picture).u.argmax(1) == target for picture in pictures])
        right += int(hits.all(0).sum())
    return right / len(x)


class PGDTraining:
    r"""The gradient of Phi(net(x + eta), y) at the eta of `pgd`: k + 1 full passes for one step of training.

    net, eps, step, k, loss, generator  as in `pgd`; k = 0 takes a random eta

    A call (x, y) adds the gradients to the parameters' `.grad` and returns x + eta.
    """

    def __init__(
        self,
        net: Any,
        eps: float,
        step: float,
        k: int = 10,
        *,
        loss: Loss = cross_entropy,
        generator: torch.Generator | None = None,
    ):
        self.maps, self.loss = layers(net), loss
        self.attack = lambda x, y: pgd(self.maps, x, y, eps, step, k, loss=loss, generator=generator)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        attacked = self.attack(x, y)
        self.loss(run(self.maps, attacked).u, y).backward()
        return attacked


class PlainTraining:
    r"""The gradient of Phi(net(x), y): one full pass, no perturbation.

    A call (x, y) adds it to the parameters' `.grad` and returns x.
    """

    def __init__(self, net: Any, loss: Loss = cross_entropy):
        self.maps, self.loss = layers(net), loss

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        self.loss(run(self.maps, x).u, y).backward()
        return x


class YOPO:
    r"""m times: p_1 = -dPhi/da, then n times eta <- clip(eta - step sign d/deta <p_1, G_0(x + eta)>).

    net        a list of maps, or a Module with `maps`
    eps, step  > 0, in the unit of x
    m, n       full passes, and steps of eta for each; YOPO-5-3 is m = 5, n = 3
    first      how many maps make the first layer
    loss       (scores, y) -> one number, the mean over the batch

    A call (x, y) adds the gradients of one step of training to the parameters' `.grad` and returns x + eta; the caller
    clears them before and steps its optimiser after. Over the m passes the gradients add up, so the learning rate is
    that of one pass divided by m. The layers above the first get dPhi/dtheta at the eta at which the pass began, the
    first one -d/dtheta <p_1, G_0(x + eta)> at the eta at which it ends.

    Raises ValueError for eps or step <= 0, m or n < 1, or `first` that leaves no layer on either side.
    """

    def __init__(
        self,
        net: Any,
        eps: float,
        step: float,
        m: int = 5,
        n: int = 3,
        *,
        first: int = 1,
        loss: Loss = cross_entropy,
        generator: torch.Generator | None = None,
    ):
        if m < 1 or n < 1:
            raise ValueError(f"YOPO-m-n makes m >= 1 full passes with n >= 1 steps of eta each; got m={m}, n={n}.")
        sequence = layers(net)
        if not 1 <= first < len(sequence):
            raise ValueError(
                f"YOPO splits a net of {len(sequence)} maps into a first layer and a rest, so 1 <= first < "
                f"{len(sequence)}; got first={first}."
            )
        self.first, self.rest = sequence[:first], sequence[first:]
        self.eps, self.step, self.m, self.n, self.loss, self.generator = eps, step, m, n, loss, generator

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        check_attack(x, self.eps, self.step)
        eta = start(x, self.eps, self.generator)
        for _ in range(self.m):
            p = self.costate(x + eta, y)
            for _ in range(self.n):
                eta = self.move(eta, x, p)
            H = self.hamiltonian(x + eta, p)
            if H.requires_grad:  # the first layer has weights
                (-H).backward()
        return x + eta

    def hamiltonian(self, x: Tensor, p: Tensor) -> Tensor:
        """<p_1, G_0(x)>, summed over the batch."""
        return (p * run(self.first, x).u).sum()

    def move(self, eta: Tensor, x: Tensor, p: Tensor) -> Tensor:
        """clip(eta - step sign d/deta <p_1, G_0(x + eta)>): one layer, forwards and backwards."""
        return clip(eta - self.step * ascent(lambda e: self.hamiltonian(x + e, p), eta), x, self.eps)

    def costate(self, x: Tensor, y: Tensor) -> Tensor:
        """p_1 = -dPhi/da at a = G_0(x): one full pass, which adds dPhi/dtheta to the layers above the first."""
        with torch.no_grad():
            a = run(self.first, x).u
        a.requires_grad_()
        self.loss(run(self.rest, a).u, y).backward()
        return torch.zeros_like(a) if a.grad is None else -a.grad


@contextmanager
def count_passes(net: Any) -> Iterator[list[int]]:
    """[calls of G_0, ..., calls of G_{N-1}] while the block runs; the last number is that of full passes. The maps are
    Modules.
    """
    calls = [0] * len(layers(net))

    def counter(i: int) -> Callable[..., None]:
        def count(*_: Any) -> None:
            calls[i] += 1

        return count

    hooks = [G.register_forward_hook(counter(i)) for i, G in enumerate(layers(net))]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def check_attack(x: Tensor, eps: float, step: float) -> None:
    """ValueError unless eps > 0, step > 0 and x lies in [0, 1]."""
    if not eps > 0 or not step > 0:
        raise ValueError(f"An attack needs eps > 0 and a step > 0; got eps={eps}, step={step}.")
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"Attacked are pictures with values in [0, 1]; got values from {low:.4g} to {high:.4g}.")
