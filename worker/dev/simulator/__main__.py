"""`python -m worker.dev.simulator`: runs the simulator on its own, without the rest of the service."""

import argparse
from pathlib import Path

from worker.dev.simulator import Options, run

parser = argparse.ArgumentParser(prog="python -m worker.dev.simulator", description="A local Gemini Interactions API.")
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=8787)
parser.add_argument("--speed", type=float, default=1.0, help="2 makes runs twice as fast")
parser.add_argument("--latency", type=float, default=0.0, metavar="S", help="seconds added to every answer")
parser.add_argument("--state", type=Path, metavar="FILE", help="keep interactions over restarts in this journal")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--webhook-url", metavar="URL", help="send static events there")
parser.add_argument("--webhook-secret", metavar="WHSEC", help="and sign them with this secret")


def main() -> None:
    """Serve until interrupted."""
    asked = parser.parse_args()
    options = Options(
        host=asked.host,
        port=asked.port,
        speed=asked.speed,
        latency_s=asked.latency,
        state_path=asked.state,
        seed=asked.seed,
        webhook_url=asked.webhook_url,
        webhook_secret=asked.webhook_secret,
    )
    run(options, lambda url: print(f"Gemini simulator at {url}, its guide at {url}/_sim", flush=True))


if __name__ == "__main__":
    main()
