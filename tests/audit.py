"""Looks the locked packages up among known vulnerabilities: `python -m tests.audit`, run by `make audit`.

The advisories are on the network and not every index has them. What could not be looked up is told as such: the tool
that asks would else call a lock without a single answer clean. Exits 1 for what is vulnerable, 2 for what is unknown;
with `--where-possible`, as `make check` asks once for each lock, the unknown is no failure, and is not waited for long.
"""

import json
import subprocess
import sys
from typing import Any

from uv import find_uv_bin

TOOL = "pip-audit@2.10.1"
LOCK = "requirements-dev.lock"
"""It has all of the other."""

TIMEOUT_S, PATIENCE_S = 600, 60
REQUEST_S = 5
SHOWN = 5


def audited(lock: str, timeout_s: float) -> list[dict[str, Any]]:
    """What is known of each package of a lock; raises OSError, ValueError, TimeoutExpired where nothing is."""
    options = ["--progress-spinner=off", "--format=json", "--disable-pip", "--no-deps", f"--requirement={lock}"]
    options.append(f"--timeout={REQUEST_S}")
    command = [find_uv_bin(), "tool", "run", "--quiet", TOOL, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    return found


def told(packages: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """One line for each vulnerability, and the names of the packages that could not be looked up."""
    bad = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for one in packages
        for flaw in one.get("vulns", [])
    ]
    return bad, [one["name"] for one in packages if "skip_reason" in one]


def main(arguments: list[str]) -> int:
    """Audit the lock; gives back the exit code."""
    is_lenient = "--where-possible" in arguments
    unknown_code = 0 if is_lenient else 2
    try:
        packages = audited(LOCK, PATIENCE_S if is_lenient else TIMEOUT_S)
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        sys.stdout.write(f"not audited: {TOOL} could not be run here ({type(error).__name__})\n")
        return unknown_code
    bad, unknown = (sorted(set(lines)) for lines in told(packages))
    for line in bad:
        sys.stdout.write(f"{line}\n")
    if unknown:
        some = ", ".join(unknown[:SHOWN]) + (", …" if len(unknown) > SHOWN else "")
        sys.stdout.write(f"not audited: no advisories can be had from here for {len(unknown)} packages ({some})\n")
    else:
        sys.stdout.write(f"{len(bad)} known vulnerabilities\n")
    return 1 if bad else unknown_code if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
