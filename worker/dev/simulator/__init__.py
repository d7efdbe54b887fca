"""A local stand-in for the Gemini Interactions API, for people without a key, for tests, demos and benchmarks.

Prompts direct it (`[[sim: duration=3 status=failed]]`, `[[sim: create=lost times=1]]`: tables in `directives`), and so
do the `/_sim` calls (table in `control`, a client in `client`); `GET /_sim` shows all of it. Kinds of faults: `faults`.
It sends events as Google does (`courier`) and signs them (`signer`).
Run state is a function of the clock, so that ten thousand running interactions cost nothing between polls.
It imports nothing of the service, and nothing in production imports it.
"""

from worker.dev.simulator.app import build_app
from worker.dev.simulator.client import Control, ControlError
from worker.dev.simulator.options import Options
from worker.dev.simulator.serving import SimulatorServer, run

__all__ = ["Control", "ControlError", "Options", "SimulatorServer", "build_app", "run"]
