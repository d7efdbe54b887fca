"""Collaborative planning: a research agent gives a plan first, and the next interaction says what becomes of it.

Pure; the words are Google's own where there are any (`upstream.md` 7.2).
"""

from collections.abc import Mapping
from typing import Any, Literal

Action = Literal["approve", "edit", "reject"]
ACTIONS: tuple[Action, ...] = ("approve", "edit", "reject")

PLANNING = "collaborative_planning"
APPROVAL = "Plan looks good!"
REJECTION = "I reject this plan. Please make another one from scratch."


def is_planning(request: Mapping[str, Any]) -> bool:
    """Whether a create asks for a plan first."""
    config = request.get("agent_config")
    return request.get("agent") is not None and isinstance(config, Mapping) and config.get(PLANNING) is True


def decided(request: Mapping[str, Any], action: Action, feedback: str | None) -> dict[str, Any]:
    """The request that follows on a plan, which was asked for with `request`; an edit needs feedback."""
    kept = {name: value for name, value in request.items() if name not in ("input", "previous_interaction_id")}
    said = {"approve": APPROVAL, "edit": None, "reject": REJECTION}[action]
    words = "\n\n".join(part for part in (said, feedback) if part)
    return kept | {"input": words, "agent_config": {**kept["agent_config"], PLANNING: action != "approve"}}
