"""Cuts a byte stream into server-sent events, whatever its chunks are (WHATWG HTML 9.2.6). Pure, within limits."""

from dataclasses import dataclass

MAX_BYTES = 1024 * 1024
"""Of an event over this no more is told than that it was there: it carries a picture, and the result will have it."""

FIELDS = frozenset({b"data", b"event", b"id"})


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it stood on the wire."""

    data: bytes
    event: str = ""
    id: str | None = None
    is_whole: bool = True
    """Else it was too large, and all of it is missing here."""


class Parser:
    """Feed it chunks. What is no event, like the error body of a stream that is cut, is skipped."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._line_bytes = 0
        self._fields: dict[bytes, list[bytes]] = {}
        self._kept_bytes = 0
        self._is_too_large = False
        self._ended_in_cr = False

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the events that are whole now."""
        if not chunk:
            return []
        if self._ended_in_cr:
            # The second half of a line's end.
            chunk = chunk.removeprefix(b"\n")
        frames = []
        for line in chunk.splitlines(keepends=True):
            text = line.rstrip(b"\r\n")
            self._grow(text)
            if len(text) < len(line) and (frame := self._end_line()) is not None:
                frames.append(frame)
        self._ended_in_cr = chunk.endswith(b"\r")
        return frames

    def _grow(self, text: bytes) -> None:
        self._line_bytes += len(text)
        if self._kept_bytes + self._line_bytes > self._max_bytes:
            self._is_too_large = True
        if self._is_too_large:
            self._line.clear()
            self._fields.clear()
        else:
            self._line += text

    def _end_line(self) -> Frame | None:
        line, is_empty = bytes(self._line), not self._line_bytes
        self._line.clear()
        self._line_bytes = 0
        if is_empty:
            return self._end_event()
        name, _, value = line.partition(b":")
        if name in FIELDS and not self._is_too_large:
            self._fields.setdefault(name, []).append(value.removeprefix(b" "))
            self._kept_bytes += len(line)
        return None

    def _end_event(self) -> Frame | None:
        fields, was_too_large = self._fields, self._is_too_large
        self._fields, self._kept_bytes, self._is_too_large = {}, 0, False
        if was_too_large:
            return Frame(b"", is_whole=False)
        data = fields.get(b"data")
        return None if data is None else Frame(b"\n".join(data), _last(fields, b"event") or "", _last(fields, b"id"))


def _last(fields: dict[bytes, list[bytes]], name: bytes) -> str | None:
    return fields[name][-1].decode(errors="replace") if name in fields else None
