"""The database of the stack before its parts start: migrated, and with what every part would else race to make."""

from worker import context, retired
from worker.database import Database, upgrade
from worker.settings import Settings
from worker.vault import Vault


def prepare(settings: Settings) -> list[str]:
    """Migrate and found; gives back what an operator should be told of retired ids.

    Raises SettingsError where another encryption key sealed what is in there, or the catalog's file is not valid.
    """
    catalog = context.catalog(settings)
    database = Database(settings.database, connections=1)
    try:
        upgrade(database)
        context.found(settings, database, Vault(settings.encryption_key), context.utc_now())
        return retired.doubts(catalog, database)
    finally:
        database.close()
