"""The poller over real HTTP: the SDK's own request, answers as they come, stragglers, large bodies, early ends."""

import threading
import time
from collections.abc import Iterator
from itertools import chain

import pytest
from google import genai
from google.genai.types import HttpOptions

from tests.integration.gemini import stub as wire
from tests.integration.gemini.conftest import KEY
from tests.integration.gemini.stub import Act, Stub
from tests.waiting import eventually
from worker.gemini.access import Access
from worker.gemini.answer import Answer, AnswerKind
from worker.gemini.loop import LoopThread
from worker.gemini.poller import GROUP_S, LARGE_AT_ONCE, Bounds, Poller

RUNNING = {"id": "v1_a", "status": "in_progress", "updated": "2026-11-21T10:00:00Z", "steps": []}


def target(name: str) -> str:
    return f"/v1/interactions/{name}?stream=false"


def large(size: int = 1_500_000) -> Act:
    return wire.says(200, {"id": "v1_a", "status": "completed", "text": "x" * size})


@pytest.fixture
def poller(access: Access, loop: LoopThread) -> Iterator[Poller]:
    client = Poller(access, loop, Bounds(connections=64, get_s=30.0, fetch_s=30.0, max_body_bytes=4_000_000))
    yield client
    client.close()


@pytest.fixture
def hasty(access: Access, loop: LoopThread) -> Iterator[Poller]:
    """One for those who never answer."""
    client = Poller(access, loop, Bounds(get_s=0.3, fetch_s=30.0))
    yield client
    client.close()


def only(poller: Poller, name: str = "v1_a") -> Answer:
    [[answer]] = poller.fetch([name])
    return answer


@pytest.mark.parametrize("name", ["v1_Chd-x_9", "v1_a=b==", "v1_~!$&'()*+,;=:@x"])
def test_a_get_has_the_path_and_the_key_header_of_the_sdks_own(poller: Poller, stub: Stub, name: str) -> None:
    stub.will(wire.says(200, RUNNING))
    client = genai.Client(vertexai=False, api_key=KEY, http_options=HttpOptions(base_url=stub.url, api_version="v1"))

    client.interactions.get(name)
    client.close()
    only(poller, name)

    theirs, ours = stub.requests
    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    assert ours.headers["x-goog-api-key"] == theirs.headers["x-goog-api-key"] == KEY
    assert ours.headers["accept"] == theirs.headers["accept"]


def test_an_id_never_leaves_its_place_in_the_path(poller: Poller, stub: Stub) -> None:
    stub.will(wire.says(404))

    only(poller, "../files/é?x=1#y")
    only(poller, "..")

    assert [request.target for request in stub.requests] == [target("..%2Ffiles%2F%C3%A9%3Fx=1%23y"), target("%2E%2E")]


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (wire.says(200, RUNNING), AnswerKind.RUNNING),
        (wire.says(200, RUNNING | {"status": "completed"}), AnswerKind.ENDED),
        (wire.says(404), AnswerKind.MISSING),
        (wire.says(429), AnswerKind.THROTTLED),
        (wire.says(403), AnswerKind.DENIED),
        (wire.says(500), AnswerKind.TROUBLE),
        (wire.says(302, b"", Location="http://127.0.0.1:1/"), AnswerKind.TROUBLE),
        (wire.says(200, b"<html>"), AnswerKind.TROUBLE),
        (wire.breaks_off(b'{"status": "completed"}'), AnswerKind.TROUBLE),
        (wire.closes(), AnswerKind.TROUBLE),
        (wire.resets(), AnswerKind.TROUBLE),
        (wire.says(200, b"{}", Content_Encoding="gzip"), AnswerKind.TROUBLE),
        (large(5_000_000), AnswerKind.TOO_LARGE),
    ],
)
def test_every_answer_has_its_kind(poller: Poller, stub: Stub, act: Act, kind: AnswerKind) -> None:
    stub.will(act)

    answer = only(poller)

    assert answer.kind == kind


@pytest.mark.parametrize("act", [wire.hangs(), wire.drips(b'{"status": "completed"}' + b" " * 1000)])
def test_an_answer_without_end_is_trouble_in_time(hasty: Poller, stub: Stub, act: Act) -> None:
    stub.will(act)

    (answer,) = next(hasty.fetch(["v1_a"]))

    assert answer.kind == AnswerKind.TROUBLE


def test_a_redirect_is_not_followed_with_the_key(poller: Poller, stub: Stub) -> None:
    stub.will(wire.says(307, b"", Location=f"{stub.url}/elsewhere"), wire.says(200, RUNNING))

    answer = only(poller)

    assert answer.kind == AnswerKind.TROUBLE
    assert len(stub.requests) == 1


def test_a_server_that_is_gone_is_trouble(loop: LoopThread) -> None:
    poller = Poller(Access(api_key="k", base_url="http://127.0.0.1:1"), loop)

    answer = only(poller)
    poller.close()

    assert answer.kind == AnswerKind.TROUBLE


def test_a_straggler_delays_nobody(poller: Poller, stub: Stub) -> None:
    stub.will(wire.says(200, RUNNING))
    stub.by_target[target("slow")] = wire.hangs()
    names = [f"v1_{n}" for n in range(50)]
    kinds: dict[str, AnswerKind] = {}
    groups = poller.fetch(["slow", *names])

    while len(kinds) < len(names):
        kinds |= {answer.upstream_id: answer.kind for answer in next(groups)}
    groups.close()

    assert kinds == dict.fromkeys(names, AnswerKind.RUNNING)


