"""The upstream events of one interaction as this process has seen them: the latest as they came, all as steps.

Within limits, and shared by everybody who watches: a reader keeps its place in it and nothing else.
"""

from dataclasses import dataclass, field
from urllib.parse import quote

import orjson

from worker.gemini.steps import Steps
from worker.gemini.stream import LEFT_OUT, StreamEvent

MAX_BYTES = 512 * 1024
MAX_IDS = 10_000
OVERHEAD_BYTES = 300
ID_MAX = 200
ID_SAFE = "!#$&'()*+,-./:;<=>?@[]^_`{|}~"


@dataclass(frozen=True, slots=True)
class Piece:
    """One upstream event; its id, where it has one, goes into a line of a stream and a header as it is.

    Without any data it stands for one that was too large: whoever has to tell everything cannot go on after it.
    """

    id: str | None
    type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reset:
    """Instead of all pieces so far: the JSON of the steps that they tell, and the last piece's id."""

    id: str | None
    steps: bytes = field(repr=False)
    is_truncated: bool
    """Whether the oldest steps are missing: there were too many."""


class History:
    """Pieces are numbered from 0 within an epoch; a new epoch begins where the numbers cannot go on."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self.epoch = 0
        self._begin()

    def _begin(self) -> None:
        self._pieces: list[Piece] = []
        self._first = 0
        self._bytes = 0
        self._places: dict[str, int] = {}
        self._steps = Steps()
        self._reset: Reset | None = None
        self.is_named = True
        self.last_event_id: str | None = None

    @property
    def end(self) -> int:
        """The number of the next piece."""
        return self._first + len(self._pieces)

    @property
    def has_steps(self) -> bool:
        """Whether there is anything to be shown."""
        return self._steps.has_begun

    def add(self, event: StreamEvent) -> bool:
        """Append an event; false where it was told before."""
        name = wire_id(event.id)
        if name is not None and name in self._places:
            return False
        self._steps.add(event.value, len(event.data))
        self._reset = None
        self._pieces.append(Piece(name, event.type, event.data))
        # What was left out may have had an id, and is passed over when it is told again.
        if event is not LEFT_OUT:
            self._name(name)
            self.last_event_id = None if name is None else event.id
        self._bytes += len(event.data) + OVERHEAD_BYTES
        self._trim()
        return True

    def restart(self) -> None:
        """Forget everything: all of it is going to be told again, and nothing tells old from new."""
        self._begin()
        self.epoch += 1

    def place_after(self, name: str) -> int | None:
        """The number after the piece of this id."""
        place = self._places.get(name)
        return None if place is None else place + 1

    def has(self, place: int) -> bool:
        """Whether the pieces from this number on are still there."""
        return self._first <= place <= self.end

    def since(self, place: int, max_bytes: int) -> list[Piece]:
        """The pieces from this number on, those that fit but at least one; the number must be there."""
        found: list[Piece] = []
        for piece in self._pieces[place - self._first :]:
            max_bytes -= len(piece.data)
            if found and max_bytes < 0:
                break
            found.append(piece)
        return found

    def reset(self) -> Reset:
        """All steps so far; made once for everybody who asks before the next event."""
        if self._reset is None:
            try:
                steps, is_truncated = orjson.dumps(self._steps.tell()), self._steps.is_truncated
            except orjson.JSONEncodeError:
                # JSON may be read deeper than it may be written.
                steps, is_truncated = b"[]", True
            self._reset = Reset(self._pieces[-1].id if self._pieces else None, steps, is_truncated)
        return self._reset

    def _name(self, name: str | None) -> None:
        if name is None:
            self.is_named = False
            return
        self._places[name] = self.end - 1
        if len(self._places) > MAX_IDS:
            del self._places[next(iter(self._places))]
            self.is_named = False

    def _trim(self) -> None:
        dropped = 0
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._pieces[dropped].data) + OVERHEAD_BYTES
            dropped += 1
        if dropped:
            del self._pieces[:dropped]
            self._first += dropped


def wire_id(event_id: str | None) -> str | None:
    """An upstream id as a line of a stream and a header take it: printable ASCII, the rest in percent encoding."""
    name = quote(event_id, safe=ID_SAFE, errors="replace") if event_id else ""
    return name if 0 < len(name) <= ID_MAX else None
