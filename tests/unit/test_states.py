"""The table of moves, held against the words of the engine's design."""

import pytest

from worker.models import CANCELLABLE, EXPIRING, IN_FLIGHT, POLLABLE, STARTABLE, SWEPT
from worker.states import DEFAULT_EVENTS, EVENT_TYPES, EVENTS, MOVES, TERMINAL, Status, may_move
from worker.states import IN_FLIGHT as IN_FLIGHT_STATUSES

LEAVES_TO: dict[str, set[str]] = {
    "scheduled": {"queued", "cancelled", "failed", "expired"},
    "queued": {"starting", "cancelled", "expired"},
    "starting": {"in_progress", "queued", "unconfirmed", "cancelled", "cancelling", "requires_action", *TERMINAL},
    "unconfirmed": {"in_progress", "cancelling", "queued", "failed", "cancelled"},
    "in_progress": {"requires_action", "queued", "cancelling", *TERMINAL},
    "requires_action": {"queued", "cancelled", "expired"},
    "cancelling": set(TERMINAL),
}


@pytest.mark.parametrize("status", Status)
def test_a_status_leaves_to_what_the_design_says(status: Status) -> None:
    assert MOVES[status] == LEAVES_TO.get(status, set())


def test_every_status_has_its_row_and_only_terminal_ones_lead_nowhere() -> None:
    assert set(MOVES) == set(Status)
    assert {status for status in Status if not MOVES[status]} == TERMINAL


def test_no_status_leads_to_itself() -> None:
    assert not any(may_move(status, status) for status in Status)


def test_every_job_can_reach_an_end() -> None:
    reached = set(TERMINAL)
    while more := {status for status in Status if MOVES[status] & reached} - reached:
        reached |= more

    assert reached == set(Status)


def test_there_is_one_event_for_each_end() -> None:
    assert {EVENTS[status] for status in TERMINAL} == {f"job.{status}" for status in TERMINAL}
    assert set(EVENTS.values()) < set(EVENT_TYPES)
    assert {f"job.{status}" for status in TERMINAL} | {"job.requires_action"} == DEFAULT_EVENTS
    assert len(set(EVENT_TYPES)) == len(EVENT_TYPES)


def test_each_live_status_is_looked_after_by_a_predicate() -> None:
    looked_after = f"{POLLABLE} {CANCELLABLE} {STARTABLE} {SWEPT} {EXPIRING}"

    assert all(f"'{status}'" in looked_after for status in Status if status not in TERMINAL)
    assert all(f"'{status}'" not in looked_after for status in TERMINAL)
    assert {status for status in Status if f"'{status}'" in IN_FLIGHT} == IN_FLIGHT_STATUSES
