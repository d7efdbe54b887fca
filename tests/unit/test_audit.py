import json
from pathlib import Path
from typing import Any

import pytest

from tests import audit
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


@pytest.mark.parametrize(
    ("answer", "code", "lenient_code"),
    [
        ({"dependencies": [CLEAN]}, 0, 0),
        ({"dependencies": [CLEAN, UNKNOWN]}, 2, 0),
        ({"dependencies": [FLAWED, UNKNOWN]}, 1, 1),
        ("no such index", 2, 0),
    ],
)
def test_what_is_unknown_fails_where_one_asks_for_it_and_no_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, code: int, lenient_code: int
) -> None:
    tool = tmp_path / "uv"
    said = answer if isinstance(answer, str) else json.dumps(answer)
    tool.write_text(f"#!/bin/sh\necho '{said}'\n")
    tool.chmod(0o755)
    monkeypatch.setattr(audit, "find_uv_bin", lambda: str(tool))

    assert audit.main([]) == code
    assert audit.main(["--where-possible"]) == lenient_code
