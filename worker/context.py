"""What every step needs, built once for each process: settings, clock, database, upstream, receivers, sender."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from threading import Event

import orjson

from worker import keys
from worker.app import Sender
from worker.artifacts import Artifacts
from worker.database import Database, pending, take_turns
from worker.errors import SettingsError
from worker.gemini.access import Access
from worker.gemini.catalog import Catalog, Kind, load_catalog
from worker.gemini.client import Gemini, Timeouts
from worker.gemini.files import Files
from worker.gemini.loop import LoopThread
from worker.gemini.poller import Bounds, Poller
from worker.retry import Backoff
from worker.settings import SLOT_WAIT_S, Settings
from worker.store import audit, projects, sealings
from worker.vault import CHECK, Vault
from worker.webhooks import signing
from worker.webhooks.address import Policy
from worker.webhooks.egress import Egress, Limits

NAME = "nightdesk"
CATALOG_FILE = "NIGHTDESK_CATALOG_FILE"


def utc_now() -> datetime:
    """The time; everything else takes it as `now`."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Context:
    """One process's means. Build it after any fork; close it at the end."""

    settings: Settings
    clock: Callable[[], datetime]
    chance: Callable[[], float]
    pause: Callable[[float], None]
    database: Database
    vault: Vault
    artifacts: Artifacts
    catalog: Catalog
    loop: LoopThread
    gemini: Gemini
    poller: Poller
    files: Files
    egress: Egress
    sender: Sender
    leaving: Event = field(default_factory=Event)
    """Set when the process is told to stop: what is under way is finished, nothing more is taken."""

    @cached_property
    def policy(self) -> Policy:
        """Which webhook addresses are allowed."""
        return policy(self.settings)

    @cached_property
    def access(self) -> Access:
        """Where the upstream is, for whoever asks it by itself."""
        return access(self.settings)

    def schedule(self, kind: Kind, target: str) -> Backoff:
        """When a running interaction is asked again."""
        return self._schedules[self.catalog.entry(kind, target).poll]

    @cached_property
    def _schedules(self) -> dict[str, Backoff]:
        """One for each speed: thousands of rows a second ask."""
        its = self.settings
        return {
            "agent": Backoff(its.poll_agent_start_s, its.poll_agent_factor, its.poll_agent_cap_s),
            "model": Backoff(its.poll_model_start_s, its.poll_model_factor, its.poll_model_cap_s),
        }

    def close(self) -> None:
        """Give everything back."""
        self.poller.close()
        self.files.close()
        self.gemini.close()
        self.loop.run(self.egress.close(), 5)
        self.loop.stop()
        self.sender.close()
        self.database.close()


def policy(settings: Settings) -> Policy:
    """The address guard as the settings have it."""
    return Policy(
        allow_networks=settings.webhook_allow_networks,
        allow_http=settings.webhook_allow_http,
        allow_ports=settings.webhook_allow_ports,
    )


def catalog(settings: Settings) -> Catalog:
    """The shipped catalog, with the operator's own file over it."""
    if settings.catalog_file is None:
        return load_catalog()
    try:
        return load_catalog(orjson.loads(settings.catalog_file.read_bytes()))
    except OSError as error:
        raise SettingsError(f"{CATALOG_FILE}: cannot be read ({error.strerror})") from None
    except orjson.JSONDecodeError as error:
        raise SettingsError(f"{CATALOG_FILE}: is not JSON ({error})") from None
    except SettingsError as error:
        raise SettingsError(f"{CATALOG_FILE}: {error}") from None


def build(settings: Settings, clock: Callable[[], datetime] = utc_now) -> Context:
    """Everything, ready for use; raises SettingsError where settings are missing or do not fit the database."""
    vault, known = Vault(settings.encryption_key), catalog(settings)
    sender, artifacts = Sender(settings), Artifacts(settings.artifacts)
    database = Database(settings.database, sealer=vault)
    found(settings, database, vault, clock())
    upstream = access(settings)
    loop = LoopThread()
    loop.start()
    timeouts = Timeouts(create_s=settings.talk_start_s, cancel_s=settings.talk_cancel_s)
    return Context(
        settings=settings,
        clock=clock,
        chance=random.random,
        pause=time.sleep,
        database=database,
        vault=vault,
        artifacts=artifacts,
        catalog=known,
        loop=loop,
        gemini=Gemini(upstream, loop, timeouts=timeouts, create_503=settings.create_503),
        poller=Poller(upstream, loop, bounds=_bounds(settings)),
        files=Files(upstream, loop, call_s=settings.talk_file_s),
        egress=loop.run(_egress(settings), 5),
        sender=sender,
    )


def access(settings: Settings) -> Access:
    """Where the upstream is, and the key for it; raises SettingsError where there is none."""
    if settings.gemini_api_key is None:
        raise SettingsError("NIGHTDESK_GEMINI_API_KEY: must be set (`nightdesk up` without one runs the simulator)")
    return Access(
        api_key=settings.gemini_api_key.get_secret_value(),
        base_url=settings.gemini,
        api_version=settings.gemini_api_version,
    )


def _bounds(settings: Settings) -> Bounds:
    # Between the timeout of one GET and the end of the claim: what is not answered by then is not recorded.
    fetch_s = (settings.talk_poll_s + settings.claim_poll_s) / 2
    return Bounds(connections=settings.gemini_connections, get_s=settings.talk_poll_s, fetch_s=fetch_s)


async def _egress(settings: Settings) -> Egress:
    limits = Limits(total_s=settings.talk_deliver_s, slot_wait_s=SLOT_WAIT_S)
    return Egress(policy(settings), version(NAME), limits=limits)


def found(settings: Settings, database: Database, vault: Vault, now: datetime) -> None:
    """Check that schema and encryption key fit; make the default project and the bootstrap key if they are missing."""
    if pending(database):
        raise SettingsError("the database is older than this release: run `nightdesk migrate` first")
    with database.write() as session:
        # Everything starts at once, and each part would make what is missing.
        take_turns(session.connection())
        sealed = sealings.get(session, CHECK)
        if sealed is None:
            sealings.add(session, CHECK, vault.seal(CHECK))
        else:
            vault.open(sealed)
        project = projects.by_name(session, projects.DEFAULT) or projects.create_project(
            session, projects.DEFAULT, sealed_secret=vault.seal(signing.new_secret()), now=now
        )
        if settings.bootstrap_api_key is not None:
            issued = keys.describe(settings.bootstrap_api_key.get_secret_value())
            if not projects.has_key(session, issued.digest):
                key = projects.add_key(session, project.id, "bootstrap", issued, scopes=list(keys.SCOPES), now=now)
                by = audit.SETTINGS
                audit.note(session, by, audit.KEY_CREATED, project_id=project.id, subject=key.id, now=now)
