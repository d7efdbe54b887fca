"""Deep Research runs: what appears along the way, and the report at the end, as the SDK's types see them."""

import struct
import zlib
from base64 import b64decode
from typing import Any

import pytest

from worker.dev.simulator import SimulatorServer

AGENT = "deep-research-preview-04-2026"
PROMPT = "Research the state of heat pumps in Zürich and Łódź. Compare costs, noise and subsidies."


@pytest.fixture
def report(sim: SimulatorServer, interactions: Any) -> Any:
    made = interactions.create(agent=AGENT, input=PROMPT, background=True)
    sim.control.advance(10)
    return interactions.get(made.id)


def contents_of(interaction: Any) -> list[Any]:
    (output,) = [step for step in interaction.steps if step.type == "model_output"]
    return list(output.content)


def test_steps_appear_while_the_run_goes_on(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(agent=AGENT, input=f"{PROMPT} [[sim: duration=1000]]", background=True)
    seen = []

    for _ in range(4):
        sim.control.advance(24)
        running = interactions.get(made.id)
        assert running.status == "in_progress"
        seen.append([step.type for step in running.steps])

    assert [len(steps) for steps in seen] == sorted({len(steps) for steps in seen})
    assert {"thought", "google_search_call", "google_search_result", "url_context_call"} <= set(seen[-1])
    assert "model_output" not in seen[-1]


def test_thoughts_carry_summaries_unless_they_are_switched_off(sim: SimulatorServer, interactions: Any) -> None:
    quiet = interactions.create(
        agent=AGENT,
        input=PROMPT,
        background=True,
        agent_config={"type": "deep-research", "thinking_summaries": "none"},
    )
    usual = interactions.create(agent=AGENT, input=PROMPT, background=True)
    sim.control.advance(10)

    thoughts = {
        made.id: [step for step in interactions.get(made.id).steps if step.type == "thought"] for made in (quiet, usual)
    }

    assert all(thought.summary is None for thought in thoughts[quiet.id])
    assert all(thought.summary[0].text for thought in thoughts[usual.id])


def test_the_report_speaks_of_what_was_asked(report: Any) -> None:
    text = contents_of(report)[0].text

    assert text.startswith("# State of heat pumps in Zürich and Łódź\n")
    assert all(word in "".join(c.text for c in contents_of(report) if c.type == "text") for word in ("costs", "noise"))
    assert text.count("\n## ") >= 2


def test_citations_are_byte_offsets_of_whole_sentences(report: Any) -> None:
    texts = [content for content in contents_of(report) if content.type == "text"]
    citations = [(content.text, citation) for content in texts for citation in content.annotations or []]

    sliced = [text.encode()[citation.start_index : citation.end_index].decode() for text, citation in citations]

    assert len(citations) > 10
    assert all(sentence[0].isupper() or sentence[0] == "“" for sentence in sliced)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in sliced)
    assert any(
        text[c.start_index : c.end_index] != text.encode()[c.start_index : c.end_index].decode()
        for text, c in citations
    )
    assert all(citation.url.startswith("https://") and citation.title for _, citation in citations)


def test_a_chart_stands_between_the_texts(report: Any) -> None:
    kinds = [content.type for content in contents_of(report)]
    png = b64decode(contents_of(report)[1].data)

    assert kinds == ["text", "image", "text"]
    width, height = struct.unpack(">II", png[16:24])
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    assert len(zlib.decompress(png[start + 4 : start + 4 + length])) == height * (1 + width)
    assert report.output_text == contents_of(report)[-1].text


@pytest.mark.parametrize(("extra", "config", "images"), [("", "off", 0), ("[[sim: images=3]]", "auto", 3)])
def test_images_follow_the_configuration_and_the_directive(
    sim: SimulatorServer, interactions: Any, extra: str, config: str, images: int
) -> None:
    made = interactions.create(
        agent=AGENT,
        input=PROMPT + extra,
        background=True,
        agent_config={"type": "deep-research", "visualization": config},
    )
    sim.control.advance(10)

    kinds = [content.type for content in contents_of(interactions.get(made.id))]

    assert kinds == ["text", *["image", "text"] * images]


def test_the_same_prompt_gives_the_same_report(sim: SimulatorServer, interactions: Any, report: Any) -> None:
    again = interactions.create(agent=AGENT, input=PROMPT, background=True)
    sim.control.advance(10)

    assert contents_of(interactions.get(again.id)) == contents_of(report)


def test_usage_carries_every_token_count(report: Any) -> None:
    usage = report.usage

    assert usage.total_tool_use_tokens > 0
    assert usage.total_thought_tokens > 0
    assert usage.total_cached_tokens == 0
    assert usage.output_tokens_by_modality[0].tokens == usage.total_output_tokens
    assert usage.grounding_tool_count[0].type == "google_search"


def test_collaborative_planning_goes_from_plan_over_feedback_to_the_report(
    sim: SimulatorServer, interactions: Any
) -> None:
    def ask(text: str, *, is_planning: bool, previous: str | None) -> Any:
        config = {"type": "deep-research", "collaborative_planning": is_planning}
        made = interactions.create(
            agent=AGENT, input=text, background=True, agent_config=config, previous_interaction_id=previous
        )
        sim.control.advance(10)
        return interactions.get(made.id)

    plan = ask(PROMPT, is_planning=True, previous=None)
    better = ask("Leave out the noise", is_planning=True, previous=plan.id)
    report = ask("Plan looks good!", is_planning=False, previous=better.id)

    assert plan.status == better.status == report.status == "completed"
    assert plan.output_text.startswith("**Research plan: State of heat pumps")
    assert "Leave out the noise" in better.output_text
    assert contents_of(report)[0].text.startswith("# State of heat pumps")


def test_a_report_can_be_asked_about_by_a_model(interactions: Any, report: Any) -> None:
    answer = interactions.create(model="gemini-3.8-flash", input="What did I ask?", previous_interaction_id=report.id)

    assert PROMPT in answer.output_text


def test_a_report_can_be_made_large(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(agent=AGENT, input=f"{PROMPT} [[sim: size=2mb images=0]]", background=True)
    sim.control.advance(10)

    size = len(interactions.get(made.id).output_text.encode())

    assert 2 * 1024**2 <= size < 2.1 * 1024**2


def test_antigravity_works_in_an_environment_and_goes_on_in_it(sim: SimulatorServer, interactions: Any) -> None:
    agent = "antigravity-preview-09-2026"
    first = interactions.create(agent=agent, input="Write fibonacci.txt", background=True, environment="remote")
    sim.control.advance(10)

    done = interactions.get(first.id)
    second = interactions.create(
        agent=agent,
        input="Now sort it",
        background=True,
        environment=done.environment_id,
        previous_interaction_id=first.id,
    )

    assert {"code_execution_call", "code_execution_result"} <= {step.type for step in done.steps}
    assert len(done.environment_id) == 36
    assert second.environment_id == done.environment_id


def test_a_token_limit_leaves_an_agents_work_incomplete(sim: SimulatorServer, interactions: Any) -> None:
    made = interactions.create(
        agent="antigravity-preview-09-2026",
        input="Write a novel",
        background=True,
        environment="remote",
        agent_config={"type": "antigravity", "max_total_tokens": 10},
    )
    sim.control.advance(10)

    got = interactions.get(made.id)

    assert got.status == "incomplete"
    assert 0 < len(got.output_text) <= 40
