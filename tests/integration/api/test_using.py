"""What a project has used over HTTP: sums by everything they can be asked for, pages, ranges, foreign eyes, quota."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import MakeSettings
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant, serving
from tests.waiting import eventually
from worker import context as contexts
from worker import ids
from worker.gemini.usage import FIELDS, MOST
from worker.models import Job
from worker.store import usage

PATH = "/v1/usage"
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
RANGE = {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}
TWO = {"input_tokens": 2, "cached_tokens": 1, "output_tokens": 3, "thought_tokens": 4, "tool_use_tokens": 5}


@dataclass
class Book:
    """Writes entries of one project."""

    server: Server
    tenant: Tenant
    entries: list[dict[str, Any]] = field(default_factory=list)

    def add(self, total: int = 14, **values: Any) -> str:
        """One interaction; gives back its job's id."""
        job_id = values.get("job_id") or ids.new("job")
        whose = {"project_id": self.tenant.project_id, "key_id": self.tenant.key_id, "conversation_id": job_id}
        what = {"job_id": job_id, "turn": 1, "kind": "model", "target": "gemini-3.8-flash", "at": NOON}
        entry = {"token": ids.token(), **whose, **what, **TWO, "total_tokens": total} | values
        with self.server.context.database.write() as session:
            usage.record(session, [entry])
        return str(job_id)

    def ask(self, **query: Any) -> dict[str, Any]:
        answer = self.tenant.get(PATH, params=RANGE | query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def groups(self, **query: Any) -> list[tuple[Any, int, int]]:
        """Each group with its interactions and all their tokens."""
        return [(one["group"], one["interactions"], one["usage"]["total_tokens"]) for one in self.ask(**query)["data"]]


@pytest.fixture
def book(server: Server, tenant: Tenant) -> Book:
    return Book(server, tenant)


def test_every_kind_of_token_is_summed_under_the_apis_own_name(book: Book) -> None:
    book.add()
    book.add()

    page = book.ask()

    assert (page["object"], page["group_by"], page["has_more"], page["next_cursor"]) == ("list", "day", False, None)
    assert (page["from"], page["to"]) == ("2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z")
    sums = {FIELDS[name]: 2 * value for name, value in TWO.items()} | {"total_tokens": 28}
    assert page["data"] == [{"group": "2026-11-21", "interactions": 2, "usage": sums}]
    assert page["totals"] == {"interactions": 2, "usage": sums}


def test_the_order_of_groups_is_that_of_their_kind(book: Book) -> None:
    first = book.add(1, at=NOON - DAY, target="b", turn=2, key_id="key_2")
    second = book.add(2, at=NOON, target="a", key_id=None, conversation_id=first)
    book.add(4, job_id=first, at=NOON + timedelta(hours=12), target="b", key_id="key_1", conversation_id=first)

    assert book.groups(group_by="job") == [(second, 1, 2), (first, 2, 5)]
    assert book.groups(group_by="conversation") == [(first, 3, 7)]
    assert book.groups(group_by="day") == [("2026-11-22", 1, 4), ("2026-11-21", 1, 2), ("2026-11-20", 1, 1)]
    assert book.groups(group_by="target") == [("a", 1, 2), ("b", 2, 5)]
    assert book.groups(group_by="key") == [(None, 1, 2), ("key_1", 1, 4), ("key_2", 1, 1)]
    assert book.groups(group_by="turn", job=first) == [(1, 1, 4), (2, 1, 1)]
    assert book.groups(group_by="turn", job=second) == [(1, 1, 2)]
    assert book.groups(group_by="job", conversation=first, limit=1) == [(second, 1, 2)]


@pytest.mark.parametrize("group_by", ["job", "target", "key", "day", "conversation", "turn"])
def test_pages_miss_and_repeat_nothing(book: Book, group_by: str) -> None:
    job_id = book.add(1, target="ganz/ß:1", key_id=None)
    for number in range(2, 6):
        chosen = {"job_id": job_id} if group_by == "turn" else {}
        at, target = NOON - number * DAY, f"t {number}"
        book.add(number, at=at, turn=number, target=target, key_id=f"key_{number}", **chosen)
    query = {"group_by": group_by, "limit": 2} | ({"job": job_id} if group_by == "turn" else {})

    pages = [book.ask(**query)]
    while pages[-1]["next_cursor"]:
        pages.append(book.ask(**query, cursor=pages[-1]["next_cursor"]))

    found = [one["usage"]["total_tokens"] for page in pages for one in page["data"]]
    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    assert sorted(found) == [1, 2, 3, 4, 5]
    assert pages[0]["totals"]["usage"]["total_tokens"] == 15
    assert [page["totals"] for page in pages[1:]] == [None, None]
    whole = book.ask(**query | {"limit": 100})["data"]
    assert [one for page in pages for one in page["data"]] == whole


def test_a_range_is_half_open_and_ends_now_by_default(book: Book) -> None:
    book.add(1, at=NOON - timedelta(microseconds=1))
    book.add(2, at=NOON)
    book.add(4, at=NOON + timedelta(hours=1))

    begun, ended = NOON.isoformat(), (NOON + timedelta(hours=1)).isoformat()
    assert book.groups(**{"from": begun, "to": ended}) == [("2026-11-21", 1, 2)]
    assert book.groups(**{"from": "2026-11-21T13:00:00+01:00", "to": "2026-11-21T20:00:00+01:00"})[0][2] == 6
    now = book.server.context.clock()
    book.add(8, at=now - timedelta(days=29))
    book.add(16, at=now - timedelta(days=31))
    assert book.tenant.get(PATH).json()["totals"]["usage"]["total_tokens"] == 8 + sum(
        total for total, at in ((1, NOON), (2, NOON), (4, NOON)) if now - timedelta(days=30) <= at < now
    )


def test_days_are_those_of_utc(book: Book) -> None:
    book.add(1, at=datetime(2026, 11, 20, 23, 59, 59, 999_999, tzinfo=UTC))
    book.add(2, at=datetime(2026, 11, 21, tzinfo=UTC))

    assert book.groups() == [("2026-11-21", 1, 2), ("2026-11-20", 1, 1)]


def test_a_project_sees_only_its_own(book: Book, server: Server) -> None:
    job_id = book.add()
    other = Book(server, server.tenant())

    assert other.ask()["totals"]["interactions"] == 0
    assert other.groups(group_by="turn", job=job_id) == []
    assert other.groups(group_by="job", conversation=job_id) == []


def test_sums_of_the_largest_counts_are_still_numbers(book: Book) -> None:
    for _ in range(3):
        book.add(MOST, **dict.fromkeys(TWO, MOST))

    assert book.ask()["totals"]["usage"]["total_cached_tokens"] == 3 * MOST


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"group_by": "month"}, "/group_by"),
        ({"from": "yesterday"}, "/from"),
        ({"from": "2026-11-01T00:00:00"}, "/from"),
        ({"from": "2026-12-01T00:00:00Z"}, "/from"),
        ({"to": "0001-01-02T00:00:00Z", "from": ""}, "/from"),
        ({"limit": 101}, "/limit"),
        ({"group_by": "turn"}, "/job"),
        ({"job": "a\x00"}, "/job"),
    ],
)
def test_what_cannot_be_asked_is_told(guest: Tenant, query: dict[str, Any], pointer: str) -> None:
    answer = guest.get(PATH, params=RANGE | query)

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


