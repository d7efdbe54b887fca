"""A lock on a folder. The kernel frees it when the last process that holds it is gone: a crash leaves none behind."""

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep

from worker.errors import SettingsError

PATIENCE_S = 2.0
"""How long a holder that was just killed may take to disappear."""


class FolderLock:
    """Exclusive use of a folder; children given `descriptor` by `pass_fds` hold it too, as long as they live."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self.descriptor = -1

    def take(self) -> None:
        """Take the lock; raises SettingsError naming the holder where another process keeps it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = monotonic() + PATIENCE_S
        while not _is_locked(descriptor):
            if monotonic() > deadline:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                raise SettingsError(f"{self._path.parent} is in use by another running Nightdesk (process {holder})")
            sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self.descriptor = descriptor

    def free(self) -> None:
        """Let others have the folder."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
