"""The database of the stack before its parts start: migrated, and with what every part would else race to make."""

from worker import context
from worker.database import Database, upgrade
from worker.settings import Settings
from worker.vault import Vault


def prepare(settings: Settings) -> None:
    """Migrate and found; raises SettingsError where another encryption key sealed what is in there."""
    database = Database(settings.database, connections=1)
    try:
        upgrade(database)
        context.found(settings, database, Vault(settings.encryption_key), context.utc_now())
    finally:
        database.close()
