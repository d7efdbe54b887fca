"""Wake-ups: which hints to send after a commit. Nothing here is needed for correctness.

What is called after a commit never raises: sending swallows its failures.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import cycle, islice

from sqlmodel import Session

from worker.app import CANCEL, DELIVER, POLL, START, Hint
from worker.context import Context
from worker.document import PRIORITIES
from worker.errors import Unavailable
from worker.flow import limits
from worker.models import Job
from worker.states import TERMINAL, Status
from worker.store import gates, jobs, outbox
from worker.store import starts as queue
from worker.store.outbox import Heard
from worker.store.starts import Hinted

HINT = timedelta(seconds=3)
"""How long a hinted start may take to be claimed before it is hinted again."""

HINTED_STARTS = 16
"""Start messages that may wait at once: more would be served in the order sent, not by priority."""

HINTED_DELIVERIES = 16
"""Delivery messages that may wait at once: each of them delivers whatever is due."""

SHOWN = 3
"""Up to so many starts or deliveries at once get a message each; beyond, a batch or the sweep takes them all."""

PROJECTS = 64
"""Projects that are looked at for one choice; another choice begins with another project."""

AGED = 8
"""One pick in so many goes to the job that has waited longest, whatever its priority, so that `low` never starves."""


def room(context: Context) -> int:
    """How many more start hints the queue may take."""
    backlog = context.sender.backlog(START)
    return 0 if backlog is None else max(0, HINTED_STARTS - backlog)


def start_hint(job_id: str, turn: int, attempt: int) -> Hint:
    """The task id tells a job's turns and attempts apart; Flower finds them all by the job's id."""
    return Hint(START, (job_id,), f"{job_id}:start:{turn}.{attempt}", f"('{job_id}',)")


def send_starts(context: Context, started: Sequence[Job | Hinted]) -> None:
    """Hint the starts of these jobs."""
    if started:
        context.sender.send([start_hint(job.id, job.turn, job.attempt) for job in started])


def moved(context: Context, jobs_moved: Sequence[Job]) -> None:
    """Announce moves after their commit: the next task of each job, its webhook, and whoever waits for it."""
    if not jobs_moved:
        return
    now = context.clock()
    queued = [job for job in jobs_moved if job.status == Status.QUEUED and (job.due_at or now) <= now]
    # A crowd is left to the sweep, which knows its order.
    hints = [start_hint(job.id, job.turn, job.attempt) for job in queued[:SHOWN]]
    hints += [cancel_hint(job.id) for job in jobs_moved if job.status == Status.CANCELLING]
    hints += _delivery_hints(context, jobs_moved)
    if hints:
        context.sender.send(hints)
    context.sender.publish(job.id for job in jobs_moved)
    _fill(context, jobs_moved)


def _fill(context: Context, jobs_moved: Sequence[Job]) -> None:
    """Where limits hold jobs back, one that has ended makes room for the next."""
    settings = context.settings
    limits_set = (settings.max_in_flight, settings.max_in_flight_per_target, settings.max_in_flight_per_project)
    is_limited = any(limit is not None for limit in limits_set)
    ended = sum(job.status in TERMINAL for job in jobs_moved)
    if is_limited and ended:
        with suppress(Unavailable):
            starts(context, ended)


def cancel_hint(job_id: str) -> Hint:
    """Cancel this job's interaction."""
    return Hint(CANCEL, (job_id,), f"{job_id}:cancel", f"('{job_id}',)")


def deliveries(context: Context, created: Sequence[Job]) -> None:
    """Hint what somebody hears of jobs that were created."""
    hints = _delivery_hints(context, created)
    if hints:
        context.sender.send(hints)


def _delivery_hints(context: Context, jobs_moved: Sequence[Job]) -> list[Hint]:
    heard = [(job, told) for job in jobs_moved if (told := outbox.heard(job))]
    if not heard or (context.sender.backlog(DELIVER) or 0) >= HINTED_DELIVERIES:
        return []
    return [_delivery_hint(job, told) for job, told in heard] if len(heard) <= SHOWN else [Hint(DELIVER)]


