"""Who is served next: one project after the other, so that nobody waits behind all that another project wants."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Rota(Generic[T]):
    """What waits, of each project in the order in which it came."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}
        """In the order of their turns."""

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._lines)

    def add(self, project_id: str, item: T) -> None:
        """Let it wait behind all else of its project, whose turn comes last if nothing of it waited."""
        self._lines.setdefault(project_id, deque()).append(item)

    def oldest(self, project_id: str) -> T | None:
        """What of this project has waited longest; None where nothing waits."""
        line = self._lines.get(project_id)
        return line[0] if line else None

    def next(self) -> T:
        """What is to be served next; raises StopIteration where nothing waits."""
        return next(iter(self._lines.values()))[0]

    def take(self) -> T:
        """The same, which waits no longer: then it is the turn of the other projects."""
        project_id = next(iter(self._lines))
        line = self._lines.pop(project_id)
        item = line.popleft()
        if line:
            self._lines[project_id] = line
        return item
