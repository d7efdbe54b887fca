"""The application: routes, layers and one process's means, put together. Nothing runs before its lifespan begins."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from api import errors, exposition, openapi
from api.access import Access
from api.body import BodyLimit
from api.desk import Desk
from api.follower import Pace
from api.form import OVERHEAD_BYTES
from api.gemini import routes as gemini
from api.gemini.manners import Manners
from api.gemini.owed import Owed
from api.keyring import Keyring
from api.live import Live
from api.outlet import Outlet
from api.places import Streams, uploads, waits
from api.rates import Rates
from api.readiness import Readiness
from api.rounds import Rounds
from api.routes import (
    adoption,
    artifacts,
    audit,
    catalog,
    conversations,
    deliveries,
    events,
    files,
    health,
    jobs,
    landing,
    metrics,
    plans,
    reports,
    secrets,
    stats,
    turns,
    upstream,
    usage,
    webhooks,
)
from api.strangers import Strangers
from api.waits import LOOK_EVERY_S, Watch
from api.writer import Writer
from worker import context as contexts
from worker import heap, retired
from worker.context import Context
from worker.errors import NightdeskError, Unavailable
from worker.flow import hear
from worker.flow.draft import prepare
from worker.flow.hear import Listener
from worker.gemini.stream import Streamer
from worker.settings import Settings
from worker.telemetry import log

RESOURCES = (
    jobs,
    adoption,
    turns,
    plans,
    conversations,
    events,
    files,
    artifacts,
    reports,
    deliveries,
    webhooks,
    secrets,
    catalog,
    usage,
    stats,
    audit,
    health,
    metrics,
    upstream,
    gemini,
    landing,
)
FLUSH_EVERY_S = 5.0
ABOUT = """Runs jobs of Google's Gemini Interactions API in the background: submit, go home, get a signed webhook.

Send the key as `Authorization: Bearer nd_…`. All times are RFC 3339 in UTC, durations seconds, sizes bytes, ids opaque.

Every error is `application/problem+json` with a stable `code`; its `request_id` is the answer's X-Request-Id.

A key may make so many reads (GET) and so many submissions (all else) a minute, a minute's worth at once. Answers say in
`RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds) how it stands, and in `RateLimit-Policy` and
`RateLimit` as the IETF's draft has it; beyond: 429 with `Retry-After`.

A POST that may spend takes an `Idempotency-Key`: the same key and body again answer the same job.

An unchanged google-genai client gets durable jobs under `/gemini`, with the key of this service in the place of
Google's. Python: `genai.Client(api_key="nd_…", http_options={"base_url": "https://…/gemini"})`. JavaScript:
`new GoogleGenAI({apiKey: "nd_…", httpOptions: {baseUrl: "https://…/gemini"}})`."""


def build(
    settings: Settings,
    context: Context | None = None,
    *,
    is_leaving: Callable[[], bool] = lambda: False,
    streams: Streams | None = None,
    pace: Pace | None = None,
    look_every_s: float = LOOK_EVERY_S,
    flush_every_s: float = FLUSH_EVERY_S,
) -> FastAPI:
    """The application; `is_leaving` tells long answers that the process wants to end.

    What is counted is the process's: of several applications in one, the first to flush takes all of it.
    It closes the context at its end, also one that was given.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        own = await run_in_threadpool(contexts.build, settings) if context is None else context
        try:
            watch = Watch(own, is_leaving, look_every_s)
            places = streams or Streams()
            async with _open(own, watch, places, _live(own, places, pace), flush_every_s) as desk:
                app.state.desk = desk
                yield
        finally:
            await run_in_threadpool(own.close)

    app = FastAPI(
        title="Nightdesk",
        version=version(contexts.NAME),
        summary="A background job service for Google's Gemini Interactions API",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        generate_unique_id_function=lambda route: route.name,
    )
    for resource in RESOURCES:
        app.include_router(resource.router)
    errors.install(app, {"quota_exceeded": settings.max_queued})
    openapi.install(app, ABOUT, [route for resource in RESOURCES for route in resource.router.routes])
    apart = {files.PATH: settings.max_file_bytes + OVERHEAD_BYTES}
    app.add_middleware(Outlet)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, apart=apart)
    app.add_middleware(Access)
    app.add_middleware(Manners)
    return app


@asynccontextmanager
async def _open(
    context: Context, watch: Watch, streams: Streams, live: Live, flush_every_s: float
) -> AsyncIterator[Desk]:
    """Start what runs beside the requests; at the end finish every order taken."""
    await run_in_threadpool(_warm, context)
    desk = Desk(
        context=context,
        keyring=Keyring(context),
        strangers=Strangers(context.settings.auth_failures),
        rates=Rates.of(context.settings),
        writer=Writer(context, asyncio.get_running_loop()),
        watch=watch,
        streams=streams,
        live=live,
        uploads=uploads(context.settings.max_uploads),
        waits=waits(),
        rounds=Rounds(context),
        readiness=Readiness(context),
        owed=Owed(context),
        listener=None if context.settings.gemini_webhooks == "off" else Listener(context),
    )
    desk.writer.start()
    looking = (desk.watch.listen(), desk.watch.look(), desk.owed.keep(), desk.rates.keep(context.sender))
    beside = [asyncio.create_task(work) for work in (*looking, _flush(context, flush_every_s))]
    try:
        yield desk
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await desk.live.close()
        await desk.keyring.close()
        await run_in_threadpool(desk.writer.stop)
        await run_in_threadpool(exposition.flush, context)


def _live(context: Context, streams: Streams, pace: Pace | None) -> Live:
    async def ended(job_id: str, upstream_id: str) -> None:
        """What its stream says is a hint as the upstream's own events are: the poll sees whether it is true."""
        with suppress(Unavailable):
            await run_in_threadpool(hear.poll_now, context, job_id, upstream_id)

    return Live(Streamer(context.access), ended, chance=context.chance, pace=pace, limit=streams.followed)


def _warm(context: Context) -> None:
    """Import what validation needs, so that the first submission does not wait for it."""
    with suppress(NightdeskError):
        prepare(context, {"model": "none", "input": "none"}, project_id="", is_admin=False)
        if doubts := retired.doubts(context.catalog, context.database):
            log.warning("catalog", outcome="retired_ids", told=doubts)
    heap.settle()


async def _flush(context: Context, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await run_in_threadpool(exposition.flush, context)
