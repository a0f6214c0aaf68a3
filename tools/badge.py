"""Point the README's Binder badge at the repository it is pushed to: python tools/badge.py [ADDRESS]

The address is that of the remote `origin` unless one is given. mybinder.org opens GitHub and GitLab repositories by
name and any other public git repository by its escaped address.
"""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

README = Path(__file__).resolve().parents[1] / "README.md"
LESSON = "lab/tree/notebooks/00_start_here.ipynb"
BADGE = re.compile(r"(\[!\[Binder\]\([^)]*\)\])\([^)]*\)(?= <!-- badge)")


def binder(address: str, branch: str = "HEAD") -> str:
    """Where mybinder.org opens lesson 00 of a repository.

    >>> binder("git@github.com:someone/course.git")
    'https://mybinder.org/v2/gh/someone/course/HEAD?urlpath=lab/tree/notebooks/00_start_here.ipynb'
    """
    found = re.fullmatch(r"(?:\w+://)?(?:[^@/]+@)?([\w.-]+)(?::\d+)?[:/]+(.+?)(?:\.git)?/?", address.strip())
    if not found:
        raise ValueError(f"A public git address names a host and a repository; got {address!r}.")
    host, name = found.groups()
    if host == "github.com":
        place = f"gh/{name}"
    elif host == "gitlab.com":
        place = f"gl/{quote(name, safe='')}"
    else:
        place = f"git/{quote(f'https://{host}/{name}.git', safe='')}"
    return f"https://mybinder.org/v2/{place}/{branch}?urlpath={LESSON}"


def main() -> None:
    if len(sys.argv) > 1:
        address = sys.argv[1]
    else:
        origin = subprocess.run(
            ["git", "remote", "get-url", "origin"], cwd=README.parent, capture_output=True, text=True
        )
        if origin.returncode:
            sys.exit(
                "There is no remote `origin` yet: push the repository first, or give its address, ARGS=https://..."
            )
        address = origin.stdout
    text, places = BADGE.subn(lambda m: f"{m[1]}({binder(address)})", README.read_text(encoding="utf-8"))
    if places != 1:
        sys.exit(f"README.md should hold one Binder badge before its `badge` comment; found {places}.")
    README.write_text(text, encoding="utf-8")
    print(binder(address))


if __name__ == "__main__":
    main()
