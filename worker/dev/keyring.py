"""Files of `nightdesk up` in the data directory, readable by their owner only.

`secrets.env` holds what it generated and keeps, `running.env` where its Redis and its simulator are while it runs.
"""

import os
import secrets
from pathlib import Path

from dotenv import dotenv_values

from worker import keys
from worker.settings import Settings

KEPT, RUNNING = "secrets.env", "running.env"
API_KEY, ENCRYPTION_KEY, FLOWER = (
    "NIGHTDESK_BOOTSTRAP_API_KEY",
    "NIGHTDESK_ENCRYPTION_KEY",
    "NIGHTDESK_FLOWER_BASIC_AUTH",
)


def kept(data_dir: Path) -> dict[str, str]:
    """What was generated before, by variable."""
    return _read(data_dir / KEPT)


def running(data_dir: Path) -> dict[str, str]:
    """Where the parts of a running stack are, by variable; stale after a crash."""
    return _read(data_dir / RUNNING)


def announce(data_dir: Path, places: dict[str, str]) -> None:
    """Tell commands on this machine where the parts are."""
    _write(data_dir / RUNNING, places)


def withdraw(data_dir: Path) -> None:
    """The parts are gone."""
    (data_dir / RUNNING).unlink(missing_ok=True)


def complete(settings: Settings, data_dir: Path) -> dict[str, str]:
    """The three secrets: as set by the user, else as kept, else generated and kept from now on."""
    before = kept(data_dir)
    generated = {
        API_KEY: keys.issue().token,
        ENCRYPTION_KEY: secrets.token_urlsafe(32),
        FLOWER: f"nightdesk:{secrets.token_urlsafe(12)}",
    }
    after = generated | before
    if after != before:
        _write(data_dir / KEPT, after)
    return after | _chosen(settings)


def _chosen(settings: Settings) -> dict[str, str]:
    set_by_user = {
        API_KEY: settings.bootstrap_api_key,
        ENCRYPTION_KEY: settings.encryption_key,
        FLOWER: settings.flower_basic_auth,
    }
    return {name: text for name, value in set_by_user.items() if value and (text := value.get_secret_value())}


def _read(path: Path) -> dict[str, str]:
    found = dotenv_values(path, interpolate=False) if path.exists() else {}
    return {name: value for name, value in found.items() if value}


def _write(path: Path, values: dict[str, str]) -> None:
    # With the encryption key the database would be lost: the file is whole or absent, also after a power cut.
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as sink:
        sink.write("# Made by `nightdesk up`. Without its encryption key a database cannot be opened.\n")
        sink.writelines(f"{name}={value}\n" for name, value in values.items())
        sink.flush()
        os.fsync(sink.fileno())
    new.replace(path)
