"""Where the pictures of the course come from and under which licences.

Notebook: 00.
"""

from __future__ import annotations

from companion.lab.images import CREDITS as SIGNALS
from companion.lab.photos import CREDITS as PHOTOGRAPHS
from companion.lab.segment import CREDITS as TO_CUT
from companion.lab.table import Table


def credits() -> Table:
    """A row for each signal and picture: signal, what, origin, licence.

    >>> {row["signal"]: row for row in credits()}["camera"]["licence"]
    'CC0'
    """
    known = PHOTOGRAPHS | TO_CUT | SIGNALS
    return Table({"signal": k, "what": v[0], "origin": v[1], "licence": v[2]} for k, v in known.items())
