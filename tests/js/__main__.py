"""`python -m tests.js`: start an installation, run the JavaScript tests against it, and look after its transcript.

The API process may be killed by a test: what dies is started again, as under a supervisor.
"""

import os
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

from tests.door import programs, transcript
from tests.js import node
from tests.js.node import FOLDER, NoNodeError
from tests.stack import Stack
from worker.dev.tether import spawn

HOLD_S = 4
LIMIT_S = 600
TESTS = ("webhook.test.mjs", "door.test.mjs")
"""One after the other: those of the door kill the API."""


def main() -> int:
    """Gives back the exit code."""
    try:
        program, found = programs.javascript(), node.command("node")
    except NoNodeError as error:
        sys.exit(f"tests.js: {error}")
    env = transcript.ENV | {"NIGHTDESK_HOLD_S": str(HOLD_S)}
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), simulator={"speed": 10}, env=env) as stack:
        if transcript.record(stack, program) != transcript.recorded(program.language):
            sys.exit("tests.js: program.mjs says something else than tests/door/transcript.md: see `make transcript`")
        environment = {
            "PATH": os.environ["PATH"],
            "NIGHTDESK_URL": stack.url,
            "NIGHTDESK_KEY": stack.key,
            "NIGHTDESK_API_PID": str(stack.processes["api"].pid),
            "SIMULATOR_URL": stack.simulator_url,
            "HOLD_S": str(HOLD_S),
        }
        return max(_run(stack, [found, "--test", name], environment) for name in TESTS)


def _run(stack: Stack, command: list[str], environment: dict[str, str]) -> int:
    give_up = monotonic() + LIMIT_S
    process = spawn(command, cwd=FOLDER, env=environment)
    try:
        while process.poll() is None and monotonic() < give_up:
            stack.mend()
            sleep(0.1)
        return 1 if process.poll() is None else process.returncode
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
