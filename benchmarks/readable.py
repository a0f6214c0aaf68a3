"""The package's own readable form as a peer: the same call with the kernels switched off."""

from __future__ import annotations

from benchmarks.harness import Call, Peer
from companion import kernels


def readable(call: Call) -> dict[str, Peer]:
    """{"readable form": the call without kernels}; empty where numba is missing."""
    if not kernels.available():
        return {}

    def without() -> object:
        with kernels.use(False):
            return call()

    return {"readable form": Peer(lambda: without)}