def _delivery_hint(job: Job, told: Heard) -> Hint:
    """Deliver whatever is due; the message shows which job's event is meant, and to which host."""
    shown = f"('{job.id}', '{told.event_type}', '{told.host}')"
    return Hint(DELIVER, (), f"{job.id}:deliver:{job.sequence}", shown)


def starts(context: Context, limit: int = HINTED_STARTS) -> int:
    """Hint the next starts, as many as the queue is short of; gives back how many."""
    wanted = min(room(context), limit)
    picked = (pick(context, wanted) if wanted > 0 else None) or []
    send_starts(context, picked)
    return len(picked)


def pick(context: Context, wanted: int) -> list[Hinted] | None:
    """Choose the next starts and keep them from being chosen again for as long as a hint lasts; None: nobody waits.

    An empty list: all who wait were chosen by somebody else at the same time.
    """
    now = context.clock()
    with context.database.read() as session:
        chosen = choose(context, session, now, wanted)
    if not chosen:
        return None
    with context.database.write() as session:
        return queue.hint(session, chosen, now=now, until=now + HINT)


def unhint(context: Context, job_ids: Collection[str]) -> None:
    """Give hints back: these jobs may be picked by anybody, in their order."""
    now = context.clock()
    with context.database.write() as session:
        queue.unhint(session, job_ids, now=now, hinted_until=now + HINT)


def choose(context: Context, session: Session, now: datetime, wanted: int) -> list[str]:
    """The queued jobs to start next: by priority, then projects in turn, then age; closed and full targets left out."""
    capacity = (
        wanted if context.settings.max_in_flight is None else context.settings.max_in_flight - jobs.in_flight(session)
    )
    projects = queue.waiting_projects(session) if capacity > 0 else []
    closed = shut(session, now)
    if not projects or gates.KEY in closed:
        return []
    if context.settings.max_in_flight_per_target is not None:
        closed |= set(jobs.full_targets(session, context.settings.max_in_flight_per_target))
    turn = int(context.chance() * len(projects))
    room = _room_of(context, session, (projects[turn:] + projects[:turn])[: 4 * PROJECTS], wanted)
    lanes = [
        _interleave(
            [
                queue.startable(session, project_id=name, priority=rank, now=now, closed=closed, limit=left)
                for name, left in room[:PROJECTS]
            ]
        )
        for rank in range(len(PRIORITIES))
    ]
    return _pick(lanes, min(wanted, capacity), context.chance())


def _room_of(context: Context, session: Session, project_ids: Sequence[str], wanted: int) -> list[tuple[str, int]]:
    """How many jobs each of these projects may start, at most `wanted`; those that may start none are left out."""
    limited = limits.in_flight(session, project_ids, context.settings.max_in_flight_per_project)
    room = limits.room(session, limited)
    left = [(name, int(min(wanted, room.get(name, wanted)))) for name in project_ids]
    return [(name, number) for name, number in left if number > 0]


def _interleave(queues: Sequence[Sequence[str]]) -> list[str]:
    longest = max(map(len, queues), default=0)
    return [queue[place] for place in range(longest) for queue in queues if place < len(queue)]


def _pick(lanes: Sequence[list[str]], wanted: int, chance: float) -> list[str]:
    """Take from the highest lane, but with one pick in AGED the oldest of all: ids sort by creation."""
    picked: list[str] = []
    first_aged = int(chance * AGED)
    for number in islice(cycle(range(AGED)), wanted):
        filled = [lane for lane in lanes if lane]
        if not filled:
            break
        lane = min(filled, key=min) if number == first_aged else filled[0]
        chosen = min(lane) if number == first_aged else lane[0]
        lane.remove(chosen)
        picked.append(chosen)
    return picked


def shut(session: Session, now: datetime) -> set[str]:
    """Targets whose gate lets nothing pass now."""
    return {gate.target for gate in gates.all_gates(session) if gates.is_shut(gate, now)}


def polls(context: Context) -> None:
    """Hint a batch of polls, unless one waits to be taken already."""
    if not context.sender.backlog(POLL):
        batch(context, POLL)


def batch(context: Context, task: str) -> None:
    """Hint a batch that takes whatever is due."""
    context.sender.send([Hint(task)])
