import json
from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from api import exposition
from worker import telemetry
from worker.database import Database
from worker.store import counters, gates
from worker.store.stats import Tally

NOW = datetime(2026, 11, 21, 20, tzinfo=UTC)


def exposed(url: str, *tallies: Tally) -> dict[tuple[str, str], float]:
    database = Database(url)
    with database.read() as session:
        text = exposition.text(session, tallies, known={"m"}, now=NOW).decode()
    database.close()
    return {
        (sample.name, json.dumps(sample.labels, sort_keys=True)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_was_observed_becomes_a_histogram_with_all_buckets(sqlite_url: str) -> None:
    telemetry.drain()
    for value_s in (0.2, 0.3, 400):
        telemetry.observe("nightdesk_lag_seconds", value_s, kind="m")
    database = Database(sqlite_url)
    with database.write() as session:
        counters.add(session, telemetry.drain())
    database.close()

    found = exposed(sqlite_url)

    buckets = {
        bound: found["nightdesk_lag_seconds_bucket", json.dumps({"kind": "m", "le": bound})]
        for bound in telemetry.BOUNDS
    }
    assert [buckets[bound] for bound in ("0.1", "0.25", "0.5", "300", "+Inf")] == [0, 1, 2, 2, 3]
    assert found["nightdesk_lag_seconds_count", '{"kind": "m"}'] == 3
    assert found["nightdesk_lag_seconds_sum", '{"kind": "m"}'] == 400.5


def test_targets_that_nobody_knows_count_together(sqlite_url: str) -> None:
    found = exposed(
        sqlite_url, Tally("queued", "model", "m", 1), Tally("queued", "model", "x", 2), Tally("queued", "model", "y", 3)
    )

    known, other = ({"kind": "model", "status": "queued", "target": target} for target in ("m", "other"))
    assert found["nightdesk_jobs", json.dumps(known)] == 1
    assert found["nightdesk_jobs", json.dumps(other)] == 5


def test_a_gate_is_closed_or_open(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.write() as session:
        gates.close(session, "m", reason="rate_limited", until=NOW + timedelta(seconds=1), now=NOW, closings=1)
        gates.lock(session, gates.KEY)
    database.close()

    found = exposed(sqlite_url)

    assert found["nightdesk_gate_closed", '{"target": "m"}'] == 1
    assert found["nightdesk_gate_closed", json.dumps({"target": gates.KEY})] == 0


def test_what_never_happened_has_no_age(sqlite_url: str) -> None:
    assert ("nightdesk_sweep_age_seconds", "{}") not in exposed(sqlite_url)
