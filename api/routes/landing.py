"""The front door: where everything is."""

import math
from collections.abc import Callable
from functools import partial

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api import headers, manual, view
from api.desk import AtDesk, Desk

router = APIRouter(include_in_schema=False, default_response_class=Response)

LINKS = {
    "/docs": "how to use this service",
    "/openapi.json": "the same for programs",
    "/healthz": "whether this process answers",
    "/readyz": "whether the service can work",
}
PLAIN, HTML = "text/plain", "text/html"


@router.get("/")
async def greet(request: Request) -> Response:
    """A few lines, for a person or a terminal."""
    if headers.preferred(request, [PLAIN, HTML]) == HTML:
        return Response(
            manual.page("Nightdesk", _items()), headers={"Content-Security-Policy": manual.CSP}, media_type=HTML
        )
    width = max(map(len, LINKS))
    lines = [f"  {path:<{width}}  {about}" for path, about in LINKS.items()]
    return Response("\n".join(["Nightdesk: submit, go home, get a signed webhook.", "", *lines, ""]), media_type=PLAIN)


def _items() -> str:
    items = "".join(f'<li><a href="{path}">{path}</a> — {about}</li>' for path, about in LINKS.items())
    return f"<h1>Nightdesk</h1><p>Submit, go home, get a signed webhook.</p><ul>{items}</ul>"


@router.get("/openapi.json")
async def read_document(request: Request, desk: AtDesk) -> Response:
    """The OpenAPI document."""
    return view.answer(await _once(desk, "document", lambda: orjson.dumps(request.app.openapi())))


@router.get("/docs")
async def read_manual(request: Request, desk: AtDesk) -> Response:
    """The OpenAPI document as a page."""
    text = await _once(desk, "manual", lambda: manual.write(request.app.openapi()).encode())
    return Response(text, headers={"Content-Security-Policy": manual.CSP}, media_type=HTML)


async def _once(desk: Desk, name: str, write: Callable[[], bytes]) -> bytes:
    """What anybody may ask for as often as he likes is written once in a process."""
    return await desk.memo.get(name, partial(run_in_threadpool, write), min_s=math.inf)
