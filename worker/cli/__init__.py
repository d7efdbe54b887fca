"""The `nightdesk` command: the service's processes, the operators' tools and a client of the HTTP API.

Heavy libraries are imported inside the commands that need them: `--help` answers at once.
"""

import os
import sys

from worker.errors import NightdeskError, SettingsError

FAILED, BAD_SETTINGS = 1, 2


def main() -> None:
    """Run a command; expected trouble is one line on stderr, never a traceback."""
    # Databases, journals and logs hold prompts: what is made here is its owner's alone.
    os.umask(0o077)
    from worker.cli.commands import build  # noqa: PLC0415  (other modules of this package are imported without it)

    try:
        build()(prog_name="nightdesk")
    except NightdeskError as error:
        print(f"nightdesk: {error}", file=sys.stderr)
        sys.exit(BAD_SETTINGS if isinstance(error, SettingsError) else FAILED)
