"""The models and agents known by name."""

from typing import Any

from fastapi import APIRouter, Response

from api import examples, schemas, view
from api.auth import AnyKey
from api.desk import AtDesk
from api.openapi import KEYED, Ok, answers

router = APIRouter(tags=["catalog"], default_response_class=Response)

HIDDEN = {"poll", "stalled_after_s", "timeout_s"}


@router.get(
    "/v1/catalog",
    summary="List the models and agents known",
    responses=answers(Ok(about="All of them.", schema=schemas.Catalog, example=examples.CATALOG), fails=KEYED),
)
async def read_catalog(who: AnyKey, desk: AtDesk) -> Response:
    """An id that is not here is passed on as it is."""
    del who
    return view.answer({"object": "list", "data": [_render(entry) for entry in desk.context.catalog.entries()]})


def _render(entry: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in entry.items() if name not in HIDDEN}
    return shown | ({"default_timeout_seconds": entry["timeout_s"]} if "timeout_s" in entry else {})