def test_answers_come_in_groups(poller: Poller, stub: Stub) -> None:
    stub.will(wire.says(200, RUNNING))
    started = time.monotonic()

    groups = list(poller.fetch([f"v1_{n}" for n in range(60)]))

    assert sum(map(len, groups)) == 60
    assert len(groups) <= 1 + (time.monotonic() - started) / GROUP_S


def test_a_fetch_without_ids_is_over_at_once(poller: Poller) -> None:
    assert list(poller.fetch([])) == []


def test_an_id_asked_for_twice_is_looked_at_once(poller: Poller, stub: Stub) -> None:
    stub.will(wire.says(200, RUNNING))

    groups = list(poller.fetch(["v1_a", "v1_a"]))

    assert [[answer.upstream_id for answer in group] for group in groups] == [["v1_a"]]
    assert len(stub.requests) == 1


def test_no_more_requests_are_open_than_connections(access: Access, loop: LoopThread, stub: Stub) -> None:
    poller = Poller(access, loop, Bounds(connections=3, get_s=30.0, fetch_s=30.0))
    eventually(lambda: stub.open == 0, what="the requests of other tests are gone")
    stub.will(wire.drips(b'{"status": "in_progress"}', gap_s=0.002))

    answers = list(chain.from_iterable(poller.fetch([f"v1_{n}" for n in range(12)])))
    poller.close()

    assert {answer.kind for answer in answers} == {AnswerKind.RUNNING}
    assert stub.most_open == 3


def test_the_time_of_a_whole_fetch_is_bounded(access: Access, loop: LoopThread, stub: Stub) -> None:
    poller = Poller(access, loop, Bounds(connections=2, get_s=30.0, fetch_s=0.3))
    stub.will(wire.hangs())
    started = time.monotonic()

    answers = list(chain.from_iterable(poller.fetch([f"v1_{n}" for n in range(20)])))
    poller.close()

    assert [answer.kind for answer in answers] == [AnswerKind.TROUBLE] * 20
    assert time.monotonic() - started < 30.0, "none of them had all of its own time"


def test_closing_a_fetch_early_cancels_the_rest(poller: Poller, stub: Stub) -> None:
    stub.will(wire.hangs())
    stub.by_target[target("v1_a")] = wire.says(200, RUNNING)
    groups = poller.fetch(["v1_a", *(f"v1_{n}" for n in range(10))])

    first = next(groups)
    groups.close()

    assert [answer.upstream_id for answer in first] == ["v1_a"]
    eventually(lambda: stub.open == 0, what="every hanging request is given up")


def test_stopping_the_loop_ends_a_fetch(access: Access, stub: Stub) -> None:
    loop = LoopThread()
    loop.start()
    poller = Poller(access, loop, Bounds())
    stub.will(wire.hangs())
    answers: list[Answer] = []
    asker = threading.Thread(target=lambda: answers.extend(chain.from_iterable(poller.fetch(["v1_a"]))))
    asker.start()
    eventually(lambda: stub.open == 1)

    loop.stop()
    asker.join()
    loop.start()
    poller.close()
    loop.stop()

    assert [answer.kind for answer in answers] == [AnswerKind.TROUBLE]


def test_at_most_two_large_bodies_are_held_at_a_time(poller: Poller, stub: Stub) -> None:
    stub.will(large())
    held: list[int] = []
    answers: list[Answer] = []

    for group in poller.fetch([f"v1_{n}" for n in range(7)]):
        held.append(LARGE_AT_ONCE - poller._large._value)
        answers += group

    assert {answer.kind for answer in answers} == {AnswerKind.ENDED}
    assert all(answer.body is not None and len(answer.body) > 1_500_000 for answer in answers)
    assert len(answers) == 7
    assert max(held) == LARGE_AT_ONCE
    eventually(lambda: poller._large._value == LARGE_AT_ONCE, what="every turn is given back")


def test_closing_a_fetch_early_gives_the_turns_of_large_bodies_back(poller: Poller, stub: Stub) -> None:
    stub.will(large())
    groups = poller.fetch([f"v1_{n}" for n in range(7)])

    next(groups)
    groups.close()

    eventually(lambda: poller._large._value == LARGE_AT_ONCE, what="every turn is given back")


def test_a_large_body_that_still_runs_is_not_kept(poller: Poller, stub: Stub) -> None:
    stub.will(wire.says(200, RUNNING | {"text": "x" * 1_500_000}))

    answers = list(chain.from_iterable(poller.fetch([f"v1_{n}" for n in range(4)])))

    assert [(answer.kind, answer.body) for answer in answers] == [(AnswerKind.RUNNING, None)] * 4
    assert poller._large._value == LARGE_AT_ONCE


def test_two_threads_may_fetch_at_once(poller: Poller, stub: Stub) -> None:
    stub.will(wire.says(200, RUNNING))
    seen: list[str] = []

    def fetch(prefix: str) -> None:
        seen.extend(
            answer.upstream_id for group in poller.fetch([f"{prefix}{n}" for n in range(40)]) for answer in group
        )

    threads = [threading.Thread(target=fetch, args=(prefix,)) for prefix in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(seen)) == 80
