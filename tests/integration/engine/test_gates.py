"""Gates: what each refusal holds back, for how long, and who goes first afterwards."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

from tests.integration.engine.engine import AGENT, MODEL, Engine
from worker.flow import claim, wake
from worker.flow import gate as gate_flow
from worker.gemini.client import ProbeAnswer
from worker.retry import REFUSED
from worker.store import gates

OTHER = "gemini-4-carbon"
STEP_S = 5
"""How often somebody looks who may start, where minutes have to pass."""


def closed_for(engine: Engine, target: str) -> float:
    """Seconds until the gate's time is over."""
    gate = engine.gate(target)
    assert gate is not None
    assert gate.closed_until is not None
    return (gate.closed_until - engine.clock()).total_seconds()


def test_a_429_closes_its_target_for_retry_after_to_the_second(engine: Engine) -> None:
    refused, waiting, other = engine.submit(), engine.submit(), engine.submit(model=OTHER)
    engine.control.fault("create", status=429, retry_after_s=7, count=1)
    engine.start(refused)

    assert closed_for(engine, MODEL) == 7
    engine.pass_time(6.9)
    assert [engine.start(job_id) for job_id in (refused, waiting)] == ["nothing", "nothing"]
    assert engine.count("create") == 1
    assert engine.start(other) == "started"
    engine.pass_time(0.1)
    assert engine.start(waiting) == "started"


def test_after_a_429_one_job_goes_first_and_its_success_opens_the_gate(engine: Engine) -> None:
    refused, first, second = (engine.submit() for _ in range(3))
    engine.control.fault("create", status=429, retry_after_s=7, count=1)
    engine.start(refused)
    engine.pass_time(7)

    seen: list[str] = []
    engine.between("gemini").before["create"] = lambda _: seen.append(engine.start(second)) if not seen else None
    assert engine.start(first) == "started"

    assert seen == ["nothing"]
    gate = engine.gate(MODEL)
    assert gate is not None
    assert (gate.reason, gate.closings) == (None, 0)
    assert engine.start(second) == "started"


def test_without_retry_after_the_gate_stays_closed_longer_each_time(engine: Engine) -> None:
    job_id = engine.submit()
    engine.control.fault("create", status=429)
    waits = []

    for _ in range(4):
        assert engine.start(job_id) == "refused"
        waits.append(closed_for(engine, MODEL))
        engine.pass_time(waits[-1])

    assert waits == [2, 4, 8, 16]
    assert engine.job(job_id).attempt == 1


def test_creates_refused_together_count_as_one_refusal(engine: Engine) -> None:
    jobs = [engine.submit() for _ in range(4)]
    engine.control.fault("create", status=429)
    barrier = Barrier(len(jobs))
    engine.between("gemini").before["create"] = lambda _: barrier.wait(30)

    with ThreadPoolExecutor(len(jobs)) as threads:
        assert list(threads.map(engine.start, jobs)) == ["refused"] * 4

    gate = engine.gate(MODEL)
    assert gate is not None
    assert (gate.closings, closed_for(engine, MODEL)) == (1, 2)


def test_a_shorter_retry_after_of_the_same_wave_does_not_open_earlier(engine: Engine) -> None:
    one, other = engine.submit(), engine.submit()
    engine.control.fault("create", status=429, retry_after_s=60, count=1)
    engine.control.fault("create", status=429, retry_after_s=5, count=1)
    engine.between("gemini").before["create"] = lambda _: engine.start(other) if engine.count("create") == 0 else None

    assert engine.start(one) == "refused"

    assert engine.count("create") == 2
    assert closed_for(engine, MODEL) == 60


def test_retry_after_is_capped(engine: Engine) -> None:
    engine.control.fault("create", status=429, retry_after_s=50_000)

    engine.start(engine.submit())

    assert closed_for(engine, MODEL) == gate_flow.MAX_RETRY_AFTER_S


def test_a_spent_daily_quota_closes_its_target_until_midnight_in_california(engine: Engine) -> None:
    engine.clock.now = datetime(2026, 7, 1, 20, tzinfo=UTC)
    job_id = engine.submit()
    engine.control.fault("create", status=429, code="quota_exceeded", retry_after_s=30, count=1)

    engine.start(job_id)

    gate = engine.gate(MODEL)
    assert gate is not None
    assert (gate.reason, gate.closed_until) == ("quota_exceeded", datetime(2026, 7, 2, 7, tzinfo=UTC))
    engine.clock.now = datetime(2026, 7, 2, 7, tzinfo=UTC)
    assert engine.start(job_id) == "started"


def test_a_spend_limit_of_ten_minutes_is_waited_out_with_single_tries(engine: Engine) -> None:
    window, affordable = timedelta(minutes=10), 3
    jobs = [engine.submit(agent=AGENT) for _ in range(7)]
    made, refused = list[datetime](), list[datetime]()

    def spend(_: object) -> None:
        now = engine.clock()
        if len([at for at in made if at > now - window]) < affordable:
            made.append(now)
        else:
            refused.append(now)
            engine.control.fault("create", status=429, code="rate_limit_exceeded", count=1)

    engine.between("gemini").before["create"] = spend
    began = engine.clock()
    while len(made) < len(jobs) and engine.clock() < began + 6 * window:
        for job in wake.pick(engine.context, wake.HINTED_STARTS) or ():
            engine.start(job.id)
        engine.clock.advance(STEP_S)

    assert [(engine.status(job_id), engine.job(job_id).attempt) for job_id in jobs] == [("in_progress", 1)] * 7
    assert len(engine.runs()) == 7
    for place in (affordable, 2 * affordable):
        waited = made[place] - made[place - affordable]
        assert window <= waited <= window + timedelta(seconds=REFUSED.cap_s + wake.HINT.total_seconds() + STEP_S)
    assert len(refused) <= 2 * 10, "the limit was tried again and again"
    assert engine.count("create") == len(made) + len(refused)


