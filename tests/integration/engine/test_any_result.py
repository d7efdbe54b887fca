"""Whatever an interaction's body is, its job goes on or ends, and its steps are kept.

Bodies are made from the SDK's types, and then spoiled.

Rows are made to measure, and answers are handed to the poll as bytes, so that hundreds of bodies take seconds.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from google.genai.interactions import Interaction
from hypothesis import example, given
from hypothesis import strategies as st

from api import page, report
from api.gemini import act, media, resource, score
from api.gemini.names import Name
from tests import anything, factories
from tests.integration.engine.engine import Between, Engine
from worker import document, ids
from worker.gemini.answer import ENDED, read_answer
from worker.gemini.media import KINDS
from worker.states import TERMINAL

SPLICED = {
    "@@number@@": ["1e999", "-1e999", "9" * 400, "123456789012345678901", "1e-999", "-0"],
    "@@text@@": ['"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\ud83d\\ude00"', '"' + "y" * 100_000 + '"'],
    "@@deep@@": ["[" * 150 + "]" * 150, '{"a":' * 1500 + "1" + "}" * 1500],
}
"""JSON that Python would not write; it is put in the place of these words."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Body:
    """The body of a GET; `plain` is it with words of SPLICED where it has something odd."""

    plain: Any
    raw: bytes


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """An interaction that has ended, or what is left of one."""
    whole = draw(anything.spoiled(anything.record(Interaction, always=("steps",))))
    root = {"root": {**whole, "status": draw(st.sampled_from(sorted(ENDED)))} if isinstance(whole, dict) else whole}
    for word in draw(st.lists(st.sampled_from(sorted(SPLICED)), max_size=2)):
        places = [place for place in anything.places_in(root) if place[0] is not root and place[1] != "status"]
        if places:
            node, key = draw(st.sampled_from(places))
            node[key] = word
    text = json.dumps(root["root"])
    for word, choices in SPLICED.items():
        text = text.replace(f'"{word}"', draw(st.sampled_from(choices)))
    return Body(root["root"], text.encode())


def of_steps(*steps: Any, **fields: Any) -> Body:
    """A completed interaction of these steps."""
    plain = {"status": "completed", "steps": [*steps]} | fields
    return Body(plain, json.dumps(plain).encode())


PICTURE = {"type": "image", "data": "aGVsbG8=", "mime_type": "image/png"}
NAMED_AS_OURS = [{"type": "image", "artifact": 0}, {"type": "image", "artifact": 0, "omitted": True, "size": 7}]


def polled(engine: Engine, poller: Between, raw: bytes) -> str:
    """A running job that is polled once, with this answer."""
    now, name = engine.clock(), ids.new("run")
    running = {"status": "in_progress", "interaction_id": name, "due_at": now, "sent_at": now, "max_attempts": 1}
    job = factories.job(engine.project_id, **running, created_at=now)
    with engine.context.database.write() as session:
        session.add(job)
    poller.instead["fetch"] = lambda names: [[read_answer(name, 200, {}, raw)] for name in names]
    engine.poll(1)
    return job.id


def test_no_body_can_lose_a_job_or_alter_its_steps(engine: Engine) -> None:
    poller = engine.between("poller")

    @anything.examples(60)
    @given(body=bodies())
    @example(of_steps(status="failed", errors={"code": 1}))
    @example(of_steps(status="failed", errors=True))
    @example(of_steps({"type": "model_output", "content": [{"type": ["a"], "text": "x"}]}))
    @example(of_steps({"type": "model_output", "content": [*NAMED_AS_OURS, PICTURE]}))
    @example(of_steps({"type": "function_call", "id": "a", "arguments": {"type": "image", "artifact": 0, "size": 5}}))
    def throw(body: Body) -> None:
        job_id = polled(engine, poller, body.raw)

        job = engine.job(job_id)
        assert job.claim is None
        assert job.settle_tries == 0
        assert job.status in TERMINAL | {"requires_action"} or job.due_at is not None
        for result in engine.results(job_id):
            outcome = orjson.loads(result.outcome)
            assert orjson.loads(orjson.dumps(document.render(job, outcome)))["status"] == job.status
            found = report.of(outcome)
            assert report.markdown(found).endswith("\n")
            assert "<script" not in page.html(found, job_id)
            assert list(altered(body.plain, orjson.loads(result.raw))) == []
            assert told_at_the_door(engine, job_id)[-1] == score.LAST
        engine.change(job_id, due_at=None)

    throw()


def told_at_the_door(engine: Engine, job_id: str) -> list[int]:
    """The steps of the events in which the door tells what a job gave; they and the whole are JSON."""
    with engine.context.database.read() as session:
        seen = act.load(session, Name(job_id), engine.project_id, engine.clock())
    sizes = [size for take in seen.takes for size in take.sizes.values()]
    media.mark(seen)
    body = resource.render(seen, is_fresh=False)
    parts = [piece.size for piece in media.pieces(body) if isinstance(piece, media.Part)]
    assert sorted(parts) == sorted(sizes), "every artifact is back in its place, once"
    events = [*score.played(resource.steps_of(body), score.UPDATED), *score.closing(body, 0)]
    assert all(media.pieces(event) for _, event in events)
    return [at.step for at, _ in events]


def test_nothing_that_a_running_interaction_shows_can_stop_its_polls(engine: Engine) -> None:
    poller = engine.between("poller")
    running = anything.record(Interaction, always=("steps", "status", "updated"))

    @anything.examples(60)
    @given(
        whole=anything.spoiled(running), status=st.sampled_from(["queued", "in_progress", *filter(None, anything.ODD)])
    )
    def throw(whole: Any, status: str) -> None:
        told = {**whole, "status": status} if isinstance(whole, dict) else whole
        job_id = polled(engine, poller, json.dumps(told).encode())

        job = engine.job(job_id)
        assert (job.status, job.claim) == ("in_progress", None)
        assert job.due_at is not None
        assert orjson.dumps(document.render(job))
        engine.change(job_id, due_at=None)

    throw()


def altered(before: Any, after: Any, path: str = "", *, is_argument: bool = False) -> Iterator[str]:
    """Where the kept body differs from the one that came, but for what may: media, NUL, and what was spliced in."""
    if isinstance(before, str):
        before = after if before in SPLICED else before.replace("\0", " ")
    if isinstance(before, dict) and isinstance(after, dict):
        yield from altered_object(before, after, path, is_argument=is_argument)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from altered(one, other, f"{path}/{place}", is_argument=is_argument)
    elif type(before) is not type(after) or before != after:
        yield f"{path}: {before!r} became {after!r}"


def altered_object(before: Json, after: Json, path: str, *, is_argument: bool) -> Iterator[str]:
    kept = {name.replace("\0", " "): value for name, value in before.items()}
    if len(kept) < len(before) == len(after):
        return  # two names that differ by NUL only: one has become longer
    if not is_argument and is_media(kept) and kept.keys() - after.keys() == {"data"}:
        ours = {"data", "size"} | ({"omitted", "artifact"} & after.keys())
        assert "size" in after
        kept = {name: value for name, value in kept.items() if name not in ours}
        after = {name: value for name, value in after.items() if name not in ours}
    if kept.keys() != after.keys():
        yield f"{path}: {sorted(kept.keys() ^ after.keys())}"
        return
    for name, value in kept.items():
        yield from altered(value, after[name], f"{path}/{name}", is_argument=is_argument or name == "arguments")


def is_media(content: Json) -> bool:
    return content.get("type") in tuple(KINDS) and isinstance(content.get("data"), str) and content["data"] != ""
