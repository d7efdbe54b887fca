"""How the two programs are started."""

import sys
from pathlib import Path

from tests.door.transcript import Program
from tests.js import node


def python() -> Program:
    """With the interpreter of this process."""
    folder = Path(__file__).parent
    return Program("Python", [sys.executable, "program.py"], folder)


def javascript() -> Program:
    """With the Node.js that is there; raises NoNodeError."""
    node.check_installed()
    return Program("JavaScript", [node.command("node"), "program.mjs"], node.FOLDER)
