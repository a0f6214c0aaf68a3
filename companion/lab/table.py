"""A list of rows that a notebook shows as a table.

Notebook: 00, 04, 06.
"""

from __future__ import annotations


class Table(list):
    """A list of rows (dictionaries with equal keys) that a notebook shows as a table."""

    def _lines(self, rule: bool) -> list[str]:
        rows = [list(self[0]), *([str(v) for v in row.values()] for row in self)] if self else []
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
        return lines[:1] + ["|" + "|".join("-" * (w + 2) for w in widths) + "|"] * rule + lines[1:]

    def __repr__(self) -> str:
        return "\n".join(line.strip("| ").replace(" | ", "  ") for line in self._lines(rule=False))

    def _repr_markdown_(self) -> str:
        return "\n".join(self._lines(rule=True))
