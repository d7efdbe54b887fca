"""Start: claim queued jobs, create each one's interaction with exactly one POST, record what came of it.

One round serves all that waits: groups of jobs are claimed and marked together, their POSTs go out side by side, and
answers that come together are recorded together.
"""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from time import monotonic
from typing import Any

from worker.context import Context
from worker.errors import CreateLost, Invalid, Unavailable, UpstreamError
from worker.flow import attempt, wake
from worker.flow.attempt import Attempt
from worker.flow.claim import BYTES_AT_ONCE, Claimed, outlives, ready
from worker.flow.end import failure
from worker.flow.line import Line
from worker.gemini.client import Created
from worker.gemini.request import CreateRequest, build
from worker.telemetry import crashed, log, tell

AT_ONCE = 32
"""Creates of one round that may be under way: what a sudden death can leave unconfirmed."""

GROUP_S = 0.12
"""How long an answer waits for company before it is recorded."""

LOOK_S = 0.25
"""How long a round with room for more waits for an answer before it looks who else waits."""

LOOKS = 3
"""How often in a row a round looks for others where all that it has picked were taken or held back meanwhile."""

SLACK_S = 10.0
"""How long a create may take beyond its own timeout before the loop thread is given up."""

LAST_LOOK_S = 1.0
RUN_S = 20.0
SHOWN = 20
"""Outcomes that a round gives back for Flower to show."""


