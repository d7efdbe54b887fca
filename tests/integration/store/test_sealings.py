"""Requests lie sealed in the database, and everything sealed can be sealed anew with another key."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlmodel import SQLModel

from tests.factories import NOW
from tests.integration.store.conftest import Store
from worker.database import Database
from worker.errors import SettingsError
from worker.models import JobInput, Sealed, WebhookEndpoint
from worker.settings import Settings
from worker.store import jobs, projects, results, sealings
from worker.vault import Vault

OLD, NEW = "the key of last year", "the key of this year"
BODY = b'{"input": "What is left of the moa?"}'
DOCUMENTS = {"result.outcome", "event.payload", "delivery.body"}
"""Bytes that hold no secrets."""


@contextmanager
def keyed(store: Store, *keys: str) -> Iterator[Database]:
    """The database as a process with these keys sees it."""
    url = Settings(database_url=store.url, _env_file=None).database
    database = Database(url, sealer=Vault(SecretStr(",".join(keys))))
    yield database
    database.close()


def stored(store: Store) -> list[bytes]:
    statement = sa.text("SELECT body FROM job_input ORDER BY job_id, turn")
    return store.read(lambda session: [bytes(row.body) for row in session.execute(statement)])


def test_a_request_lies_sealed_and_is_read_as_it_was(store: Store) -> None:
    job_id = store.add()
    with keyed(store, NEW) as database:
        with database.write() as session:
            session.add(JobInput(job_id=job_id, turn=1, body=BODY))
        with database.read() as session:
            found = [jobs.body(session, job_id, 1), jobs.bodies(session, [(job_id, 1)])[job_id]]

    (sealed,) = stored(store)
    assert found == [BODY, BODY]
    assert b"moa" not in sealed


def test_a_request_of_a_release_that_sealed_none_is_read_as_it_was(store: Store) -> None:
    job_id = store.add()
    plain = sa.text("INSERT INTO job_input (job_id, turn, body) VALUES (:job_id, 1, :body)")
    store.write(lambda session: session.execute(plain, {"job_id": job_id, "body": BODY}))

    with keyed(store, NEW) as database, database.read() as session:
        assert jobs.body(session, job_id, 1) == BODY


def test_what_was_sealed_anew_is_opened_by_the_new_key_alone(store: Store) -> None:
    old, both = Vault(SecretStr(OLD)), Vault(SecretStr(f"{NEW},{OLD}"))
    job_ids = sorted(store.add() for _ in range(5))
    with keyed(store, OLD) as database, database.write() as session:
        project = projects.create_project(session, "a", sealed_secret=old.seal("whsec_a"), now=NOW)
        project.webhook_secret, project.old_webhook_secret = old.seal("whsec_b"), old.seal("whsec_a")
        sealings.add(session, "check", old.seal("check"))
        for name, secret, headers in (("live", old.seal("whsec_c"), old.seal("{}")), ("deleted", b"", None)):
            kept: dict[str, Any] = {
                "id": name,
                "project_id": project.id,
                "url": "",
                "host": "",
                "header_names": [],
                "created_at": NOW,
            }
            session.add(WebhookEndpoint(secret=secret, headers=headers, **kept))
        session.add_all([JobInput(job_id=job_id, turn=1, body=BODY) for job_id in job_ids])
        for job_id in job_ids:
            results.add(session, job_id, 1, outcome={}, raw=BODY, now=NOW, expires_at=NOW)

    with keyed(store, NEW, OLD) as database:
        with database.write() as session:
            sealed = sealings.secrets(session, lambda one: both.reseal(one) if one.startswith(b"gAAAAA") else one)
        for table in sealings.DOCUMENTS:
            found = [("", 0)]
            while found:
                with database.write() as session:
                    found = sealings.rewrite(session, table, after=found[-1], limit=2, enough_bytes=10_000)

    assert sealed >= 3
    with keyed(store, NEW) as database, database.read() as session:
        assert [jobs.body(session, job_id, 1) for job_id in job_ids] == [BODY] * 5
        assert [results.raw(session, job_id, 1) for job_id in job_ids] == [BODY] * 5
        (found_again,) = projects.several(session, [project.id])
        secrets = (found_again.webhook_secret, found_again.old_webhook_secret or b"")
        assert [Vault(SecretStr(NEW)).open(one) for one in secrets] == ["whsec_b", "whsec_a"]
        live, deleted = (session.get_one(WebhookEndpoint, name) for name in ("live", "deleted"))
        assert Vault(SecretStr(NEW)).open(live.secret) == "whsec_c"
        assert Vault(SecretStr(NEW)).open(live.headers or b"") == "{}"
        assert (deleted.secret, deleted.headers) == (b"", None)
    for read in (jobs.body, results.raw):
        with keyed(store, OLD) as database, database.read() as session, pytest.raises(SettingsError):
            read(session, job_ids[0], 1)


def test_every_column_of_bytes_is_known_to_be_sealed_or_to_hold_no_secret() -> None:
    columns = {
        f"{table.name}.{column.name}": column
        for table in SQLModel.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.LargeBinary | Sealed)
    }
    secrets = {f"{table.__tablename__}.{name}" for table, names in sealings.SECRETS.items() for name in names}
    documents = {name for name, column in columns.items() if isinstance(column.type, Sealed)}

    assert documents == {f"{table.__tablename__}.{name}" for table, name in sealings.DOCUMENTS.items()}
    assert columns.keys() - documents == secrets | DOCUMENTS


@pytest.mark.parametrize(("enough_bytes", "at_once"), [(1, 1), (len(BODY) + 1, 2), (10_000, 3)])
def test_a_transaction_reseals_so_many_documents_as_come_to_enough(
    store: Store, enough_bytes: int, at_once: int
) -> None:
    """For nobody else writes to SQLite meanwhile, and a document may be megabytes."""
    job_ids = sorted(store.add_all([{}] * 4))
    with keyed(store, NEW) as database, database.write() as session:
        session.add_all([JobInput(job_id=job_id, turn=1, body=BODY) for job_id in job_ids])
        session.flush()

        found = sealings.rewrite(session, JobInput, after=("", 0), limit=3, enough_bytes=enough_bytes)

    assert found == [(job_id, 1) for job_id in job_ids[:at_once]]