def test_a_range_beyond_the_calendar_is_refused(guest: Tenant) -> None:
    answer = guest.get(PATH, params={"to": "0001-01-02T00:00:00Z"})

    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/to"]


def test_a_cursor_of_another_list_is_refused(sqlite_server: Server) -> None:
    book = Book(sqlite_server, sqlite_server.tenant())
    for _ in range(2):
        book.add()
    cursor = book.ask(group_by="job", limit=1)["next_cursor"]

    for query in ({"group_by": "day", "cursor": cursor}, {"group_by": "job", "cursor": "nonsense"}):
        assert book.tenant.get(PATH, params=query).status_code == 400
    turn = {"group_by": "turn", "job": "x", "cursor": "dXNhZ2UtdHVybjphYmM"}
    assert book.tenant.get(PATH, params=turn).json()["detail"] == "cursor: is not one of this list"


def test_reading_it_needs_the_scope(server: Server, tenant: Tenant) -> None:
    assert server.key(tenant.project_id, "jobs:write").get(PATH).status_code == 403
    assert server.client().get(PATH).status_code == 401


def test_the_key_that_ordered_a_job_is_known(server: Server, tenant: Tenant, worker: Worker) -> None:
    other = server.key(tenant.project_id)
    alone = tenant.submit()["id"]
    batch = other.post("/v1/jobs/batch", {"jobs": [{"model": "gemini-3.8-flash", "input": "x"}]}).json()["data"][0][
        "id"
    ]
    worker.fail(alone)
    again = other.post(f"/v1/jobs/{alone}/retry").json()["id"]

    with server.context.database.read() as session:
        keys = [session.get_one(Job, job_id).key_id for job_id in (alone, batch, again)]

    assert keys == [tenant.key_id, other.key_id, other.key_id]


