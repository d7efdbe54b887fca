"""`/metrics` in the Prometheus text format: the counters of all processes, and gauges of the present.

Labels are bounded: no ids, and targets only as far as the catalog knows them.
"""

import json
from collections import Counter as Sum
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlmodel import Session

from worker import telemetry
from worker.context import Context
from worker.errors import NightdeskError
from worker.flow import counting
from worker.models import Counter
from worker.store import counters, gates, moments, stats
from worker.store.stats import Tally

MEDIA_TYPE = CONTENT_TYPE_LATEST
PREFIX = "nightdesk_"
OTHER = "other"
PARTS = ("_bucket", "_sum", "_count")


def flush(context: Context) -> None:
    """Add what this process has counted to everybody's counters, now or, where that fails, with the next."""
    with suppress(NightdeskError):
        counting.flush(context)


def text(session: Session, tallies: Iterable[Tally], *, known: Collection[str], now: datetime) -> bytes:
    """Everything at this moment; the tallies are given, because they are dear. Targets not `known` count as one."""
    jobs, shut = _jobs(tallies, known), _gates(session, known, now)
    metrics = [jobs, shut, *_gauges(session, now), *_counters(counters.all_counters(session))]
    return bytes(generate_latest(_Once(metrics)))


@dataclass(frozen=True, slots=True)
class _Once:
    """What prometheus_client asks a registry for."""

    metrics: list[Metric]

    def collect(self) -> Iterator[Metric]:
        return iter(self.metrics)


def _jobs(tallies: Iterable[Tally], known: Collection[str]) -> Metric:
    metric = Metric(PREFIX + "jobs", "Jobs by status and target", "gauge")
    sums: Sum[tuple[str, str, str]] = Sum()
    for tally in tallies:
        sums[tally.status, tally.kind, tally.target if tally.target in known else OTHER] += tally.jobs
    for (status, kind, target), number in sorted(sums.items()):
        metric.add_sample(metric.name, {"status": status, "kind": kind, "target": target}, number)
    return metric


def _gates(session: Session, known: Collection[str], now: datetime) -> Metric:
    metric = Metric(PREFIX + "gate_closed", "Whether creates to a target are held back (* is the key)", "gauge")
    closed: dict[str, bool] = {}
    for gate in gates.all_gates(session):
        target = gate.target if gate.target in {gates.KEY, gates.POLL, *known} else OTHER
        closed[target] = closed.get(target, False) or gates.is_shut(gate, now) or gate.reason is not None
    for target, is_closed in closed.items():
        metric.add_sample(metric.name, {"target": target}, float(is_closed))
    return metric


def _gauges(session: Session, now: datetime) -> list[Metric]:
    load = stats.load(session, now)
    seen = moments.all_moments(session)
    found: list[tuple[str, str, float | None]] = [
        ("oldest_wait_seconds", "Age of the oldest queued job", _age(load.oldest_queued_at, now) or 0),
        ("in_flight", "Jobs that may have an interaction alive upstream", load.in_flight),
        ("due", "Running jobs whose interaction is due to be asked", load.due),
        ("poll_lag_seconds", "How late the most overdue of them is", _age(load.oldest_due_at, now) or 0),
        ("delivery_backlog", "Webhook deliveries that are not done", load.deliveries),
        ("delivery_oldest_seconds", "Age of the oldest of them", _age(load.oldest_delivery_at, now) or 0),
        ("sweep_age_seconds", "Time since the last sweep", _age(seen.get(moments.SWEEP), now)),
        ("consumed_age_seconds", "Time since a worker last took a message", _age(seen.get(moments.CONSUMED), now)),
        ("upstream_age_seconds", "Time since the upstream last answered well", _age(seen.get(moments.UPSTREAM), now)),
    ]
    return [_gauge(name, about, value) for name, about, value in found if value is not None]


def _gauge(name: str, about: str, value: float) -> Metric:
    metric = Metric(PREFIX + name, about, "gauge")
    metric.add_sample(metric.name, {}, value)
    return metric


def _age(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else max(0.0, (now - at).total_seconds())


def _counters(rows: Iterable[Counter]) -> list[Metric]:
    """Counters by family; what was observed becomes a histogram with all its buckets."""
    families: defaultdict[str, list[Counter]] = defaultdict(list)
    histograms: defaultdict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        part = next((part for part in PARTS if row.name.endswith(part)), None)
        if part is None:
            families[row.name.removesuffix("_total")].append(row)
            continue
        labels = json.loads(row.labels)
        bound = labels.pop("le", "")
        histograms[row.name.removesuffix(part)][json.dumps(labels, sort_keys=True)][part + bound] = row.value
    return [
        *(_counter(name, found) for name, found in families.items()),
        *(_histogram(*one) for one in histograms.items()),
    ]


def _counter(name: str, rows: Iterable[Counter]) -> Metric:
    metric = Metric(name, _about(name), "counter")
    for row in rows:
        metric.add_sample(f"{name}_total", json.loads(row.labels), row.value)
    return metric


def _histogram(name: str, series: dict[str, dict[str, float]]) -> Metric:
    metric = Metric(name, _about(name), "histogram")
    for labels_text, parts in series.items():
        labels = json.loads(labels_text)
        for bound in telemetry.BOUNDS:
            metric.add_sample(f"{name}_bucket", {**labels, "le": bound}, parts.get(f"_bucket{bound}", 0.0))
        metric.add_sample(f"{name}_count", labels, parts.get("_count", 0.0))
        metric.add_sample(f"{name}_sum", labels, parts.get("_sum", 0.0))
    return metric


def _about(name: str) -> str:
    return name.removeprefix(PREFIX).replace("_", " ").capitalize()
