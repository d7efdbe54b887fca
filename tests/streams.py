"""A client of event streams: reads one in a thread of its own, and tells its events apart."""

import threading
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson


@dataclass(frozen=True)
class Told:
    """One event as a browser would give it: `last_id` is what it would resume after."""

    name: str
    data: Any
    last_id: str
    has_own_id: bool


class Follower:
    """A stream being read."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.lines: list[str] = []
        self.thread = threading.Thread(target=self._read, args=(answer,))
        self.thread.start()

    def _read(self, answer: httpx2.Response) -> None:
        try:
            for line in answer.iter_lines():
                self.lines.append(line)
        except (httpx2.HTTPError, httpx2.StreamError):
            self.lines.append(":: cut off")

    def field(self, name: str) -> list[str]:
        return [line.partition(": ")[2] for line in list(self.lines) if line.startswith(f"{name}: ")]

    @property
    def has_ended(self) -> bool:
        return not self.thread.is_alive()

    @property
    def told(self) -> list[Told]:
        """Every event that has come in whole."""
        found, last_id = list[Told](), ""
        for block in "\n".join([*self.lines, ""]).split("\n\n")[:-1]:
            fields = [line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":")]
            own = [value for name, value in fields if name == "id"]
            last_id = own[-1] if own else last_id
            data = "\n".join(value for name, value in fields if name == "data")
            if data:
                found.append(Told(dict(fields)["event"], orjson.loads(data), last_id, bool(own)))
        return found

    @property
    def stored(self) -> list[str]:
        """The types of the stored events."""
        return [one.name for one in self.told if one.name.startswith("job.")]

    @property
    def live(self) -> list[Told]:
        """The upstream's events."""
        return [one for one in self.told if one.name.startswith("step.")]

    @property
    def resets(self) -> list[Told]:
        """The events that replace everything live before them."""
        return [one for one in self.told if one.name == "reset"]

    @property
    def text(self) -> str:
        """The output as a client shows it: what the last reset told, and the deltas since."""
        shown = ""
        for one in self.told:
            if one.name == "reset":
                shown = text_of(one.data["steps"])
            elif one.name == "step.delta" and one.data["delta"]["type"] == "text":
                shown += one.data["delta"]["text"]
        return shown


def text_of(steps: list[dict[str, Any]]) -> str:
    """All text of the model's own among steps."""
    contents = [content for step in steps if step["type"] == "model_output" for content in step.get("content", ())]
    return "".join(content["text"] for content in contents if content["type"] == "text")
