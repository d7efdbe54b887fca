"""Secrets in rotation: each signs along for its whole day, however often it goes on."""

from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from worker.flow import rotation
from worker.vault import Vault

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
VAULT = Vault(SecretStr("a key of the tests"))


class Rotated:
    """A secret and its predecessors, as a row has them."""

    def __init__(self) -> None:
        self.secret = VAULT.seal("whsec_0")
        self.old: bytes | None = None
        self.until: datetime | None = None
        self.count = 0

    def rotate(self, at: datetime) -> None:
        self.count += 1
        self.old, self.until = rotation.retire(VAULT, self.secret, self.old, self.until, at)
        self.secret = VAULT.seal(f"whsec_{self.count}")

    def live(self, at: datetime) -> list[int]:
        found = rotation.live(VAULT, self.secret, self.old, self.until, at)
        return [int(secret.removeprefix("whsec_")) for secret in found]


def test_the_old_one_signs_along_for_a_day() -> None:
    row = Rotated()
    assert row.live(NOW) == [0]

    row.rotate(NOW)

    assert row.live(NOW) == row.live(NOW + 24 * HOUR - timedelta(seconds=1)) == [1, 0]
    assert row.live(NOW + 24 * HOUR) == [1]


def test_one_that_is_replaced_again_within_the_day_loses_nothing_of_it() -> None:
    row = Rotated()

    row.rotate(NOW)
    row.rotate(NOW + HOUR)
    row.rotate(NOW + 2 * HOUR)

    assert row.live(NOW + 3 * HOUR) == [3, 2, 1, 0]
    assert row.live(NOW + 24 * HOUR) == [3, 2, 1]
    assert row.live(NOW + 26 * HOUR) == [3]


def test_so_many_sign_along_at_most() -> None:
    row = Rotated()

    for _ in range(20):
        row.rotate(NOW)

    assert row.live(NOW) == [20, 19, 18, 17, 16]


def test_none_that_has_ended_is_kept() -> None:
    row = Rotated()

    row.rotate(NOW)
    row.rotate(NOW + 25 * HOUR)

    assert row.live(NOW + 25 * HOUR) == [2, 1]
    assert VAULT.open(row.old or b"") == "whsec_1"
