"""How figures are printed: Markdown tables, a row as soon as it is known, each figure beside its bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tests.bench.machine import quantile

say = partial(print, flush=True)
NOTHING = "-"


@dataclass
class Report:
    """Prints tables, and counts the bars that were met and missed."""

    is_quick: bool = False
    """A quick run is too small to be judged: its figures are printed without a verdict."""
    met: int = 0
    missed: int = 0

    def table(self, title: str, *columns: str) -> None:
        """Begin a table."""
        say(f"\n**{title}**\n")
        self.row(*columns)
        self.row(*["---"] * len(columns))

    def row(self, *cells: str) -> None:
        """Print one row."""
        say(f"| {' | '.join(cells)} |")

    def note(self, text: str) -> None:
        """Print a line below a table."""
        say(f"\n{text}")

    def at_most(self, value: float, bar: float, digits: int = 1, unit: str = "") -> str:
        """The figure, its bar, and whether it was met."""
        return self._judged(value, f"≤ {bar:g}", digits, unit, is_met=value <= bar)

    def at_least(self, value: float, bar: float, digits: int = 1, unit: str = "") -> str:
        """The same for a figure that must not be smaller than its bar."""
        return self._judged(value, f"≥ {bar:g}", digits, unit, is_met=value >= bar)

    def holds(self, shown: str, *, is_met: bool) -> str:
        """What is there, and whether that is as it must be."""
        if self.is_quick:
            return shown
        self.met += is_met
        self.missed += not is_met
        return f"{shown} ({'ok' if is_met else '**MISSED**'})"

    def _judged(self, value: float, bar: str, digits: int, unit: str, *, is_met: bool) -> str:
        shown = f"{value:,.{digits}f}{unit}"
        if self.is_quick:
            return shown
        self.met += is_met
        self.missed += not is_met
        return f"{shown} ({bar}: {'ok' if is_met else '**MISSED**'})"

    def sum_up(self) -> None:
        """Print how many bars were met."""
        if self.met or self.missed:
            self.note(f"{self.met} bars met, {self.missed} missed.")


def share(values: Sequence[float], part: float, digits: int = 1) -> str:
    """One quantile of the values; a dash where there are none."""
    return f"{quantile(values, part):,.{digits}f}" if values else NOTHING


def pair(values: Sequence[float], digits: int = 1) -> str:
    """Median and 99th percentile."""
    return f"{share(values, 0.5, digits)} / {share(values, 0.99, digits)}"
