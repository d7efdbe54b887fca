"""`python -m tests.door`: run both programs and write the transcript; needs what `make install-extras` installs."""

import sys
import tempfile
from pathlib import Path

from tests.door import programs, transcript
from tests.js.node import NoNodeError
from tests.stack import Stack


def main() -> None:
    """Write the file anew."""
    try:
        chosen = [programs.python(), programs.javascript()]
    except NoNodeError as error:
        sys.exit(f"transcript: {error}")
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), env=transcript.ENV) as stack:
        parts = [transcript.record(stack, program) for program in chosen]
    transcript.FILE.write_text("\n".join([transcript.HEAD, *parts]))


if __name__ == "__main__":
    main()
