from typing import Any

import pytest

from worker.errors import Invalid, SettingsError
from worker.gemini.catalog import Entry, Kind, Resolved, load_catalog

CATALOG = load_catalog()
CONTENTS = {"text", "image", "audio", "video", "document"}
TOOL_TYPES = {
    *("function", "google_search", "code_execution", "url_context", "file_search", "google_maps", "computer_use"),
    *("mcp_server", "retrieval", "tool_search"),
}


@pytest.mark.parametrize(
    ("kind", "asked", "used"),
    [
        ("agent", "deep-research-pro-preview-12-2025", "deep-research-preview-04-2026"),
        ("agent", "antigravity-preview-05-2026", "antigravity-preview-09-2026"),
        ("model", "gemini-1.5-flash", "gemini-3.8-flash"),
        ("model", "gemini-1.5-pro-002", "gemini-3.1-pro-preview"),
        ("model", "gemini-2.0-flash", "gemini-3.8-flash"),
        ("model", "gemini-2.0-flash-lite", "gemini-3.5-flash-lite"),
        ("model", "gemini-2.5-pro", "gemini-3.1-pro-preview"),
        ("model", "gemini-2.5-flash-lite", "gemini-3.5-flash-lite"),
        ("model", "gemini-2.5-flash-image", "gemini-3.1-flash-image"),
        ("model", "gemini-2.5-flash-preview-tts", "gemini-3.8-flash-tts"),
        ("model", "gemini-3-pro-image-preview", "gemini-3-pro-image"),
        ("model", "gemini-flash-latest", "gemini-3.8-flash"),
    ],
)
def test_a_retired_id_is_substituted_and_told(kind: Kind, asked: str, used: str) -> None:
    resolved = CATALOG.resolve(kind, asked)

    assert resolved.id == used
    assert [(step["from"], step["to"]) for step in resolved.substitutions] == [(asked, used)]
    assert all(step["reason"] for step in resolved.substitutions)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("model", "gemini-3.8-flash"),
        ("model", "gemini-9-xenon"),
        ("model", "tunedModels/mine"),
        ("agent", "deep-research-max-preview-04-2026"),
        ("agent", "my-own-agent"),
    ],
)
def test_a_current_or_unknown_id_passes_through(kind: Kind, asked: str) -> None:
    assert CATALOG.resolve(kind, asked, strict=True) == Resolved(asked)


@pytest.mark.parametrize(("kind", "asked"), [("model", "gemini-2.5-pro"), ("agent", "antigravity-preview-05-2026")])
def test_strict_refuses_a_retired_id_and_names_the_replacement(kind: Kind, asked: str) -> None:
    replacement = CATALOG.resolve(kind, asked).id

    with pytest.raises(Invalid) as caught:
        CATALOG.resolve(kind, asked, strict=True)

    [fault] = caught.value.faults
    assert fault.pointer == f"/{kind}"
    assert replacement in fault.detail


@pytest.mark.parametrize(("kind", "asked"), [("model", "deep-research-preview-04-2026"), ("agent", "gemini-3.8-flash")])
def test_an_id_of_the_other_kind_is_refused(kind: Kind, asked: str) -> None:
    with pytest.raises(Invalid) as caught:
        CATALOG.resolve(kind, asked)

    assert [fault.pointer for fault in caught.value.faults] == [f"/{kind}"]


def test_every_shipped_replacement_is_known_and_not_retired_itself() -> None:
    for rule in CATALOG.retired:
        assert rule.to is not None
        assert (rule.kind, rule.to) in CATALOG.known
        assert CATALOG.resolve(rule.kind, rule.to).substitutions == ()


def test_no_known_id_is_retired() -> None:
    assert all(CATALOG.resolve(kind, name) == Resolved(name) for kind, name in CATALOG.known)


@pytest.mark.parametrize(("kind", "timeout_s"), [("agent", 4200), ("model", 1800)])
def test_an_unknown_id_has_the_defaults_of_its_kind(kind: Kind, timeout_s: int) -> None:
    entry = CATALOG.entry(kind, "unheard-of")

    assert (entry.id, entry.timeout_s, entry.poll) == ("unheard-of", timeout_s, kind)
    assert entry.stalled_after_s > 0


def test_entries_tell_what_is_in_use_and_what_replaces_the_rest() -> None:
    entries = {entry["id"]: entry for entry in CATALOG.entries()}

    assert entries["gemini-3.8-flash"]["deprecated"] is False
    assert "functions" in entries["gemini-3.8-flash"]["abilities"]
    assert entries["antigravity-preview-05-2026"]["replacement"] == "antigravity-preview-09-2026"


def test_an_operator_extends_overrides_and_revives() -> None:
    catalog = load_catalog(
        {
            "defaults": {"model": {"timeout_s": 60, "poll": "model", "stalled_after_s": 30}},
            "entries": [
                {"kind": "agent", "id": "ours", "family": "own", "timeout_s": 90, "poll": "model"},
                {"kind": "model", "id": "gemini-3.8-flash", "family": "gemini", "abilities": ["text"]},
            ],
            "retired": [
                {"kind": "model", "pattern": "gemini-2.5-pro", "to": None},
                {"kind": "model", "pattern": "gemini-3.6-flash", "to": "gemini-1.5-flash", "reason": "nostalgia"},
            ],
        }
    )

    assert catalog.entry("agent", "ours").timeout_s == 90
    assert catalog.entry("agent", "ours").stalled_after_s == CATALOG.paces["agent"].stalled_after_s
    assert catalog.entry("model", "gemini-3.8-flash").abilities == ("text",)
    assert catalog.entry("model", "unheard-of").timeout_s == 60
    assert catalog.resolve("model", "gemini-2.5-pro") == Resolved("gemini-2.5-pro")
    assert [s["to"] for s in catalog.resolve("model", "gemini-3.6-flash").substitutions] == [
        "gemini-1.5-flash",
        "gemini-3.8-flash",
    ]


