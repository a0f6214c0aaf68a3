"""Execute lessons in fresh kernels and store them normalised: python tools/notebooks.py [--check] [FILE ...]

A run on an unchanged lesson changes nothing: an output keeps its stored bytes if its text is the same after the
sanitiser of the notebook tests, and its picture the same up to rounding. Counters, identifiers, times of execution,
the kernel's version, the state of widgets and progress bars are not stored at all.
"""

import argparse
import base64
import copy
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbval.plugin import get_sanitize_patterns
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SANITISER = get_sanitize_patterns((ROOT / "tests" / "nbval_sanitize.cfg").read_text(encoding="utf-8"))
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python", "pygments_lexer": "ipython3"}
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_REPR = re.compile(r"\w+\((\w+=.*|\))|.*\d+%\|.*", re.DOTALL)  # VBox(children=(…, a bar of tqdm


def lessons() -> list[Path]:
    """The lessons in reading order."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def kernel_environment() -> dict[str, str]:
    """One thread, no network, and matplotlib's inline backend whatever the caller's is."""
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    path = [str(ROOT / "tests" / "offline"), env.get("PYTHONPATH", "")]
    return env | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))}


def read(path: Path) -> NotebookNode:
    """The notebook; a cell without an id of its own gets one made of its source, the same at every reading."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    taken: set[str] = set()
    for cell in raw["cells"]:
        cell_id, source = cell.get("id"), "".join(cell["source"])
        while cell_id is None or cell_id in taken:
            cell_id = hashlib.sha1(f"{cell_id}{source}".encode()).hexdigest()[:8]
        taken.add(cell_id)
        cell["id"] = cell_id
    raw.update(nbformat=4, nbformat_minor=5)
    return nbformat.reads(json.dumps(raw), as_version=4)


def execute(
    notebook: NotebookNode, folder: Path, timeout: int = 120, watch: Callable[[NotebookClient], None] | None = None
) -> NotebookNode:
    """A copy of `notebook`, run in a fresh kernel; `watch` is called with the client after every cell."""
    notebook = copy.deepcopy(notebook)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name=KERNEL["name"],
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    if watch is not None:
        client.on_cell_executed = lambda **_: watch(client)
    return client.execute(env=kernel_environment())


def tidy(notebook: NotebookNode) -> NotebookNode:
    """A copy without what differs from run to run: see the module's docstring."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.update(kernelspec=KERNEL, language_info=LANGUAGE)
    count = 0
    for cell in notebook.cells:
        for name in ("execution", "ExecuteTime", "collapsed", "scrolled", "trusted"):
            cell.metadata.pop(name, None)
        if cell.cell_type != "code":
            continue
        count += bool(cell.source.strip())
        cell.execution_count = count if cell.source.strip() else None
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
        cell.outputs = [output for output in cell.outputs if keep(output)]
    return nbformat.from_dict(notebook)


def keep(output: NotebookNode) -> bool:
    """Whether an output is stored; takes the live view out of a widget's output that also holds something to read."""
    if output.output_type == "stream":
        return output.name != "stderr"
    data = output.get("data", {})
    if data.pop(WIDGET, None) is None:
        return True
    return bool(data.keys() - {"text/plain"}) or not WIDGET_REPR.fullmatch(data.get("text/plain", "Output()"))


def sanitise(text: str) -> str:
    """`text` without what may differ between two runs."""
    for pattern, replacement in SANITISER:
        text = re.sub(pattern, replacement, text)
    return text


def same_picture(a: str, b: str) -> bool:
    """Whether two PNGs are equal but for rounding: at most one pixel in 2000 differs by more than 16 of 255 levels."""
    if a == b:
        return True
    x, y = (np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"), dtype=int) for png in (a, b))
    return x.shape == y.shape and float((abs(x - y).max(axis=-1) > 16).mean()) <= 1 / 2000


def same(new: object, old: object, key: str = "") -> bool:
    """Whether two outputs say the same: texts after the sanitiser, pictures up to rounding, anything else exactly."""
    if isinstance(new, dict) and isinstance(old, dict):
        return new.keys() == old.keys() and all(same(new[k], old[k], k) for k in new)
    if key == "image/png":
        return same_picture(str(new), str(old))
    if isinstance(new, str) and isinstance(old, str):
        return sanitise(new) == sanitise(old)
    return new == old


def settle(new: NotebookNode, stored: NotebookNode) -> NotebookNode:
    """`new` with the stored outputs wherever they say the same."""
    before = {cell.id: cell for cell in tidy(stored).cells}
    for cell in new.cells:
        old = before.get(cell.id)
        if cell.cell_type == "code" and old is not None and old.cell_type == "code":
            pairs = list(zip(cell.outputs, old.outputs, strict=False))
            cell.outputs[: len(pairs)] = [b if same(a, b, "") else a for a, b in pairs]
    return new


def main() -> int:
    parser = argparse.ArgumentParser(description="execute lessons in fresh kernels and store them normalised")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a lesson would change")
    parser.add_argument("files", nargs="*", type=Path, help="the lessons; default: all")
    options = parser.parse_args()
    failed = changed = 0
    for path in options.files or lessons():
        stored = read(path)
        try:
            new = settle(tidy(execute(stored, path.parent)), stored)
        except CellExecutionError as error:
            print(f"{path.name}: a cell failed\n{error}", file=sys.stderr)
            failed += 1
            continue
        text = nbformat.writes(new) + "\n"
        differs = text != path.read_text(encoding="utf-8")
        changed += differs
        print(f"{path.name}: {'changed' if differs else 'unchanged'}")
        if differs and not options.check:
            path.write_text(text, encoding="utf-8")
    return 1 if failed or (options.check and changed) else 0


if __name__ == "__main__":
    sys.exit(main())
