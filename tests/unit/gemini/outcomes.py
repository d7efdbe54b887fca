"""Interactions that have ended, as tests write them, and what is read of them."""

from base64 import b64encode
from typing import Any

import orjson

from worker.gemini.result import Outcome, read_outcome

MAX = 1_000_000
PIXEL = bytes(range(256))
DATA = b64encode(PIXEL).decode()
Json = dict[str, Any]


def read(body: Any, *, max_bytes: int = MAX, wants_json: bool = False) -> Outcome:
    return read_outcome(orjson.dumps(body), max_bytes=max_bytes, wants_json=wants_json)


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def says(*contents: Any, **more: Any) -> Json:
    return {"type": "model_output", "content": list(contents), **more}


def picture(**more: Any) -> Json:
    return {"type": "image", "mime_type": "image/png", "data": DATA, **more}


def call(name: str, **more: Any) -> Json:
    return {"type": "function_call", "id": name, "name": "f", "arguments": {}, **more}
