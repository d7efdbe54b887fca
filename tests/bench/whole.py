"""The whole: many jobs of a minute at once, from their POSTs to their webhooks, beside the plain programs."""

from dataclasses import dataclass

from tests.bench import race
from tests.bench.entrants import COUNTDOWN, FLOOR, LOOP_PREFORK, LOOP_THREADS, OURS, Entrant
from tests.bench.ground import POSTGRESQL, Ground
from tests.bench.race import Course, Finish, Used
from tests.bench.table import NOTHING, Report, pair, share

COLUMNS = (
    "program",
    "database",
    "all done s",
    "create p50 / p99 s",
    "detected p50 / p99 s",
    "webhook p99 s",
    "CPU s (API + worker, of it boot)",
    "PSS MiB (API + worker)",
    "GETs a job",
    "creates, webhooks twice",
    "CPU s of database and Redis",
)
PEER_LIMIT_S = 200.0


@dataclass(frozen=True, slots=True)
class Bars:
    """What Nightdesk must reach; None where nothing is asked."""

    done_s: float
    cpu_s: float
    detect_p50_s: float
    detect_p99_s: float
    webhook_p99_s: float | None = None
    pss_mib: float | None = None


SMALL = Bars(done_s=95, cpu_s=45, detect_p50_s=5, detect_p99_s=10.5, webhook_p99_s=11, pss_mib=300)
LARGE = Bars(done_s=180, cpu_s=200, detect_p50_s=5.5, detect_p99_s=12)


def small(ground: Ground) -> None:
    """2,000 jobs of 60 s; the plain programs on one database only, for they take their full time."""
    course = Course(100, 5, 40) if ground.is_quick else Course(2_000, 60, 300)
    _table(ground, course)
    for kind in ground.databases:
        _run(ground, OURS, course, kind, SMALL)
    limited = Course(course.jobs, course.duration_s, 20 if ground.is_quick else PEER_LIMIT_S)
    _run(ground, FLOOR, limited, "")
    for entrant in (COUNTDOWN, LOOP_THREADS, LOOP_PREFORK):
        _run(ground, entrant, limited, ground.main)


def large(ground: Ground) -> None:
    """10,000 jobs of 60 s on PostgreSQL."""
    course = Course(300, 5, 40) if ground.is_quick else Course(10_000, 60, 420)
    kind = POSTGRESQL if POSTGRESQL in ground.databases else ground.main
    _table(ground, course)
    _run(ground, OURS, course, kind, LARGE)
    limited = Course(course.jobs, course.duration_s, 20 if ground.is_quick else PEER_LIMIT_S)
    _run(ground, FLOOR, limited, "")
    _run(ground, COUNTDOWN, limited, kind)


def _table(ground: Ground, course: Course) -> None:
    ground.report.table(f"The whole: {course.jobs:,} jobs of {course.duration_s:g} s", *COLUMNS)


def _run(ground: Ground, entrant: Entrant, course: Course, kind: str, bars: Bars | None = None) -> None:
    with ground.site(kind) as site:
        finish = race.run(entrant, course, site, ground.server)
    told = _judged(ground.report, finish, bars) if bars else _plain(finish)
    ground.report.row(entrant.name, kind or NOTHING, *told, *_rest(finish))


def _plain(finish: Finish) -> list[str]:
    used = finish.used
    is_done = finish.done == finish.course.jobs
    return [
        f"{finish.took_s:.1f}" if is_done else f"{finish.done:,} done in {finish.course.limit_s:g}",
        pair(finish.create_s),
        pair(finish.detect_s),
        share(finish.webhook_s, 0.99),
        f"{used.cpu_s:.1f} ({_split(used)})",
        f"{used.mib:.0f} ({used.api_mib:.0f} + {used.worker_mib:.0f})",
    ]


def _judged(report: Report, finish: Finish, bars: Bars) -> list[str]:
    told, used = _plain(finish), finish.used
    if finish.done < finish.course.jobs:
        report.missed += not report.is_quick
        return [f"{told[0]} **MISSED**", *told[1:]]
    p50_s, p99_s = (float(share(finish.detect_s, part, 3)) for part in (0.5, 0.99))
    told[0] = report.at_most(finish.took_s, bars.done_s)
    told[2] = f"{report.at_most(p50_s, bars.detect_p50_s)} / {report.at_most(p99_s, bars.detect_p99_s)}"
    told[4] = f"{report.at_most(used.cpu_s, bars.cpu_s)} ({_split(used)})"
    if bars.webhook_p99_s is not None:
        told[3] = report.at_most(float(share(finish.webhook_s, 0.99, 3)), bars.webhook_p99_s)
    if bars.pss_mib is not None:
        told[5] = f"{report.at_most(used.mib, bars.pss_mib, 0)} ({used.api_mib:.0f} + {used.worker_mib:.0f})"
    return told


def _split(used: Used) -> str:
    return f"{used.api_s:.1f} + {used.worker_s:.1f}, {used.boot_s:.1f}"


def _rest(finish: Finish) -> list[str]:
    doubled = finish.created - finish.course.jobs
    return [
        f"{finish.gets / max(1, finish.created):.1f}",
        f"{max(0, doubled)}, {finish.twice}",
        f"{finish.used.stores_s:.1f}",
    ]
