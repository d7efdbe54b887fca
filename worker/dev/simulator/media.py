"""Small valid media, made with the standard library alone: a chart as PNG, a tone as WAV, a clip's header as MP4."""

import math
import struct
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from worker.dev.simulator.dice import Dice

_GOOGLE = "https://generativelanguage.googleapis.com"
_PALETTE = "fafaf7 282c34 426fa6 c4783e 5c9460 965c8c"
_INK, _FIRST_BAR, _BARS = 1, 2, 4
_WIDTH, _HEIGHT, _MARGIN = 240, 140, 12
_RATE_HZ = 8_000


def image(dice: Dice) -> dict[str, Any]:
    """Return an image content with a bar chart."""
    return {"type": "image", "mime_type": "image/png", "data": b64encode(chart(dice)).decode()}


def audio(dice: Dice) -> dict[str, Any]:
    """Return an audio content with a short tone."""
    data = b64encode(tone(220 + 20 * dice.between(0, 20))).decode()
    return {"type": "audio", "mime_type": "audio/wav", "data": data, "sample_rate": _RATE_HZ, "channels": 1}


def video(dice: Dice) -> dict[str, Any]:
    """Return a video content: an MP4 that holds no frame."""
    filler = dice.bits().to_bytes(8)
    boxes = _box(b"ftyp", b"isom\0\0\2\0isomiso2mp41") + _box(b"free", filler) + _box(b"mdat", b"")
    return {"type": "video", "mime_type": "video/mp4", "data": b64encode(boxes).decode()}


def by_uri(medium: str, name: str, seed: int) -> dict[str, Any]:
    """Return a content that names its bytes instead of carrying them; they are made when they are asked for."""
    content = MAKERS[medium](Dice(seed, f"{medium}-{name}"))
    del content["data"]
    return content | {"uri": f"{_GOOGLE}/v1beta/files/{medium}-{name}:download?alt=media"}


def made(name: str, seed: int) -> tuple[str, bytes] | None:
    """Return MIME type and bytes of a file that a run made; None for any other name."""
    maker = MAKERS.get(name.partition("-")[0])
    if maker is None:
        return None
    content = maker(Dice(seed, name))
    return content["mime_type"], b64decode(content["data"])


def chart(dice: Dice) -> bytes:
    """Return a bar chart as PNG, one byte for each pixel."""
    rows = [bytearray(_WIDTH) for _ in range(_HEIGHT)]
    floor = _HEIGHT - _MARGIN
    count = dice.between(4, 7)
    step = (_WIDTH - 2 * _MARGIN) // count
    for bar in range(count):
        height, left = dice.between(20, floor - _MARGIN), _MARGIN + bar * step + step // 4
        for row in rows[floor - height : floor]:
            row[left : left + step // 2] = bytes([_FIRST_BAR + bar % _BARS]) * (step // 2)
    for row in rows[_MARGIN:floor]:
        row[_MARGIN] = _INK
    rows[floor][_MARGIN : _WIDTH - _MARGIN] = bytes([_INK]) * (_WIDTH - 2 * _MARGIN)
    return _png(rows)


def tone(hertz: float, seconds: float = 0.25) -> bytes:
    """Return a sine tone as WAV, mono, 16 bit."""
    count = int(_RATE_HZ * seconds)
    samples = [int(9_000 * math.sin(2 * math.pi * hertz * i / _RATE_HZ)) for i in range(count)]
    data = struct.pack(f"<{count}h", *samples)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _RATE_HZ, _RATE_HZ * 2, 2, 16)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _png(rows: list[bytearray]) -> bytes:
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    chunks = (b"IHDR", header), (b"PLTE", bytes.fromhex(_PALETTE)), (b"IDAT", pixels), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + kind + data


MAKERS: dict[str, Callable[[Dice], dict[str, Any]]] = {"image": image, "audio": audio, "video": video}
"""What makes a medium."""
