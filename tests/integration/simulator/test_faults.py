"""Every kind of fault as the SDK's exceptions show it, asked for by prompt or by control call, and its limits."""

from typing import Any

import pytest
from google.genai import _interactions as errors

from tests.integration.simulator.conftest import error_of
from tests.waiting import eventually
from worker.dev.simulator import ControlError, SimulatorServer
from worker.dev.simulator.faults import KINDS, STREAM_KINDS

MODEL, AGENT = "gemini-3.8-flash", "deep-research-preview-04-2026"

SEEN: dict[str, tuple[type[Exception], int]] = {
    "503": (errors.InternalServerError, 0),
    "500 made=yes": (errors.InternalServerError, 1),
    "501": (errors.InternalServerError, 0),
    "502 shape=html": (errors.InternalServerError, 0),
    "504 shape=empty": (errors.InternalServerError, 0),
    "503 shape=platform": (errors.InternalServerError, 0),
    "429 retry_after=3": (errors.RateLimitError, 0),
    "409": (errors.ConflictError, 0),
    "408": (errors.APIStatusError, 0),
    "402": (errors.APIStatusError, 0),
    "403": (errors.PermissionDeniedError, 0),
    "400 code=safety": (errors.BadRequestError, 0),
    "html": (errors.InternalServerError, 0),
    "lost": (errors.APIConnectionError, 1),
    "close": (errors.APIConnectionError, 0),
    "reset": (errors.APIConnectionError, 0),
    "truncated": (errors.APIConnectionError, 1),
    "hang": (errors.APITimeoutError, 1),
    "hang made=no": (errors.APITimeoutError, 0),
    "slow delay=5": (errors.APITimeoutError, 1),
    "broken": (errors.APIResponseValidationError, 1),
    "accepted": (errors.APIError, 1),
}
"""The exception of each fault on a create, and how many interactions it leaves behind."""


def _timeout_s(fault: str) -> float:
    return 0.5 if fault.startswith(("hang", "slow")) else 60


@pytest.mark.parametrize("fault", SEEN)
def test_a_fault_on_create_is_seen_as_the_sdks_exception(sim: SimulatorServer, interactions: Any, fault: str) -> None:
    prompt = f"Hello [[sim: create={fault}]]"

    with pytest.raises(SEEN[fault][0]) as caught:
        interactions.create(model=MODEL, input=prompt, background=True, timeout=_timeout_s(fault))

    assert type(caught.value) is SEEN[fault][0]
    # On a busy machine the client may give up before the request has come.
    eventually(lambda: sim.control.posts(prompt) == 1)
    assert len(sim.control.interactions()) == SEEN[fault][1]
    assert (sim.control.posts(prompt), sim.control.created(prompt)) == (1, SEEN[fault][1])


def test_every_kind_of_fault_is_proven() -> None:
    elsewhere = {"status", "ignored", *STREAM_KINDS}

    assert {fault.split()[0] for fault in SEEN if not fault[0].isdigit()} | elsewhere == set(KINDS)


def test_a_throttled_create_tells_when_to_come_back(interactions: Any) -> None:
    with pytest.raises(errors.RateLimitError) as caught:
        interactions.create(model=MODEL, input="[[sim: create=429 retry_after=3 code=quota_exceeded]]")

    assert caught.value.response.headers["retry-after"] == "3"
    assert error_of(caught.value)["code"] == "quota_exceeded"


def test_a_counted_fault_passes(sim: SimulatorServer, interactions: Any) -> None:
    prompt = "Hello [[sim: create=503 times=2]]"
    outcomes = []

    for _ in range(3):
        try:
            outcomes.append(interactions.create(model=MODEL, input=prompt, background=True).status)
        except errors.InternalServerError as error:
            outcomes.append(error.status_code)

    assert outcomes == [503, 503, "in_progress"]
    assert sim.control.posts(prompt) == 3


def test_get_may_answer_404_for_a_while_after_the_create(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="[[sim: duration=1000]] [[sim: get=404 times=2]]", background=True)

    for _ in range(2):
        with pytest.raises(errors.NotFoundError):
            interactions.get(made.id)

    assert interactions.get(made.id).status == "in_progress"


def test_a_fault_may_end_with_time(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="[[sim: get=500 for=60]]", background=True)
    with pytest.raises(errors.InternalServerError):
        interactions.get(made.id)

    sim.control.advance(61)

    assert interactions.get(made.id).status == "completed"


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("broken", errors.APIResponseValidationError),
        ("hang", errors.APITimeoutError),
        ("reset", errors.APIConnectionError),
        ("truncated", errors.APIConnectionError),
        ("403", errors.PermissionDeniedError),
    ],
)
def test_a_fault_on_get_is_seen_as_the_sdks_exception(
    interactions: Any, fault: str, seen: type[errors.APIError]
) -> None:
    made = interactions.create(model=MODEL, input=f"[[sim: get={fault}]]", background=True)

    with pytest.raises(seen):
        interactions.get(made.id, timeout=_timeout_s(fault))


ENDS = ["failed", "incomplete", "budget_exceeded", "requires_action", "requires_continuation", "cancelled", "dreaming"]


