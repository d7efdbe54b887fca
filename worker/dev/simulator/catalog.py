"""The models and agents that the API knows, what each can do, and which are gone. Data and look-ups only."""

from worker.dev.simulator.refusal import Refusal


def _ids(text: str) -> frozenset[str]:
    return frozenset(text.split())


TEXT = _ids(
    """gemini-4-argon gemini-4-carbon gemini-4-hydrogen gemini-3.8-flash gemini-3.7-flash gemini-3.6-flash
    gemini-3.5-flash gemini-3.5-flash-lite gemini-3.1-flash-lite gemini-3.1-pro-preview
    gemini-3.1-pro-preview-customtools gemini-3-flash-preview gemini-3.5-transcribe
    gemini-robotics-er-2-preview gemini-robotics-er-1.6-preview gemma-4-31b-it gemma-4-26b-a4b-it
    gemini-2.5-flash gemini-2.5-pro gemini-2.5-flash-lite"""
)
IMAGE = _ids(
    """gemini-nano-banana-2.1 gemini-3-pro-image nano-banana-pro-preview
    gemini-3.1-flash-image gemini-3.1-flash-lite-image
    gemini-2.5-flash-image"""
)
AUDIO = _ids(
    """gemini-3.8-flash-tts gemini-3.8-flash-lite-tts gemini-3.1-flash-tts-preview lyria-3.5 lyria-3-pro-preview
    lyria-3-clip-preview"""
)
VIDEO = frozenset({"gemini-omni-1.2-flash", "gemini-omni-1.1-flash", "gemini-omni-flash-preview"})
ALIASES = frozenset({"gemini-flash-latest", "gemini-flash-lite-latest", "gemini-pro-latest"})
"""Served on v1beta only."""

RETIRED = _ids(
    """gemini-3.1-flash-lite-preview gemini-3-pro-image-preview gemini-3.1-flash-image-preview
    deep-research-pro-preview-12-2025 antigravity-preview-05-2026"""
)
RETIRED_PREFIXES = ("gemini-2.0-", "gemini-1.5-", "gemini-1.0-")

RESEARCH = frozenset({"deep-research-preview-04-2026", "deep-research-max-preview-04-2026"})
ANTIGRAVITY = frozenset({"antigravity-preview-09-2026"})


def medium_of(model: str) -> str:
    """Return what a model answers with: text, image, audio or video."""
    for medium, models in (("image", IMAGE), ("audio", AUDIO), ("video", VIDEO)):
        if model in models:
            return medium
    return "text"


def check_model(model: str, version: str) -> None:
    """Refuse a model that the API of this version does not serve."""
    if model in ALIASES and version == "v1beta":
        return
    if model in TEXT or medium_of(model) != "text":
        return
    raise _unknown("model", model, version)


def check_agent(agent: str, version: str, custom: tuple[str, ...]) -> None:
    """Refuse an agent that is neither built in nor one of the custom ones."""
    if agent not in RESEARCH | ANTIGRAVITY and agent not in custom:
        raise _unknown("agent", agent, version)


def _unknown(kind: str, name: str, version: str) -> Refusal:
    is_retired = name in RETIRED or name.startswith(RETIRED_PREFIXES)
    why = "has been retired" if is_retired else f"is not found for API version {version}"
    return Refusal(404, f"The {kind} '{name}' {why}.", "model_not_found")
