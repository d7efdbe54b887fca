"""Finds a Node.js that is new enough; where there is none, installs the one that the Python package index has."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
LOCK = FOLDER / "node.lock"
OLDEST = 20


class NoNodeError(Exception):
    """There is no Node.js that is new enough, and none could be installed."""


def command(name: str) -> str:
    """The path of `node` or `npm`, both of one Node.js; raises NoNodeError."""
    for folder in (None, str(Path(sys.executable).parent)):
        node, found = shutil.which("node", path=folder), shutil.which(name, path=folder)
        if node and found and _major(node) >= OLDEST:
            return found
    raise NoNodeError(f"no Node.js from {OLDEST} on is on PATH: install one, or run `make install-extras`")


def check_installed() -> None:
    """Raise NoNodeError where the JavaScript client is missing."""
    if not (FOLDER / "node_modules").is_dir():
        raise NoNodeError("the JavaScript client is not installed: run `make install-extras`")


def install() -> None:
    """Install the JavaScript client's locked versions, and Node.js itself where it is missing; raises NoNodeError."""
    try:
        npm = command("npm")
    except NoNodeError:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(LOCK)], check=False).returncode:
            raise NoNodeError(f"no Node.js from {OLDEST} on is on PATH, and PyPI's could not be installed") from None
        npm = command("npm")
    subprocess.run([npm, "ci", "--no-progress", "--fetch-retries=5"], cwd=FOLDER, check=True)


def main() -> None:
    """Install, or say what is missing."""
    try:
        install()
    except (NoNodeError, subprocess.CalledProcessError) as error:
        sys.exit(f"install-extras: {error}")


def _major(node: str) -> int:
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", told)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
