import pytest
from pydantic import SecretStr

from worker.errors import SettingsError
from worker.vault import Vault

OLD, NEW = "the key of last year", "the key of this year"
DOCUMENT = b'{"input": "What is left of the moa?"}'


def vault(*keys: str) -> Vault:
    return Vault(SecretStr(",".join(keys)))


def test_what_is_sealed_is_opened_and_is_not_to_be_read_or_changed() -> None:
    sealed, wrapped = vault(OLD).seal("whsec_a"), vault(OLD).wrap(DOCUMENT)

    assert vault(OLD).open(sealed) == "whsec_a"
    assert vault(OLD).unwrap(wrapped) == DOCUMENT
    assert b"left of the moa" not in wrapped
    assert wrapped != vault(OLD).wrap(DOCUMENT)
    with pytest.raises(SettingsError):
        vault(OLD).unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]))


def test_another_key_opens_nothing() -> None:
    with pytest.raises(SettingsError, match="is not the key"):
        vault(NEW).open(vault(OLD).seal("a"))
    with pytest.raises(SettingsError, match="is not the key"):
        vault(NEW).unwrap(vault(OLD).wrap(b"a"))


def test_the_first_of_several_keys_seals_and_each_opens() -> None:
    both = vault(NEW, OLD)

    assert both.open(vault(OLD).seal("a")) == "a"
    assert both.unwrap(vault(OLD).wrap(b"a")) == b"a"
    assert vault(NEW).open(both.seal("b")) == "b"
    assert vault(NEW).unwrap(both.wrap(b"b")) == b"b"
    assert vault(NEW).open(both.reseal(vault(OLD).seal("c"))) == "c"


def test_a_key_of_a_time_when_commas_meant_nothing_still_opens() -> None:
    for key in ("a key, of no value", f"{OLD},{NEW}"):
        alone = Vault(SecretStr(key))

        assert Vault(SecretStr(f"{key}")).open(alone.seal("a")) == "a"


def test_plain_json_of_a_release_that_sealed_none_is_read_as_it_is() -> None:
    assert vault(NEW).unwrap(DOCUMENT) == DOCUMENT


@pytest.mark.parametrize("key", ["", "too short", "fifteen letters"])
def test_a_short_key_is_refused(key: str) -> None:
    with pytest.raises(SettingsError, match="16 characters"):
        Vault(SecretStr(key))
