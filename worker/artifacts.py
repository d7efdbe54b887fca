"""The artifact store: bytes by key, in a local folder or an object store (`s3://`, `gs://`, `az://`)."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from worker.errors import ArtifactStoreError, NotFound, SettingsError

LIST_LIMIT = 1000
RETRY: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=15)}
"""Of an object store, each of whose requests has 30 s: a caller that is refused tries again later by itself."""


class Artifacts:
    """Writes are repeatable: the same key gets the same bytes; raises SettingsError for a URL that names no store."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "file":
            folder = Path(unquote(parts.path))
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._store: ObjectStore = LocalStore(folder, automatic_cleanup=True)
        else:
            try:
                self._store = from_url(url, retry_config=RETRY)
            except (BaseError, ValueError):
                # Its text quotes the URL, which may hold a key.
                raise SettingsError("NIGHTDESK_ARTIFACTS_URL: must be s3://…, gs://…, az://… or file://…") from None

    def put(self, key: str, data: bytes | IO[bytes]) -> None:
        """Store bytes, or those of a file from where it stands; raises ArtifactStoreError."""
        try:
            obstore.put(self._store, key, data)
        except (BaseError, OSError) as error:
            raise ArtifactStoreError(f"the artifact store refused a write ({type(error).__name__})") from error

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` up to `end` (exclusive); raises NotFound, ArtifactStoreError."""
        try:
            if end is None:
                return bytes(obstore.get(self._store, key).bytes())[start:]
            return bytes(obstore.get_range(self._store, key, start=start, end=end))
        except (NotFoundError, FileNotFoundError) as error:
            raise NotFound("no such artifact") from error
        except (BaseError, OSError) as error:
            raise ArtifactStoreError(f"the artifact store refused a read ({type(error).__name__})") from error

    def remove(self, prefix: str) -> None:
        """Remove everything below a prefix; raises ArtifactStoreError."""
        try:
            for batch in self._below(prefix):
                obstore.delete(self._store, batch)
        except (BaseError, OSError) as error:
            raise ArtifactStoreError(f"the artifact store refused a removal ({type(error).__name__})") from error

    def _below(self, prefix: str) -> Iterator[list[str]]:
        for batch in obstore.list(self._store, prefix=prefix, chunk_size=LIST_LIMIT):
            yield [entry["path"] for entry in batch]
