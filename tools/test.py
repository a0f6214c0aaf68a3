"""Run every test, part by part, and say what ran: python tools/test.py [package messages notebooks budgets browser]

A part that fails does not stop the others; the whole fails if one of them does. Whatever was skipped is listed with
its reason.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools import chromium  # noqa: E402

BUDGETS = ("tests/test_notebooks.py", "tests/test_explorer_seconds.py")
ELSEWHERE = ("tests/test_messages.py", *BUDGETS, "tests/browser")
PARALLEL = ("-n", "2", "--dist", "loadscope")
NBVAL = ("--nbval", "--nbval-current-env", "--nbval-sanitize-with", "tests/nbval_sanitize.cfg")
PARTS = {
    "package": ("tests", *(f"--ignore={path}" for path in ELSEWHERE), *PARALLEL),
    "messages": ("tests/test_messages.py", "companion", "--doctest-modules", "--as-user", *PARALLEL),
    "notebooks": ("notebooks", *NBVAL, "--nbval-cell-timeout", "120", *PARALLEL),
    "budgets": BUDGETS,  # seconds on one core: alone
    "browser": ("tests/browser",),
}


def environment(part: str) -> dict[str, str]:
    """One thread; lessons cannot reach the network."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if part in ("notebooks", "budgets"):
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "tests" / "offline"), env.get("PYTHONPATH")]))
    return env


def run(part: str) -> tuple[Counter[str], Counter[str]]:
    """The numbers of passed, failed and skipped tests of a part, and the reasons of the skips."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *PARTS[part], "-q", "--durations=5", f"--junit-xml={report}"]
        print(f"\n== {part}: pytest {' '.join(PARTS[part])}", flush=True)
        code = subprocess.run(command, cwd=ROOT, env=environment(part)).returncode
        cases = ET.parse(report).iter("testcase") if report.exists() else ()
        count: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for case in cases:
            skipped = case.find("skipped")
            failed = case.find("failure") is not None or case.find("error") is not None
            if skipped is not None:
                reasons[skipped.get("message", "no reason given")] += 1
            count["failed" if failed else "passed" if skipped is None else "skipped"] += 1
    if code and not count["failed"]:  # nothing collected, or pytest itself stopped
        count["failed"] += 1
    return count, reasons


def main(parts: list[str]) -> int:
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        print(f"no part is called {', '.join(unknown)}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if not parts or "browser" in parts:
        chromium.provide()
    total: Counter[str] = Counter()
    lines = []
    for part in parts or PARTS:
        start = time.monotonic()
        count, reasons = run(part)
        total += count
        outcome = ", ".join(f"{count[word]} {word}" for word in ("passed", "failed"))
        lines.append(f"{part:10s} {outcome}, {count['skipped']} SKIPPED, {time.monotonic() - start:.0f} seconds")
        lines += [f"{'':10s}   skipped {number}: {reason}" for reason, number in reasons.items()]
    print("\n== summary", *lines, "", sep="\n")
    print(f"total: {total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
