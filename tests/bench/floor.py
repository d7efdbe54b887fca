"""Runs a plain client of one remote call in a process of its own, and reads what it tells."""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.bench.entrants import here

CONNECTIONS = 256
"""As many as Nightdesk keeps to the upstream."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The client's CPU for each call, and how many there were in a second."""

    cpu_us: float
    rate: float


def gets(folder: Path, upstream: str, names: Iterable[str], mode: str, seconds: float) -> Floor:
    """GET these interactions, `flat` out or `paced` as polls are."""
    file = folder / "interactions.txt"
    file.write_text("\n".join(names))
    return _told("gets", upstream, str(file), str(CONNECTIONS), mode, str(seconds))


def sdk_gets(folder: Path, upstream: str, names: Iterable[str], number: int) -> Floor:
    """GET these interactions by the SDK, so many times, one after the other."""
    file = folder / "interactions.txt"
    file.write_text("\n".join(names))
    return _told("sdk", upstream, str(file), str(number))


def posts(folder: Path, url: str, body: bytes, connections: int, number: int) -> Floor:
    """POST the same bytes so many times."""
    file = folder / "body.json"
    file.write_bytes(body)
    return _told("posts", url, str(file), str(connections), str(number))


def _told(program: str, *arguments: str) -> Floor:
    command = [sys.executable, "-m", f"tests.bench.peers.{program}", *arguments]
    done = subprocess.run(command, env=here(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = orjson.loads(done.stdout)
    return Floor(told["cpu_us"], told["rate"])
