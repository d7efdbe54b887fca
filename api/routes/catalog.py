"""The models and agents known by name."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from api import examples, figures, view
from api.auth import AnyKey
from api.desk import AtDesk
from api.listing import Name
from api.openapi import KEYED, Ok, answers
from worker.errors import Invalid
from worker.gemini.catalog import Kind

router = APIRouter(tags=["catalog"], default_response_class=Response)

HIDDEN = {"poll", "stalled_after_s", "timeout_s", "typical_s"}


@router.get(
    "/v1/catalog",
    summary="List the models and agents known",
    responses=answers(
        Ok(about="All of them.", schema=figures.Catalog, example=examples.CATALOG), fails=(*KEYED, Invalid)
    ),
)
async def read_catalog(
    who: AnyKey,
    desk: AtDesk,
    *,
    kind: Annotated[Kind | None, Query(description="Models or agents only.")] = None,
    ability: Annotated[
        list[Name], Query(description="Those that can do this; may be repeated.", examples=[["functions"]])
    ] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """What each can do, how long it takes and costs as far as that is known, and what replaces a retired one.

    An id that is not here is passed on as it is.
    """
    del who
    wanted = set(ability)
    found = [
        _render(entry)
        for entry in desk.context.catalog.entries()
        if kind in {None, entry["kind"]} and wanted <= set(entry.get("abilities", ()))
    ]
    return view.answer({"object": "list", "data": found})


def _render(entry: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in entry.items() if name not in HIDDEN}
    if entry["deprecated"]:
        return shown
    limits = entry["limits"] and {
        "run_seconds": entry["limits"]["run_s"],
        **{name: value for name, value in entry["limits"].items() if name != "run_s"},
    }
    times = {"default_timeout_seconds": entry["timeout_s"], "typical_seconds": entry["typical_s"]}
    return shown | times | {"limits": limits}