@pytest.mark.parametrize("status", ENDS)
def test_every_end_can_be_had(sim: SimulatorServer, interactions: Any, status: str) -> None:
    made = interactions.create(agent=AGENT, input=f"Tea [[sim: status={status}]]", background=True)
    sim.control.advance(10)

    assert interactions.get(made.id).status == status


def test_a_failed_run_tells_why(sim: SimulatorServer, interactions: Any) -> None:
    directive = '[[sim: duration=3 status=failed code=safety message="Not this"]]'
    made = interactions.create(model=MODEL, input=directive, background=True)
    sim.control.advance(1)

    (error,) = interactions.get(made.id).errors

    assert (error.code, error.message) == ("safety", "Not this")


def test_a_run_may_be_queued_first_and_then_show_an_unknown_status(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="[[sim: queued=600 duration=600 running=pondering]]", background=True)
    seen = [made.status]

    for _ in range(2):
        sim.control.advance(61)
        seen.append(interactions.get(made.id).status)

    assert seen == ["queued", "pondering", "completed"]


def test_a_zombie_never_ends_and_shows_no_steps(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(agent=AGENT, input="Tea [[sim: status=stuck]]", background=True)

    sim.control.advance(7 * 86_400)

    got = interactions.get(made.id)
    assert (got.status, got.steps) == ("in_progress", None)


def test_usage_may_come_late(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="[[sim: duration=0 usage=600]]", background=True)
    early = interactions.get(made.id)

    sim.control.advance(61)

    assert (early.status, early.usage) == ("completed", None)
    assert interactions.get(made.id).usage.total_tokens > 0


def test_cancel_may_be_an_unknown_method(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="[[sim: cancel=404]]", background=True)

    with pytest.raises(errors.NotFoundError) as caught:
        interactions.cancel(made.id)

    assert caught.value.body == [{"error": {"code": 404, "message": "Method not found.", "status": "NOT_FOUND"}}]


def test_cancel_may_be_ignored(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="[[sim: duration=100]] [[sim: cancel=ignored]]", background=True)

    answer = interactions.cancel(made.id)
    sim.control.advance(100)

    assert answer.status == "in_progress"
    assert interactions.get(made.id).status == "completed"


def test_cancel_may_take_its_time(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(
        model=MODEL, input="[[sim: duration=9000]] [[sim: cancel=slow delay=600]]", background=True
    )
    interactions.cancel(made.id)
    seen = []

    for _ in range(2):
        sim.control.advance(31)
        seen.append(interactions.get(made.id).status)

    assert seen == ["in_progress", "cancelled"]


def test_delete_may_not_be_implemented(interactions: Any) -> None:
    made = interactions.create(model=MODEL, input="[[sim: delete=501]]", background=True)

    with pytest.raises(errors.InternalServerError):
        interactions.delete(made.id)


def test_a_rule_strikes_only_its_target(sim: SimulatorServer, interactions: Any) -> None:
    sim.control.fault("create", status=503, target=AGENT)

    with pytest.raises(errors.InternalServerError):
        interactions.create(agent=AGENT, input="x", background=True)

    assert interactions.create(model=MODEL, input="x", background=True).status == "in_progress"


def test_a_rule_strikes_only_creates_with_its_words(sim: SimulatorServer, interactions: Any) -> None:
    sim.control.fault("create", "lost", prompt="coffee")

    with pytest.raises(errors.APIConnectionError):
        interactions.create(model=MODEL, input="More coffee", background=True)

    assert interactions.create(model=MODEL, input="More tea", background=True).status == "in_progress"


def test_a_rule_with_a_probability_strikes_some(sim: SimulatorServer, interactions: Any) -> None:
    sim.control.fault("get", status=500, probability=0.5)
    made = interactions.create(model=MODEL, input="x", background=True)
    struck = 0

    for _ in range(20):
        try:
            interactions.get(made.id)
        except errors.InternalServerError:
            struck += 1

    assert 0 < struck < 20


def test_cleared_rules_strike_no_more(sim: SimulatorServer, interactions: Any) -> None:
    sim.control.fault("*", status=503)
    sim.control.clear_faults()

    assert interactions.create(model=MODEL, input="x", background=True).status == "in_progress"


def test_a_lost_foreground_create_is_lost_at_once(sim: SimulatorServer, interactions: Any) -> None:
    for extra in ({}, {"stream": True}):
        prompt = f"x {extra} [[sim: duration=1000]] [[sim: create=lost]]"

        with pytest.raises(errors.APIConnectionError):
            interactions.create(model=MODEL, input=prompt, **extra)

        assert sim.control.created(prompt) == 1


def test_the_control_calls_see_what_struck(sim: SimulatorServer, interactions: Any) -> None:
    sim.control.fault("get", status=500, count=1, code="api_error", message="Broken today")
    made = interactions.create(model=MODEL, input="x", background=True)

    with pytest.raises(errors.InternalServerError, match="Broken today"):
        interactions.get(made.id)

    assert sim.control.stats()["faults"] == {"get status": 1}


@pytest.mark.parametrize(
    "rule", [{"kind": "cut"}, {"kind": "explode"}, {"call": "sing"}, {"shape": "round"}, {"colour": "red"}]
)
def test_a_bad_rule_is_refused(sim: SimulatorServer, rule: dict[str, str]) -> None:
    with pytest.raises(ControlError):
        sim.control.fault(**{"call": "get", **rule})
