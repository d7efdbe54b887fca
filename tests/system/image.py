"""`deploy/Dockerfile`: what it copies, what it runs, and an installation made as it makes one."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "Dockerfile"
PACKAGES = ("api", "worker")
PIP = re.compile(r"-m pip install (.+)$", re.MULTILINE)


def instructions() -> list[str]:
    """The file without comments, each instruction on one line."""
    lines = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
    return [line for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines() if line]


def copied() -> list[str]:
    """What comes from this repository."""
    copies = [shlex.split(line)[1:] for line in instructions() if line.startswith("COPY ")]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


def installs(text: str) -> list[list[str]]:
    """The words of each `pip install`."""
    return [shlex.split(found) for found in PIP.findall(text)]


def install(folder: Path) -> Path:
    """The project itself, built from nothing but what the image gets, in a folder of its own."""
    source, target = folder / "source", folder / "installed"
    source.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    _, flags = installs("\n".join(instructions()))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(target), *flags]
    subprocess.run(command, cwd=source, check=True, timeout=300)
    return target
