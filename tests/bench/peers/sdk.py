"""The plain way of polling: the SDK's own `get`, one after the other; tells its CPU.

Run as `python -m tests.bench.peers.sdk UPSTREAM FILE NUMBER`; FILE holds one id a line.
"""

import json
import sys
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, process_time

from google import genai
from google.genai.types import HttpOptions

WARM = 5


def main(upstream: str, names: list[str], number: int) -> None:
    """Warm up, measure, print."""
    client = genai.Client(api_key="simulated", http_options=HttpOptions(base_url=upstream, api_version="v1"))
    for name in islice(cycle(names), WARM):
        client.interactions.get(name)
    cpu_s, began = process_time(), perf_counter()
    for name in islice(cycle(names), number):
        assert client.interactions.get(name).status
    cpu_s, took_s = process_time() - cpu_s, perf_counter() - began
    print(json.dumps({"cpu_us": cpu_s / number * 1e6, "rate": number / took_s}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).read_text().split(), int(sys.argv[3]))
