"""The quota of tokens: a day of UTC, whole orders, nothing half done, and summed up now and then only."""

from datetime import UTC, datetime, time, timedelta
from time import monotonic

import pytest

from tests.integration.engine.asking import answer, asking
from tests.integration.engine.engine import Engine
from tests.overheard import overheard
from worker.errors import QuotaExceeded
from worker.flow.limits import Limits
from worker.flow.quota import AT_LEAST_S, Quota
from worker.models import Job, UsageEntry


def use(engine: Engine) -> int:
    """A job that runs to its end; gives back the tokens it used."""
    job_id = engine.started()
    engine.finish(job_id)
    engine.poll()
    (entry,) = engine.rows(UsageEntry, job_id)
    return int(entry.total_tokens)


def on_the_next_day(engine: Engine, hour: int, minute: int = 0, second: int = 0) -> datetime:
    """Let it be this time of the next day of UTC."""
    moment = datetime.combine(engine.clock().date() + timedelta(days=1), time(hour, minute, second), tzinfo=UTC)
    engine.pass_time((moment - engine.clock()).total_seconds())
    return moment


def test_nothing_of_an_order_over_the_quota_is_written(engine: Engine) -> None:
    on_the_next_day(engine, 9)
    engine.set(max_tokens_per_day=use(engine))

    with pytest.raises(QuotaExceeded) as refused:
        engine.accept(engine.draft(), engine.draft(), key="k")

    assert len(engine.rows(Job)) == 1
    assert refused.value.limit == engine.context.settings.max_tokens_per_day
    assert refused.value.retry_after_s == 15 * 3600 - 10


def test_an_answer_to_function_calls_waits_for_the_next_day_too(engine: Engine) -> None:
    on_the_next_day(engine, 9)
    job_id = asking(engine)
    engine.set(max_tokens_per_day=1)
    with pytest.raises(QuotaExceeded):
        answer(engine, job_id, key="k")
    assert engine.status(job_id) == "requires_action"

    on_the_next_day(engine, 0)

    assert answer(engine, job_id, key="k").jobs[0].status == "queued"


def test_the_next_day_begins_at_midnight_in_utc(engine: Engine) -> None:
    on_the_next_day(engine, 23, 59, 40)
    engine.set(max_tokens_per_day=use(engine))
    with pytest.raises(QuotaExceeded) as refused:
        engine.submit()
    assert refused.value.retry_after_s == 10

    engine.pass_time(refused.value.retry_after_s)

    assert engine.submit()


def test_usage_that_came_late_counts_for_the_day_of_its_end(engine: Engine) -> None:
    day = on_the_next_day(engine, 23, 59, 40).date()
    job_id = engine.started()
    engine.finish(job_id, usage_late_s=60)
    engine.poll()
    engine.poll(100)
    (entry,) = engine.rows(UsageEntry, job_id)
    assert entry.at.date() == day

    engine.set(max_tokens_per_day=1)

    assert engine.submit()


def test_a_process_sums_up_once_in_a_while_and_anew_each_day(engine: Engine) -> None:
    used, now = use(engine), engine.clock()
    asked = Quota(Limits(tokens_per_day=used))

    def refused(at: datetime) -> bool:
        try:
            engine.read(lambda session: asked.check(session, engine.project_id, 1, 0, at))
        except QuotaExceeded:
            return True
        return False

    began = monotonic()
    with overheard(engine.context.database.reader) as said:
        assert all(refused(now) for _ in range(50))
    assert len(said) <= 2 * (1 + (monotonic() - began) / AT_LEAST_S)
    assert not refused(now + timedelta(days=1))
