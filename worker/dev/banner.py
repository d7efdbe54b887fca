"""What `nightdesk up` prints when everything is ready: where things are, and a first job to paste."""

import json
import shlex
import sys
from typing import Any
from urllib.parse import urlsplit

from worker.dev import keyring, ports
from worker.dev.surroundings import Surroundings

AGENT = "deep-research-preview-04-2026"
SMALL_MODEL = "gemini-3.5-flash-lite"


def banner(around: Surroundings, *, took_s: float) -> str:
    """The text; its commands work when pasted into any POSIX shell."""
    user, _, password = around.environment[keyring.FLOWER].partition(":")
    receiver = ports.url(ports.LOOPBACK, around.receiver_port)
    api, key = around.api_url, around.environment[keyring.API_KEY]
    flower = ports.url(around.options.host, around.options.flower_port)
    program = sys.argv[0] if sys.argv[0].endswith("nightdesk") else "nightdesk"
    return f"""
Nightdesk is ready after {took_s:.1f} s. {_who_answers(around)}

  API        {api}   (reference: {api}/docs)
  API key    {key}
  Flower     {flower}   (user {user}, password {password})
  Webhooks   {receiver}   (a page that shows what the local receiver gets)
  Logs       {around.logs}

{_offer(around)}

  curl -s {api}/v1/jobs \\
    -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{json.dumps(_job(around, f"{receiver}/hook"))}'

When it is done, its webhook shows up on {receiver} .
From another terminal `{program} check` looks at all of this, and `{program} submit` and `jobs` use it, after

{_exports(around)}

Ctrl-C stops everything; jobs go on at the next start.
"""


def _exports(around: Surroundings) -> str:
    told = {"NIGHTDESK_URL": around.api_url, "NIGHTDESK_API_KEY": around.environment[keyring.API_KEY]}
    if around.options.data_dir:
        # The commands look where the settings say, which did not say this.
        told["NIGHTDESK_DATA_DIR"] = str(around.data_dir)
    return "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in told.items())


def _who_answers(around: Surroundings) -> str:
    if around.simulator_port is not None:
        return "Jobs go to the built-in simulator: no Gemini key is needed and nothing is billed."
    if around.settings.gemini_base_url:
        return f"Jobs go to {urlsplit(around.settings.gemini_base_url).hostname}, and may be BILLED there."
    return "Jobs go to the Gemini API with your key, and are BILLED to it."


def _offer(around: Surroundings) -> str:
    if around.simulator_port is not None:
        return "Submit a Deep Research job (the simulated one takes about 20 s):"
    return "Submit a job for a small, cheap model:"


def _job(around: Surroundings, hook: str) -> dict[str, Any]:
    if around.simulator_port is not None:
        return {"agent": AGENT, "input": "How do owls hunt in the dark?", "webhook_url": hook}
    return {"model": SMALL_MODEL, "input": "Name three owls.", "webhook_url": hook}
