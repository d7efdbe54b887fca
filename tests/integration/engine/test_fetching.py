"""Media that a result names by URI: fetched into the artifact store, within bounds, and never from elsewhere."""

from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import orjson
import pytest

from tests import factories
from tests.integration.engine.engine import Between, Engine
from worker.errors import UpstreamError
from worker.flow.fetch import TRIES
from worker.gemini.answer import read_answer
from worker.store import holdings

MP4 = b"\0\0\0\x18ftyp" * 1000
FILE = "https://generativelanguage.googleapis.com/v1beta/files/clip:download?alt=media"


def video(uri: str = FILE) -> dict[str, Any]:
    return {"type": "video", "mime_type": "video/mp4", "uri": uri}


def text(words: str) -> dict[str, Any]:
    cited = {"type": "url_citation", "url": "https://a.example", "start_index": 0, "end_index": len(words)}
    return {"type": "text", "text": words, "annotations": [cited]}


class Shelf:
    """A Files API that holds one file, after refusing some requests for it."""

    def __init__(self, engine: Engine, *errors: UpstreamError) -> None:
        self.errors = list(errors)
        self.asked: list[str] = []
        self.files: Between = engine.between("files")
        self.files.instead["fetch"] = self.fetch

    def fetch(self, name: str, into: IO[bytes], most_bytes: int) -> Future[int]:
        self.asked.append(name)
        done: Future[int] = Future()
        if self.errors:
            done.set_exception(self.errors.pop(0))
        else:
            assert len(MP4) < most_bytes
            done.set_result(into.write(MP4))
        return done


def ending_with(engine: Engine, *contents: dict[str, Any]) -> str:
    """A job whose interaction is answered with this output."""
    job_id = engine.started()
    raw = orjson.dumps({"status": "completed", "steps": [{"type": "model_output", "content": list(contents)}]})
    engine.between("poller").instead["fetch"] = lambda names: [[read_answer(name, 200, {}, raw)] for name in names]
    return job_id


def outcome(engine: Engine, job_id: str) -> dict[str, Any]:
    (result,) = engine.results(job_id)
    found: dict[str, Any] = orjson.loads(result.outcome)
    return found


def stored(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_file_of_the_api_becomes_an_artifact_where_it_stands(engine: Engine, artifacts_folder: Path) -> None:
    shelf = Shelf(engine)
    job_id = ending_with(engine, text("Before."), video(), text("After."))

    engine.poll()

    shown = outcome(engine, job_id)
    assert (engine.status(job_id), shelf.asked) == ("completed", ["files/clip"])
    assert shown["output_text"] == "Before.\n\n[video](artifact:0)\n\nAfter."
    assert [shown["output_text"][c["start_index"] : c["end_index"]] for c in shown["citations"]] == [
        "Before.",
        "After.",
    ]
    assert [(one["kind"], one["size"]) for one in shown["artifacts"]] == [("video", len(MP4))]
    assert stored(artifacts_folder) == [MP4]
    assert orjson.loads(engine.results(job_id)[0].raw)["steps"][0]["content"][1] == video()


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/v1beta/files/clip:download?alt=media",
        "https://generativelanguage.googleapis.com.evil.example/v1beta/files/clip",
        "gs://bucket/files/clip.mp4",
        "https://generativelanguage.googleapis.com/v1beta/models/clip",
        "https://generativelanguage.googleapis.com/v1beta/files/a%00b",
        "https://generativelanguage.googleapis.com/v1beta/files/" + "x" * 600,
        "https://[bad",
        "",
    ],
)
def test_nothing_else_is_asked_for(engine: Engine, uri: str) -> None:
    shelf = Shelf(engine)
    job_id = ending_with(engine, text("Look: "), video(uri))

    engine.poll()

    assert (engine.status(job_id), shelf.asked) == ("completed", [])
    assert outcome(engine, job_id)["artifacts"] == []


def test_a_file_that_another_project_holds_is_left_alone(engine: Engine) -> None:
    now = engine.clock()
    with engine.context.database.write() as session:
        other = factories.project(session, "other")
        session.flush()
        held = holdings.Held("files/clip", "file", other.id, now + timedelta(days=1))
        holdings.hold(session, [held], now)
    shelf = Shelf(engine)
    job_id = ending_with(engine, text("Look: "), video())

    engine.poll()

    assert (engine.status(job_id), shelf.asked) == ("completed", [])


def test_trouble_puts_the_result_off_and_not_for_ever(engine: Engine) -> None:
    shelf = Shelf(engine, *[UpstreamError("the Files API answered with HTTP 503", status=503)] * (TRIES + 1))
    job_id = ending_with(engine, text("Look: "), video())

    statuses = []
    for _ in range(TRIES + 1):
        engine.poll(300)
        statuses.append(engine.status(job_id))

    assert statuses == ["in_progress"] * TRIES + ["completed"]
    assert len(shelf.asked) == TRIES + 1
    (note,) = engine.job(job_id).notes
    assert note.startswith("a video was left at the Gemini API")
    assert outcome(engine, job_id)["output_text"] == f"Look: \n\n[video]({FILE})"


@pytest.mark.parametrize("status", [400, 403, 404, 413])
def test_what_will_never_be_given_is_noted_at_once(engine: Engine, status: int) -> None:
    Shelf(engine, UpstreamError(f"the Files API answered with HTTP {status}", status=status))
    job_id = ending_with(engine, text("Look: "), video())

    engine.poll()

    assert engine.status(job_id) == "completed"
    assert f"HTTP {status}" in engine.job(job_id).notes[0]


def test_of_two_results_with_files_one_waits_while_another_is_fetched(engine: Engine) -> None:
    shelf = Shelf(engine)
    job_id = ending_with(engine, text("Look: "), video())

    with engine.context.files.turn:
        engine.poll()
    waited = engine.status(job_id)
    engine.poll(300)

    assert (waited, engine.status(job_id), shelf.asked) == ("in_progress", "completed", ["files/clip"])