def test_a_refused_key_holds_every_target_and_the_probe_opens_it(engine: Engine) -> None:
    jobs = [engine.submit(), engine.submit(model=OTHER), engine.submit(agent=AGENT)]
    engine.control.fault("create", status=401, code="authentication", count=1)
    gemini = engine.between("gemini")
    gemini.instead["probe"] = lambda: ProbeAnswer(False, 401)

    assert [engine.start(job_id) for job_id in jobs] == ["refused", "nothing", "nothing"]
    engine.pass_time(600)
    assert [engine.start(job_id) for job_id in jobs] == ["nothing"] * 3
    assert [engine.status(job_id) for job_id in jobs] == ["queued"] * 3

    engine.sweep()
    assert gemini.calls.count("probe") == 1
    engine.sweep(29)
    assert gemini.calls.count("probe") == 1
    del gemini.instead["probe"]
    engine.sweep(1)
    assert gemini.calls.count("probe") == 2
    assert [engine.start(job_id) for job_id in jobs] == ["started"] * 3


def test_a_403_on_everything_closes_the_key(engine: Engine) -> None:
    job_id = engine.submit()
    engine.control.fault("create", status=403, code="permission_denied", count=1)
    gemini = engine.between("gemini")
    gemini.instead["probe"] = lambda: ProbeAnswer(False, 403)

    assert engine.start(job_id) == "refused"

    gate = engine.gate(gates.KEY)
    assert gate is not None
    assert gate.reason == "unauthenticated"
    del gemini.instead["probe"]
    engine.sweep(30)
    assert engine.start(job_id) == "started"


def test_after_a_402_one_job_in_thirty_seconds_tries(engine: Engine) -> None:
    one, other = engine.submit(), engine.submit(model=OTHER)
    engine.control.fault("create", status=402, code="payment_required", count=2)
    engine.start(one)

    engine.pass_time(29)
    assert engine.start(one) == "nothing"
    engine.pass_time(1)
    assert engine.start(one) == "refused"
    assert engine.start(other) == "nothing"
    engine.pass_time(30)
    assert engine.start(other) == "started"
    assert engine.start(one) == "started"


def test_a_trial_that_is_rejected_for_itself_lets_the_next_try_at_once(engine: Engine) -> None:
    refused, bad, good = (engine.submit() for _ in range(3))
    engine.control.fault("create", status=429, retry_after_s=7, count=1)
    engine.control.fault("create", status=400, count=1)
    engine.start(refused)
    engine.pass_time(7)

    assert [engine.start(bad), engine.start(good)] == ["failed", "started"]


def test_an_operators_pause_holds_until_it_is_taken_back(engine: Engine) -> None:
    job_id = engine.submit()

    def pause(target: str, *, paused: bool) -> None:
        with engine.context.database.write() as session:
            gates.pause(session, target, paused=paused)

    for target in (MODEL, gates.KEY):
        pause(target, paused=True)
        engine.pass_time(100_000)
        assert engine.start(job_id) == "nothing"
        pause(target, paused=False)
    assert engine.start(job_id) == "started"


def test_a_gate_opened_early_does_not_leave_its_jobs_waiting(engine: Engine) -> None:
    refused, held = engine.submit(), engine.submit()
    engine.control.fault("create", status=429, code="quota_exceeded", count=1)
    engine.start(refused)
    engine.start(held)

    with engine.context.database.write() as session:
        gates.open_(session, [MODEL], before=engine.clock())

    due = [engine.job(job_id).due_at for job_id in (refused, held)]
    assert all(moment is not None and (moment - engine.clock()).total_seconds() <= 5 for moment in due)


def test_a_model_named_like_a_gate_closes_its_own_only(engine: Engine) -> None:
    engine.control.fault("create", status=429, retry_after_s=60)

    for name in ("*", "poll", "all"):
        assert engine.start(engine.submit(model=name)) == "refused"

    assert engine.gate(gates.KEY) is None
    assert engine.gate(gates.POLL) is None


def closed(engine: Engine, *names: str) -> None:
    """Gates whose time is over: one may try."""
    began = engine.clock() - timedelta(seconds=31)
    with engine.context.database.write() as session:
        for name in names:
            until = began + timedelta(seconds=30)
            gates.close(session, name, reason="payment_required", until=until, now=began, closings=1)


def test_the_one_try_of_the_keys_gate_is_kept_for_a_job_that_can_go(engine: Engine) -> None:
    shut, free = engine.submit(), engine.submit(agent=AGENT)
    closed(engine, gates.KEY)
    with engine.context.database.write() as session:
        gates.pause(session, MODEL, paused=True)

    assert engine.start(shut) == "nothing"
    assert engine.start(free) == "started"


def test_of_two_targets_behind_the_keys_gate_one_is_tried(engine: Engine) -> None:
    first, second = engine.submit(), engine.submit(agent=AGENT)
    closed(engine, gates.KEY, MODEL, AGENT)

    assert [one.job.id for one in claim.ready(engine.context, [first, second])] == [first]

    gate = engine.gate(AGENT)
    assert gate is not None
    assert gate.closed_until is not None
    assert gate.closed_until < engine.clock()
