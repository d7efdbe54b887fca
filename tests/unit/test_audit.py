from typing import Any

from tests.audit import told

CLEAN: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
FLAWED: dict[str, Any] = {
    "name": "b",
    "version": "2",
    "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}, {"id": "CVE-2", "fix_versions": []}],
}
UNKNOWN: dict[str, Any] = {"name": "c", "skip_reason": "could not be audited"}


def test_flaws_are_told_with_what_mends_them_and_the_unknown_is_not_called_clean() -> None:
    bad, unknown = told([CLEAN, FLAWED, UNKNOWN])

    assert bad == ["b 2: CVE-1, mended in 2.1", "b 2: CVE-2, mended in no version"]
    assert unknown == ["c"]
