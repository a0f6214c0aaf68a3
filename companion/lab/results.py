"""What the long runs of `experiments/` have stored, for the lessons to show.

Notebooks: 04, 07.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def stored(name: str) -> dict[str, Any]:
    """The results of experiments/{name}.py, as that script wrote them; it can be run again by anyone.

    Raises FileNotFoundError, with the command that makes them, where they are not beside the package.
    """
    roots = (Path(__file__).resolve().parents[2], Path.cwd(), Path.cwd().parent)
    for root in roots:
        path = root / "experiments" / "results" / f"{name}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"There are no stored results '{name}'. Make them: python experiments/{name}.py")


def store(script: str, results: dict[str, Any], **about: Any) -> None:
    """Write experiments/results/{name of the script}.json: the results, and under "about" what they were made with."""
    import torch

    import companion

    versions = {"torch": torch.__version__.split("+")[0], "companion": companion.__version__, "threads": 1}
    path = Path(script).resolve().parent / "results" / f"{Path(script).stem}.json"
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")  # a reader finds the old results or the new ones, never half of them
    part.write_text(json.dumps(results | {"about": about | versions}, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
