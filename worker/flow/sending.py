"""A round of deliveries: what one run has under way, and who may have how much of it.

Decides by numbers alone; it neither claims nor sends.
"""

from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic, perf_counter

from worker.store.deliveries import NOBODY, Due, Lane, Skip
from worker.webhooks.reply import Reply, ReplyKind

BATCH = 64
"""Deliveries claimed at once."""

LOOK_AGAIN_S = 0.5

MOST, OF_PROJECT = 128, 96
"""Deliveries under way at once, and those of one project: each may take its full timeout, and others must not wait.

A worker has four such rounds; with lookups and polls, they stay below the usual limit of 1,024 open files.
"""

PER_HOST = 8
"""Deliveries of a project to one host that may be under way here: a slow receiver delays nobody but itself."""

AHEAD = 4 * PER_HOST
"""What a host that takes what it gets is given: so many at once are sent all the same, the others follow at once."""

FAILS_AT = 5
"""After so many failures in a row a host gets one attempt at a time, for as long as the round lasts."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One claimed delivery: its signed headers, the claim to record it under, when it was claimed and signed.

    `is_disabled`: its endpoint is, and it goes once because its owner asks.
    """

    due: Due
    headers: dict[str, str]
    claim: str
    at: datetime
    since: float
    is_disabled: bool = False
    began: float = field(default_factory=perf_counter)


@dataclass(slots=True)
class Round:
    """What one run has under way, what waits for its host's turn, and what came of the rest."""

    under_way: dict[Future[Reply], Sent] = field(default_factory=dict)
    lanes: Counter[Lane] = field(default_factory=Counter)
    projects: Counter[str] = field(default_factory=Counter)
    """How many of those under way are a project's, and how many of these go to one host."""

    slow: set[Future[Reply]] = field(default_factory=set)
    """Those under way that had not answered when others had."""

    held: list[Sent] = field(default_factory=list)
    awaited_lanes: set[Lane] = field(default_factory=set)
    awaited_projects: set[str] = field(default_factory=set)
    """Whose share what is held waits for: at a host that has room, others need not wait for one project's."""

    looked_at: float = 0.0
    is_more_due: bool = True
    passed_over: Skip = NOBODY
    """Whom the last look took nothing for."""

    failures: dict[Lane, int] = field(default_factory=dict)
    """In a row: who does nothing but fail must not take from others what it costs to be tried."""

    tally: dict[str, int] = field(default_factory=lambda: {"delivered": 0, "failed": 0})

    def is_to_look(self) -> bool:
        """A claim for every delivery that is done would cost more than the deliveries."""
        is_more_due = self.is_more_due or self._is_anyone_free()
        has_room = len(self.under_way) <= MOST - BATCH // 2
        return (is_more_due and has_room) or monotonic() >= self.looked_at + LOOK_AGAIN_S

    def begin(self, post: Future[Reply], sent: Sent) -> None:
        """This one is under way."""
        self.under_way[post] = sent
        self.lanes[sent.due.lane] += 1
        self.projects[sent.due.project_id] += 1

    def end(self, post: Future[Reply]) -> Sent:
        """This one is no longer."""
        sent = self.under_way.pop(post)
        self.lanes[sent.due.lane] -= 1
        self.projects[sent.due.project_id] -= 1
        return sent

    def has_room_for(self, due: Due) -> bool:
        """Whether its host and its project have not their share under way."""
        return self._has_room_in(due.lane) and self.projects[due.project_id] < OF_PROJECT

    def hold(self, sent: Sent) -> None:
        """Keep this one until there is room for it."""
        self.held.append(sent)
        if self._has_room_in(sent.due.lane):
            self.awaited_projects.add(sent.due.project_id)
        else:
            self.awaited_lanes.add(sent.due.lane)

    def take_held(self) -> list[Sent]:
        """All that was held, none of which is any more."""
        held, self.held = self.held, []
        self.awaited_lanes, self.awaited_projects = set(), set()
        return held

    def busy(self) -> Skip:
        """Those that have enough, under way or waiting here."""
        lanes = {lane for lane in self.lanes if not self._has_room_in(lane)}
        projects = {project_id for project_id, number in self.projects.items() if number >= OF_PROJECT}
        return Skip(lanes | self.awaited_lanes, projects | self.awaited_projects)

    def _is_anyone_free(self) -> bool:
        """Whether one that was passed over has room by now."""
        return any(set(passed) - set(busy) for passed, busy in zip(self.passed_over, self.busy(), strict=True))

    def _has_room_in(self, lane: Lane) -> bool:
        return self.lanes[lane] < self._share(lane)

    def _share(self, lane: Lane) -> int:
        failures = self.failures.get(lane)
        if failures == 0:
            return AHEAD
        return PER_HOST if failures is None or failures < FAILS_AT else 1

    def note(self, lane: Lane, kind: ReplyKind) -> None:
        """Count an attempt."""
        self.tally["delivered" if kind is ReplyKind.OK else "failed"] += 1
        if kind is not ReplyKind.BUSY:
            self.failures[lane] = 0 if kind is ReplyKind.OK else self.failures.get(lane, 0) + 1