class Unsent(Exception):
    """Nothing was sent: for the fault that it holds, or without one because it was not the time to."""

    def __init__(self, fault: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.fault = fault


Outcome = Created | UpstreamError | Unsent
UnderWay = dict[Future[Created], Claimed]


def run(context: Context, line: Line) -> dict[str, str]:
    """Start what is in line for about RUN_S; gives back the outcomes of the first SHOWN jobs, each in a word."""
    outcomes: dict[str, str] = {}
    under_way: UnderWay = {}
    try:
        with line.served():
            is_over = not _serve(context, line, under_way, outcomes)
        if is_over:
            # Others go on while the last answers are awaited here.
            with suppress(Unavailable):
                wake.starts(context, 1)
    finally:
        while under_way:
            outcomes |= record(context, _last(context, under_way))
    return dict(list(outcomes.items())[:SHOWN])


def _serve(context: Context, line: Line, under_way: UnderWay, outcomes: dict[str, str]) -> bool:
    """Send and record for as long as jobs wait; False: the time of the round is over before that."""
    give_up = monotonic() + RUN_S
    while monotonic() < give_up and not context.leaving.is_set():
        for claimed in _next(context, line, under_way):
            under_way[talk(context, claimed)] = claimed
        if under_way:
            outcomes |= record(context, _answered(under_way, LOOK_S))
        elif line.leave():
            return True
    return False


def _next(context: Context, line: Line, under_way: UnderWay) -> list[Claimed]:
    """The next jobs of the line that can be claimed, and marked; none while the database does not answer."""
    room = AT_ONCE - len(under_way)
    room_bytes = BYTES_AT_ONCE - sum(one.size for one in under_way.values())
    try:
        for _ in range(LOOKS):
            names = line.next(room) if room > 0 and room_bytes > 0 else []
            if claimed := ready(context, names, room_bytes) if names else []:
                return claimed
    except Unavailable:
        log.warning("job.start", outcome="database_unavailable")
    except Exception as error:  # noqa: BLE001 - recorded: whose POSTs are under way must still be heard
        crashed("job.start", error)
    return []


def talk(context: Context, claimed: Claimed) -> Future[Created]:
    """Send the one POST, unless it is forbidden, or the process slept since and the claim no longer outlives it.

    The future gives the interaction, or raises UpstreamError or Unsent.
    """
    failed: Future[Created] = Future()
    try:
        return context.gemini.create(_request(context, claimed))
    except (UpstreamError, Unsent) as error:
        failed.set_exception(error)
    except Exception as error:  # noqa: BLE001 - recorded: what is raised before there is a future was not sent
        crashed("job.start", error, job_id=claimed.job.id)
        failed.set_exception(Unsent())
    return failed


def _request(context: Context, claimed: Claimed) -> CreateRequest:
    if claimed.fault is not None:
        raise Unsent(claimed.fault)
    if not outlives(context, claimed.job):
        raise Unsent
    try:
        return build(claimed.body)
    except Invalid:
        # What was valid at submission is not for this release.
        raise Unsent(failure("upstream_rejected", "the request cannot be built any more", retryable=False)) from None


def _answered(under_way: UnderWay, timeout_s: float) -> list[tuple[Claimed, Outcome]]:
    """Wait for an answer, and a moment for its company; nothing where none comes in time."""
    if wait(under_way, timeout=timeout_s, return_when=FIRST_COMPLETED).done:
        wait(under_way, timeout=GROUP_S)
    done = [future for future in under_way if future.done()]
    return [(under_way.pop(future), outcome(future)) for future in done]


def _last(context: Context, under_way: UnderWay) -> list[tuple[Claimed, Outcome]]:
    """The answers that are still awaited when nothing more is sent; no longer than they may take."""
    # A process that was stopped for longer finds answers that the loop thread has had no time yet to take.
    answered = _answered(under_way, context.settings.talk_start_s + SLACK_S) or _answered(under_way, LAST_LOOK_S)
    if not answered:
        for future in under_way:
            future.cancel()
    return answered


def outcome(future: Future[Created]) -> Outcome:
    """What a POST came to."""
    try:
        return future.result()
    except (UpstreamError, Unsent) as error:
        return error
    except (Exception, CancelledError) as error:  # noqa: BLE001 - recorded: nobody knows whether it was sent
        crashed("job.start", error)
        return CreateLost(f"create ended with {type(error).__name__}")


def record(context: Context, answered: Sequence[tuple[Claimed, Outcome]]) -> dict[str, str]:
    """Write down what came of these POSTs; gives back each job's outcome in a word."""
    made = [Attempt(one.job.id, one.token, came) for one, came in answered if isinstance(came, Created)]
    words = _attached(context, made)
    failed = [(one, came) for one, came in answered if not isinstance(came, Created)]
    # Last, and with one probe for all: it may take long, and the others' claims run out.
    is_key_refused: bool | None = None
    for one, came in sorted(failed, key=lambda pair: attempt.is_denied(pair[1])):
        if attempt.is_denied(came) and is_key_refused is None:
            is_key_refused = context.gemini.probe().key_works is False
        words[one.job.id] = _alone(context, one, came, is_key_refused=bool(is_key_refused))
    for one, _ in answered:
        job = one.job
        fields = {"job_id": job.id, "turn": job.turn, "attempt": job.attempt, "request_id": job.request_id}
        tell("job.start", one.since, **fields, outcome=words[job.id])
    return words


def _attached(context: Context, made: Sequence[Attempt]) -> dict[str, str]:
    """One interaction that cannot be recorded must not keep its neighbours from being so."""
    if not made:
        return {}
    names = [one.created.upstream_id for one in made]
    try:
        return attempt.recorded(context, lambda: attempt.attach(context, made), interaction_ids=names)
    except Unavailable:
        return dict.fromkeys((one.job_id for one in made), "not_recorded")
    except Exception as error:  # noqa: BLE001 - recorded, each alone
        crashed("job.start", error, interaction_ids=names)
        if len(made) == 1:
            return {made[0].job_id: "crashed"}
        return {name: word for one in made for name, word in _attached(context, [one]).items()}


def _alone(context: Context, one: Claimed, error: UpstreamError | Unsent, *, is_key_refused: bool) -> str:
    job, token = one.job, one.token

    def settle() -> str:
        if isinstance(error, UpstreamError):
            return attempt.failed(context, job, token, error, is_key_refused=is_key_refused)
        if error.fault is None:
            return attempt.refused(context, job, token, None)
        return attempt.ended(context, job, token, error.fault)

    try:
        return attempt.recorded(context, settle, job_id=job.id)
    except Unavailable:
        return "not_recorded"
    except Exception as unforeseen:  # noqa: BLE001 - recorded: its claim runs out
        crashed("job.start", unforeseen, job_id=job.id)
        return "crashed"