def retired(*rules: tuple[str, str], kind: str = "model") -> dict[str, Any]:
    return {"retired": [{"kind": kind, "pattern": pattern, "to": to, "reason": "x"} for pattern, to in rules]}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (retired(("a", "b"), ("b", "a")), "retired/0/to: goes round in a circle: b → a → b"),
        (retired(("a", "b"), ("b", "c"), ("c", "b")), "retired/0/to: goes round in a circle: b → c → b"),
        (
            retired(("gemini-3.8-flash", "gemini-2.5-flash")),
            "retired/0/to: goes round in a circle: gemini-2.5-flash → gemini-3.8-flash → gemini-2.5-flash",
        ),
        (retired(("x", "c"), ("a", "b"), ("b", "c")), "retired/1/to: b is retired by this file, too: name c"),
        (retired(("a", "my-*"), ("my-*", "c")), "retired/0/to: my-[*] is retired by this file, too: name c"),
        (retired(("a", "antigravity-preview-09-2026")), "retired/0/to: antigravity-preview-09-2026 is no model"),
        (retired(("a", "gemini-3.8-flash"), kind="agent"), "retired/0/to: gemini-3.8-flash is no agent"),
    ],
)
def test_replacements_that_lead_nowhere_are_refused_with_their_place(override: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_catalog(override)


def test_a_pattern_may_take_in_its_own_replacement() -> None:
    catalog = load_catalog(retired(("gemini-5-*", "gemini-5-ultra")))

    assert catalog.resolve("model", "gemini-5-mini").id == "gemini-5-ultra"
    assert catalog.resolve("model", "gemini-5-ultra", strict=True) == Resolved("gemini-5-ultra")
    assert list(catalog.doubts()) == []


def test_an_override_that_a_release_has_overtaken_still_works_and_is_doubted() -> None:
    rules = retired(("gemini-3.6-flash", "gemini-1.5-flash"))
    catalog = load_catalog(rules | {"entries": [{"kind": "model", "id": "gemini-2.5-pro", "family": "gemini"}]})

    assert catalog.resolve("model", "gemini-3.6-flash").id == "gemini-3.8-flash"
    assert list(catalog.doubts()) == [
        "model gemini-3.6-flash is in the catalog, and retired: jobs for it run as gemini-3.8-flash",
        "model gemini-2.5-pro is in the catalog, and retired: jobs for it run as gemini-3.1-pro-preview",
        "model gemini-1.5-flash replaces gemini-3.6-flash, and is retired itself: jobs run as gemini-3.8-flash",
    ]
    with pytest.raises(Invalid, match=r"use gemini-3\.8-flash, or leave out strict_model"):
        catalog.resolve("model", "gemini-3.6-flash", strict=True)


def test_the_shipped_catalog_leaves_no_doubt() -> None:
    assert list(CATALOG.doubts()) == []


@pytest.mark.parametrize("entry", CATALOG.known.values(), ids=lambda entry: entry.id)
def test_every_shipped_id_says_what_it_is_for_takes_and_makes(entry: Entry) -> None:
    tools = {name for name in entry.tools if name not in TOOL_TYPES}

    assert entry.about
    assert entry.abilities
    assert set(entry.inputs) <= CONTENTS
    assert entry.inputs
    assert set(entry.outputs) <= CONTENTS
    assert entry.outputs
    assert tools == set()
    assert entry.typical_s is None or entry.typical_s < entry.timeout_s
    assert entry.limits is None or entry.limits.run_s is None or entry.limits.run_s < entry.timeout_s
    assert entry.cost is None or 0 < entry.cost.usd_from <= entry.cost.usd_to
    assert entry.cost is None or "Google" in entry.cost.source


def test_an_entry_says_for_itself_what_it_has_not_in_common_with_its_family() -> None:
    family = {"abilities": ["text"], "inputs": ["text"], "tools": ["function"]}
    common = {"kind": "model", "family": "own"}
    entries = [{"id": "a", "tools": [], **common}, {"id": "b", "outputs": ["audio"], "about": "Sings", **common}]

    catalog = load_catalog({"families": {"own": family}, "entries": entries})

    a, b = catalog.entry("model", "a"), catalog.entry("model", "b")
    assert (a.abilities, a.inputs, a.outputs, a.tools, a.about) == (("text",), ("text",), (), (), "")
    assert (b.abilities, b.outputs, b.tools, b.about) == (("text",), ("audio",), ("function",), "Sings")


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ({"entrys": []}, "entrys"),
        ({"entries": [{"kind": "model", "id": "x"}]}, "entries/0/family"),
        ({"retired": [{"kind": "robot", "pattern": "x", "to": "y"}]}, "retired/0/kind"),
        ({"defaults": {"agent": {"timeout_s": "long"}}}, "defaults/agent/timeout_s"),
        (
            {"entries": [{"kind": "model", "id": "x", "family": "y", "timeout_s": 0}]},
            "entries/0/timeout_s: Input should",
        ),
        ({"entries": [{"kind": "model", "id": "", "family": "y"}]}, "entries/0/id"),
        ({"families": {"y": {"can": []}}}, "families/y/can"),
        ([], "[(]the whole[)]"),
        ({"entries": [{}] * 9}, "; and 22 more"),
    ],
)
def test_a_bad_override_is_refused_with_its_place(override: dict[str, Any], place: str) -> None:
    with pytest.raises(SettingsError, match=place):
        load_catalog(override)
