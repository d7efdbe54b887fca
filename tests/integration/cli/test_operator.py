"""What operators run beside the service: keys and projects, on a database of their own, and the log of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import ENCRYPTION_KEY
from tests.integration.cli.conftest import Nightdesk, Ran
from worker.database import Database
from worker.keys import digest
from worker.models import ApiKey, AuditEntry, Project
from worker.store import holders

DAY = timedelta(days=1)


class Site:
    """A migrated database, and the command that works on it."""

    def __init__(self, nightdesk: Nightdesk, database: Database) -> None:
        self._nightdesk = nightdesk
        self._database = database

    def __call__(self, *words: str) -> Ran:
        return self._nightdesk(*words)

    def key(self, *words: str) -> tuple[str, str]:
        """A new key: its id and the key itself."""
        ran = self("keys", "create", "--name=try", *words)
        assert ran.code == 0, ran.err
        return ran.err.split()[0], ran.out.strip()

    def rows(self, table: Any) -> list[Any]:
        with self._database.read() as session:
            return list(session.scalars(sa.select(table).order_by(table.id)))

    def opens(self, token: str, at: datetime | None = None) -> bool:
        with self._database.read() as session:
            return bool(holders.of_digests(session, [digest(token)], at or datetime.now(UTC)))

    def deeds(self) -> list[tuple[str, str | None]]:
        return [(entry.action, entry.subject) for entry in self.rows(AuditEntry)]


@pytest.fixture
def site(bare: Nightdesk, database_url: str, database: Database) -> Site:
    bare.set(NIGHTDESK_DATABASE_URL=database_url, NIGHTDESK_ENCRYPTION_KEY=ENCRYPTION_KEY)
    return Site(bare, database)


def test_a_key_may_be_made_to_end(site: Site) -> None:
    now = datetime.now(UTC)
    key_id, token = site.key("--expires=90d")
    dated_id, _ = site.key("--expires=2100-01-31")

    ends = {key.id: key.expires_at for key in site.rows(ApiKey)}
    listed = site("keys", "list").out

    assert now + 90 * DAY <= ends[key_id] <= datetime.now(UTC) + 90 * DAY
    assert ends[dated_id] == datetime(2100, 1, 31, tzinfo=UTC)
    assert "never used, ends 2100-01-31 00:00 UTC" in listed
    assert site.opens(token)
    assert not site.opens(token, at=ends[key_id])


@pytest.mark.parametrize("end", ["yesterday", "0d", "2020-01-01", "90", "-1d", "9999999d"])
def test_no_key_ends_before_it_begins_or_nobody_knows_when(site: Site, end: str) -> None:
    ran = site("keys", "create", "--name=x", f"--expires={end}")

    assert ran.code == 2
    assert end in ran.err
    assert site.rows(ApiKey) == []


def test_a_rotated_key_goes_on_for_a_while_beside_the_new_one(site: Site) -> None:
    old_id, old = site.key("--scopes=jobs:read,admin", "--project=other")

    ran = site("keys", "rotate", old_id)

    new = ran.out.strip()
    now = datetime.now(UTC)
    first, second = site.rows(ApiKey)
    assert (second.project_id, second.name, second.scopes) == (first.project_id, "try", ["jobs:read", "admin"])
    assert second.expires_at is None
    assert old_id in ran.err
    assert new not in ran.err
    assert site.opens(old)
    assert site.opens(new)
    assert not site.opens(old, at=now + timedelta(hours=24, minutes=1))
    assert site.opens(new, at=now + 1000 * DAY)


def test_a_key_rotated_without_overlap_ends_at_once_and_a_second_time_not_at_all(site: Site) -> None:
    key_id, token = site.key("--expires=10d")

    assert site("keys", "rotate", key_id, "--overlap=0h").code == 0

    again = site("keys", "rotate", key_id)
    assert not site.opens(token)
    assert (again.code, again.err) == (1, f"nightdesk: there is no live key {key_id}\n")
    old, new = site.rows(ApiKey)
    assert new.expires_at - new.created_at == timedelta(days=10)
    assert old.expires_at < new.expires_at


def test_rotating_makes_no_key_last_longer(site: Site) -> None:
    key_id, _ = site.key("--expires=2h")
    before = site.rows(ApiKey)[0].expires_at

    site("keys", "rotate", key_id, "--overlap=7d")

    assert site.rows(ApiKey)[0].expires_at == before


def test_a_revoked_key_opens_nothing_and_is_not_rotated(site: Site) -> None:
    key_id, token = site.key()

    assert site("keys", "revoke", key_id).code == 0

    assert not site.opens(token)
    assert site("keys", "rotate", key_id).code == 1
    assert site("keys", "revoke", key_id).code == 1


def test_what_is_done_to_keys_projects_and_gates_is_in_the_log(site: Site) -> None:
    old, _ = site.key()
    site("keys", "rotate", old)
    site("keys", "revoke", old)
    site("projects", "create", "other")
    site("keys", "create", "--name=k", "--project=third")
    site("projects", "limits", "other", "--queued=5")
    site("projects", "limits", "other")
    site("gates", "pause", "gemini-3.8-flash")
    site("gates", "resume", "all")
    new, first = (key.id for key in site.rows(ApiKey) if key.id != old)
    other, third = (next(one.id for one in site.rows(Project) if one.name == name) for name in ("other", "third"))

    assert sorted(site.deeds()) == sorted(
        [
            ("key.create", old),
            ("key.rotate", old),
            ("key.create", new),
            ("key.revoke", old),
            ("project.create", other),
            ("project.create", third),
            ("key.create", first),
            ("project.limits", other),
            ("gate.pause", "gemini-3.8-flash"),
            ("gate.resume", "all"),
        ]
    )
    entry = site.rows(AuditEntry)[0]
    assert entry.actor.startswith("cli:")
    assert entry.address


def test_a_project_s_limits_are_set_shown_and_given_back(site: Site) -> None:
    assert site("projects", "create", "few").code == 0
    set_ = site("projects", "limits", "few", "--queued=1000", "--in-flight=2", "--jobs-per-day=0")
    taken_back = site("projects", "limits", "few", "--queued=default")

    assert set_.out == "few: queued 1,000, in-flight 2, jobs-per-day 0\n"
    assert taken_back.out == "few: in-flight 2, jobs-per-day 0\n"
    (project,) = [one for one in site.rows(Project) if one.name == "few"]
    assert (project.max_queued, project.max_in_flight, project.max_jobs_per_day) == (None, 2, 0)
    listed = site("projects", "list").out
    assert f"{project.id}  few  in-flight 2, jobs-per-day 0\n" in listed
    assert "default  the usual limits\n" in listed


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["limits", "nobody"], 1, "there is no project nobody"),
        (["limits", "default", "--queued=-1"], 2, "--queued must be a whole number or default"),
        (["limits", "default", "--in-flight=many"], 2, "--in-flight must be a whole number or default"),
        (["create", "default"], 2, "there is a project default already"),
    ],
)
def test_what_cannot_be_done_to_projects_is_told(site: Site, words: list[str], code: int, said: str) -> None:
    site.key()

    ran = site("projects", *words)

    assert ran.code == code
    assert said in ran.err
