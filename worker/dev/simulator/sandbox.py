"""A run of an agent in an environment (Antigravity, custom agents): code is run, files written, work reported."""

from uuid import NAMESPACE_URL, uuid5

from worker.dev.simulator.beat import output, text, thought
from worker.dev.simulator.chat import reply, said_by_user
from worker.dev.simulator.dice import Dice
from worker.dev.simulator.prompt import Step, question_of
from worker.dev.simulator.record import Record
from worker.dev.simulator.words import slug_of, topic_of

STEPS = 6


def steps(record: Record, seed: int) -> list[Step]:
    """Return the working steps."""
    topic = topic_of(question_of(record.steps))
    dice = Dice(seed, "sandbox", topic)
    name = f"{slug_of(topic)[:30]}.py"
    return [
        thought(f"**Looking around**\n\nWhat does the environment hold that helps with “{topic}”?", dice),
        *_code(record, 0, "ls -la", "total 0\ndrwxr-xr-x 2 agent agent 40 .\n"),
        *_code(record, 1, f"python {name}", "done ✓\n"),
        thought("**Checking**\n\nThe program ran; its output is what was asked for.", dice),
    ]


def result(record: Record, seed: int) -> list[Step]:
    """Return the report of the work done."""
    topic = topic_of(question_of(record.steps))
    if record.script.text is not None or record.script.size_b:
        return [output(text(reply(record, seed)))]
    earlier = said_by_user(record.past)
    after = f" It builds on “{topic_of(earlier[-1])}”." if earlier else ""
    place = environment_of(record)
    done = f"I worked on “{topic}” in the environment `{place}`: `{slug_of(topic)[:30]}.py` does it.{after}"
    return [output(text(f"{done}\n\n(The local Gemini simulator ran nothing.)"))]


def environment_of(record: Record) -> str:
    """Return the id of the environment: the one that the request names, else a new one."""
    asked = record.request.get("environment")
    known = asked.get("environment_id") if isinstance(asked, dict) else asked
    return known if isinstance(known, str) and known not in ("", "remote") else str(uuid5(NAMESPACE_URL, record.id))


def _code(record: Record, number: int, code: str, printed: str) -> list[Step]:
    call_id = f"code_{Dice(record.id, number).bits():012x}"
    return [
        {"type": "code_execution_call", "id": call_id, "arguments": {"language": "bash", "code": code}},
        {"type": "code_execution_result", "call_id": call_id, "result": printed},
    ]
