"""Live upstream steps in a job's stream, against the simulator: what is shown, and how it goes on after any break."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api.following import following, glancing
from tests.integration.api.live import LONG_S, PACE, TEXT, Run
from tests.integration.api.serving import Server, Tenant, prepared, serving
from tests.waiting import eventually
from worker.dev.simulator import Options, SimulatorServer
from worker.flow import poll
from worker.states import Status
from worker.store import jobs, moves


@pytest.fixture(scope="module")
def upstream() -> Iterator[SimulatorServer]:
    with SimulatorServer(Options()) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    made = tmp_path_factory.mktemp("live")
    shutil.copyfile(sqlite_template, made / "nightdesk.db")
    return made


def opened(folder: Path, upstream: SimulatorServer, **chosen: Any) -> Any:
    return serving(prepared(data_dir=folder, gemini_base_url=upstream.url), **({"pace": PACE} | chosen))


@pytest.fixture(scope="module")
def first(folder: Path, upstream: SimulatorServer) -> Iterator[Server]:
    with opened(folder, upstream) as server:
        yield server


@pytest.fixture(scope="module")
def second(folder: Path, upstream: SimulatorServer) -> Iterator[Server]:
    """Another process on the same database."""
    with opened(folder, upstream) as server:
        yield server


@pytest.fixture(scope="module")
def brisk(folder: Path, upstream: SimulatorServer) -> Iterator[Server]:
    """One that soon gives up looking for what a reader has seen last."""
    with opened(folder, upstream, pace=replace(PACE, seek_s=0.2)) as server:
        yield server


@pytest.fixture
def tenant(first: Server) -> Tenant:
    return first.tenant()


def elsewhere(server: Server, tenant: Tenant) -> Tenant:
    """The same project at another process."""
    return Tenant(tenant.project_id, tenant.key_id, tenant.token, server.client(tenant.token))


@pytest.fixture
def run(first: Server, upstream: SimulatorServer, tenant: Tenant) -> Any:
    """Starts a job of a model with these directives."""

    def begin(directives: str = "", text: str = TEXT, **fields: Any) -> Run:
        asked = f"Tell [[sim: duration={LONG_S} text='{text}']] {directives}"
        return Run(first, upstream, tenant, asked, **fields).start()

    return begin


def test_live_steps_come_between_the_stored_events(tenant: Tenant, run: Any) -> None:
    job = run()

    with following(tenant, job.job_id) as follower:
        eventually(lambda: follower.stored == ["job.created", "job.started"])
        job.go_on(0.5)
        eventually(lambda: len(follower.live) > 3 and follower.text)
        half = follower.text
        job.go_on(0.5)
        eventually(lambda: follower.text == TEXT)
        job.end()

    assert 0 < len(half) < len(TEXT)
    assert follower.stored == ["job.created", "job.started", "job.completed"]
    assert {one.last_id.partition(".")[0] for one in follower.live} == {"2"}
    assert len({one.last_id for one in follower.told}) == len(follower.told)
    assert follower.told[-1].last_id == "3"


def test_steps_are_passed_on_as_they_are_and_nothing_else_is(tenant: Tenant, run: Any) -> None:
    job = run("[[sim: strange=yes]]")
    kinds = {"step.start", "step.delta", "step.stop", "step.novelty"}

    with following(tenant, job.job_id) as follower:
        job.go_on(1)
        eventually(lambda: {one.name for one in follower.live} == kinds)
        job.end()

    assert {one.name for one in follower.told} - kinds == {
        "job.created",
        "job.started",
        "job.completed",
    }
    for one in follower.live:
        assert one.data["event_type"] == one.name
        assert one.last_id == f"2.{one.data['event_id']}"


def test_who_comes_in_the_middle_gets_the_steps_so_far(tenant: Tenant, run: Any) -> None:
    job = run()
    with following(tenant, job.job_id) as early:
        job.go_on(0.5)
        eventually(lambda: len(early.live) > 3)

        with following(tenant, job.job_id) as late:
            eventually(lambda: late.resets)
            eventually(lambda: late.text == early.text)
            job.go_on(0.5)
            eventually(lambda: late.text == TEXT)
            job.end()

    (reset,) = late.resets
    assert not early.resets
    assert reset.data["interaction_id"] == early.told[1].data["data"]["interaction_id"]
    assert reset.data["truncated"] is False
    told, after = [one.last_id for one in early.live], [one.last_id for one in late.live]
    rest = told[told.index(reset.last_id) + 1 :]
    # Either may miss the last of them: the job had ended.
    assert rest[: len(after)] == after[: len(rest)]
    assert early.text == TEXT


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_stream_goes_on_after_the_last_live_event(
    first: Server, second: Server, tenant: Tenant, run: Any, where: str
) -> None:
    job = run()
    there = tenant if where == "here" else elsewhere(second, tenant)
    with glancing(tenant, job.job_id) as early:
        job.go_on(0.5)
        eventually(lambda: len(early.live) > 3)
    job.go_on(0.2)

    with following(there, job.job_id, **{"Last-Event-ID": early.told[-1].last_id}) as late:
        eventually(lambda: late.live)
        job.go_on(0.3)
        eventually(lambda: early.text + late.text == TEXT)
        job.end()

    assert not late.resets
    assert early.stored + late.stored == ["job.created", "job.started", "job.completed"]
    assert not {one.last_id for one in early.told} & {one.last_id for one in late.told}
    eventually(lambda: not first.desk.live.followed)
    eventually(lambda: not second.desk.live.followed)


@pytest.mark.parametrize("last", ["2", "2.", "2.e999", "2.%00%0d%0a", "2.2.2.e1", "1.e2", f"2.{'x' * 3000}"])
def test_who_names_no_known_live_event_gets_the_steps_so_far(
    brisk: Server, tenant: Tenant, run: Any, last: str
) -> None:
    job = run()
    job.go_on(0.5)

    with glancing(elsewhere(brisk, tenant), job.job_id, **{"Last-Event-ID": last}) as follower:
        eventually(lambda: len(follower.text) > 100)

    assert len(follower.resets) == (0 if last == "1.e2" else 1)
    assert TEXT.startswith(follower.text)


@pytest.mark.parametrize("named", ["none", "some"])
def test_events_without_an_id_are_never_shown_twice(tenant: Tenant, run: Any, named: str) -> None:
    job = run(f"[[sim: event_ids={named}]]")
    with following(tenant, job.job_id) as whole:
        eventually(lambda: "job.started" in whole.stored, what="the one to be there from the beginning")
        with glancing(tenant, job.job_id) as early:
            job.go_on(0.5)
            eventually(lambda: len(early.text) > 100)
        with following(tenant, job.job_id, **{"Last-Event-ID": early.told[-1].last_id}) as late:
            job.go_on(0.5)
            eventually(lambda: whole.text == TEXT)
            eventually(lambda: (late.text if late.resets else early.text + late.text) == TEXT)
            job.end()

    assert {one.has_own_id for one in whole.live} == ({False} if named == "none" else {False, True})
    assert not whole.resets


BROKEN = {
    "cut": "[[sim: stream=cut after=7 times=1]]",
    "cut again and again": "[[sim: stream=cut after=3 times=4]]",
    "dropped": "[[sim: stream=drop after=7 times=1]]",
    "resumed too early": "[[sim: stream=drop after=7 times=1]] [[sim: stream=replay back=4 times=1]]",
    "hanging when resumed": "[[sim: stream=cut after=7 times=1]] [[sim: stream=stall after=2 back=2 times=1]]",
    "not found at first": "[[sim: stream=404 times=2]]",
    "refused when resumed": "[[sim: stream=cut after=7 times=1]] [[sim: stream=400 times=1]]",
    "failing": "[[sim: stream=cut after=7 times=1]] [[sim: stream=500 times=2]] [[sim: stream=reset times=1]]",
    "no stream at all": "[[sim: stream=html times=2]]",
    "dribbling": "[[sim: stream=dribble delay=0.0001]]",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_stream_is_mended_unseen(tenant: Tenant, run: Any, how: str) -> None:
    job = run(BROKEN[how])

    with following(tenant, job.job_id) as follower:
        job.go_on(0.5)
        eventually(lambda: len(follower.live) > 3)
        job.go_on(0.5)
        eventually(lambda: follower.text == TEXT)
        job.end()

    ids = [one.last_id for one in follower.told]
    assert len(set(ids)) == len(ids)
    assert not follower.resets


def test_a_broken_stream_without_ids_is_told_anew(tenant: Tenant, run: Any) -> None:
    job = run("[[sim: event_ids=none]] [[sim: stream=drop after=7 times=1]]")

    with following(tenant, job.job_id) as follower:
        job.go_on(1)
        eventually(lambda: follower.text == TEXT)
        job.end()

    assert len(follower.resets) == 1


def test_a_throttled_follower_waits_and_no_job_moves(first: Server, tenant: Tenant, run: Any) -> None:
    job = run("[[sim: stream=429 retry_after=1]]")

    with glancing(tenant, job.job_id) as follower:
        eventually(lambda: first.desk.live._means.throttle.until > 0)
        shown = tenant.get(f"/v1/jobs/{job.job_id}").json()

    assert shown["status"] == "in_progress"
    assert not follower.live
    first.desk.live._means.throttle.until = 0.0


def test_all_who_watch_a_job_share_one_follower_which_leaves_with_them(first: Server, tenant: Tenant, run: Any) -> None:
    job, many = run(), 8
    with ExitStack() as watching:
        followers = [watching.enter_context(glancing(tenant, job.job_id)) for _ in range(many)]
        job.go_on(0.5)
        eventually(lambda: all(len(one.text) > 100 for one in followers))

        eventually(lambda: first.desk.live.followed == {job.upstream_id}, what="the readers of other tests to be gone")
        (shared,) = first.desk.live._followers.values()
        assert len(shared[0].readers) == many

    eventually(lambda: not first.desk.live.followed, what="the end of following")
    assert shared[1].done()


def test_nothing_is_followed_before_the_start_and_after_the_end(
    first: Server, tenant: Tenant, upstream: SimulatorServer
) -> None:
    job = Run(first, upstream, tenant, f"Tell [[sim: duration={LONG_S}]]")

    with following(tenant, job.job_id) as follower:
        eventually(lambda: follower.stored == ["job.created"])
        eventually(lambda: not first.desk.live.followed, what="nothing to be followed")
        job.start()
        eventually(lambda: first.desk.live.followed == {job.upstream_id})
        tenant.post(f"/v1/jobs/{job.job_id}/cancel")
        with first.context.database.write() as session:
            moves.move(
                session,
                job.job_id,
                sources={Status.CANCELLING},
                target=Status.CANCELLED,
                now=first.context.clock(),
            )

    eventually(lambda: not first.desk.live.followed)
    assert follower.stored == ["job.created", "job.started", "job.cancelled"]


def test_the_next_turn_goes_on_in_the_same_stream(first: Server, tenant: Tenant, run: Any) -> None:
    tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
    job = run(tools=[tool])

    with following(tenant, job.job_id) as follower:
        eventually(lambda: first.desk.live.followed == {job.upstream_id})
        job.control.direct(job.upstream_id, status="requires_action", finish=True)
        eventually(lambda: any("function_call" in str(one.data) for one in follower.live))
        eventually(lambda: poll.run(first.context) and follower.stored[-1:] == ["job.requires_action"])
        eventually(lambda: not first.desk.live.followed)
        (call,) = tenant.get(f"/v1/jobs/{job.job_id}").json()["required_action"]["function_calls"]
        result = {"type": "function_result", "call_id": call["id"], "name": call["name"], "result": {"sky": "clear"}}
        assert tenant.post(f"/v1/jobs/{job.job_id}/respond", {"input": [result]}).status_code == 202
        job.start()
        job.go_on(0.5)
        eventually(lambda: follower.text)
        job.end()

    assert follower.stored == ["job.created", "job.started", "job.requires_action", "job.started", "job.completed"]
    assert {one.last_id.partition(".")[0] for one in follower.live} == {"2", "4"}
    assert not follower.resets


def test_the_end_of_the_upstreams_stream_makes_the_poll_happen_now(first: Server, tenant: Tenant, run: Any) -> None:
    job = run()

    def is_due() -> bool:
        with first.context.database.read() as session:
            found = jobs.get(session, job.job_id)
        return found is not None and found.due_at is not None and found.due_at <= first.context.clock()

    with following(tenant, job.job_id) as follower:
        eventually(lambda: first.desk.live.followed)
        with first.context.database.write() as session:
            far = first.context.clock().replace(year=2099)
            moves.change(session, job.job_id, statuses={Status.IN_PROGRESS}, values={"due_at": far})
        job.go_on(1)
        eventually(is_due, what="the hint of a poll")
        job.end()

    assert follower.stored[-1] == "job.completed"
