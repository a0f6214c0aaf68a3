"""Find the system's Chromium or Chrome, or install it where the package manager may be asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
MAC = ("Google Chrome", "Chromium", "Microsoft Edge")
HINT = {
    "apt-get": "sudo apt-get install chromium",
    "dnf": "sudo dnf install chromium",
    "pacman": "sudo pacman -S chromium",
    "zypper": "sudo zypper install chromium",
    "brew": "brew install --cask chromium",
}


def find() -> str | None:
    """The browser's executable: $CHROMIUM, one of the usual names on the path, or a macOS application."""
    found = [shutil.which(name) for name in NAMES]
    found += [f"/Applications/{name}.app/Contents/MacOS/{name}" for name in MAC]
    if "CHROMIUM" in os.environ:
        found = [os.environ["CHROMIUM"]]
    return next((path for path in found if path and Path(path).exists()), None)


def hint() -> str:
    """One line that says how to get a browser here."""
    if "CHROMIUM" in os.environ:
        return f"CHROMIUM is set to {os.environ['CHROMIUM']}, and there is no such file"
    command = next((HINT[manager] for manager in HINT if shutil.which(manager)), "install Chromium or Chrome")
    return f"no Chromium or Chrome found: {command}, or set CHROMIUM to the path of one"


def may_install() -> list[str] | None:
    """The prefix under which apt-get works without a password, or None."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    return [sudo, "-n"] if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0 else None


def provide() -> str | None:
    """The browser's executable, installed first if need and permission be; says what it did."""
    prefix = may_install()
    if find() is None and prefix is not None and "CHROMIUM" not in os.environ:
        print("No Chromium found: installing it with apt-get.", flush=True)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "chromium"]):
            subprocess.run([*prefix, "apt-get", *command], env=env, check=False, **quiet)
    if find() is None:
        print(hint(), file=sys.stderr)
    return find()