@pytest.fixture
def limited(own_settings: MakeSettings) -> Iterator[Book]:
    """A server where each project may use 100 tokens a day, and it is about noon."""
    settings, began = own_settings(max_tokens_per_day=100), contexts.utc_now()
    until_noon = began.replace(hour=12, minute=0, second=0, microsecond=0) - began
    with serving(settings, context=contexts.build(settings, lambda: contexts.utc_now() + until_noon)) as server:
        yield Book(server, server.tenant())


def test_a_project_that_has_used_its_tokens_waits_for_the_next_day(limited: Book) -> None:
    now = limited.server.context.clock()
    limited.add(99, at=now)
    job = limited.tenant.submit()
    limited.add(1, at=now)

    def answer() -> Any:
        return limited.tenant.post("/v1/jobs", {"model": "gemini-3.8-flash", "input": "x"})

    # It is summed up anew after a second.
    eventually(lambda: answer().status_code == 429, what="the quota")
    asked, refused = limited.server.context.clock(), answer()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    assert (refused.json()["code"], refused.headers["ratelimit-limit"]) == ("quota_exceeded", "100")
    assert "0:00 UTC" in refused.json()["detail"]
    left_s = [(midnight - at).total_seconds() for at in (limited.server.context.clock(), asked)]
    assert left_s[0] <= int(refused.headers["retry-after"]) <= left_s[1] + 1
    assert refused.headers["ratelimit-remaining"] == "0"
    batch = {"jobs": [{"model": "gemini-3.8-flash", "input": "x"}]}
    assert limited.tenant.post("/v1/jobs/batch", batch).status_code == 429
    Worker(limited.server.context).fail(job["id"])
    assert limited.tenant.post(f"/v1/jobs/{job['id']}/retry").status_code == 429
    assert limited.server.tenant().submit()


def test_a_replay_is_answered_whatever_was_used_since(limited: Book) -> None:
    body, key = {"model": "gemini-3.8-flash", "input": "x"}, {"Idempotency-Key": "k"}
    first = limited.tenant.post("/v1/jobs", body, headers=key)
    limited.add(100, at=limited.server.context.clock())
    eventually(lambda: limited.tenant.post("/v1/jobs", body).status_code == 429, what="the quota")

    again = limited.tenant.post("/v1/jobs", body, headers=key)

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])


def test_what_was_used_yesterday_does_not_count_today(limited: Book) -> None:
    today = limited.server.context.clock().replace(hour=0, minute=0, second=0, microsecond=0)
    limited.add(1000, at=today - timedelta(microseconds=1))

    assert limited.tenant.submit()["status"] == "queued"
