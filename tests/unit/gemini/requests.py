"""Requests as tests write them, and what is found wrong with them."""

from typing import Any

from worker.errors import Fault, Invalid
from worker.gemini.request import validate

MODEL: dict[str, Any] = {"model": "gemini-3.8-flash", "input": "hello"}
RESEARCH = {"agent": "deep-research-preview-04-2026", "input": "hello"}
ANTIGRAVITY = {"agent": "antigravity-preview-09-2026", "input": "hello", "environment": "remote"}


def faults_of(fields: dict[str, Any]) -> list[Fault]:
    try:
        validate(fields)
    except Invalid as invalid:
        return list(invalid.faults)
    return []


def pointers_of(fields: dict[str, Any]) -> list[str]:
    return [fault.pointer for fault in faults_of(fields)]
