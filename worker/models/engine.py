"""What the processes tell each other, beside the jobs."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from worker.models.columns import UtcDateTime


class Gate(SQLModel, table=True):
    """Whether creates may go to a target, or with the key at all, and when to try again: see `store.gates`."""

    target: str = Field(primary_key=True)
    reason: str | None = None
    paused: bool = False
    closed_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closings: int = 0


class Moment(SQLModel, table=True):
    """When something last happened, by name: the tickers' compare-and-set and the signs of life in `/readyz`."""

    name: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)


class Counter(SQLModel, table=True):
    """A metric summed over all processes; `labels` is a JSON object with sorted keys and bounded values."""

    name: str = Field(primary_key=True)
    labels: str = Field(primary_key=True)
    value: float


class Sealing(SQLModel, table=True):
    """The check value of the encryption key: with another key nothing starts."""

    name: str = Field(primary_key=True)
    sealed: bytes
