from typing import Any

import pytest

from api import page, report


def rendered(text: str, **more: object) -> str:
    return page.html(report.of({"output_text": text, **more}), "t").partition("<body>")[2]


def test_marks_stand_behind_what_they_prove_and_count_by_first_use() -> None:
    citations = [
        {"url": "https://b.example", "title": "B", "start_index": 4, "end_index": 7},
        {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 3},
    ]

    found = report.markdown(report.of({"output_text": "One two.", "citations": citations}))

    assert found.startswith("One[^2] two[^1].")


@pytest.mark.parametrize("end", [None, 0, -1, 99, "3"])
def test_a_source_without_a_place_is_listed_only(end: object) -> None:
    citations = [{"url": "https://a.example", "title": "A", "start_index": 0, "end_index": end}]

    found = report.markdown(report.of({"output_text": "One two.", "citations": citations}))

    assert found == "One two.\n\n[^1]: [A](https://a.example)\n"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "", None, "//a.example", "https://[bad", "http:", "gs://b/f.pdf"]
)
def test_a_source_that_is_no_web_address_is_named_and_not_linked(url: object) -> None:
    citations = [{"url": url, "title": "A", "start_index": 0, "end_index": 3}]
    found = report.of({"output_text": "One two.", "citations": citations})

    assert report.markdown(found) == "One[^1] two.\n\n[^1]: A\n"
    assert '<li id="source-1">A</li>' in page.html(found, "t")


def test_each_page_of_a_file_is_a_source_of_its_own() -> None:
    pages = [("gs://b/f.pdf", "f.pdf, page 1"), ("gs://b/f.pdf", "f.pdf, page 2"), (None, "f.pdf, page 1")]
    citations = [{"url": url, "title": title, "start_index": 0, "end_index": 3} for url, title in pages]

    found = report.markdown(report.of({"output_text": "One two.", "citations": citations}))

    assert found == "One[^1][^2] two.\n\n[^1]: f.pdf, page 1\n[^2]: f.pdf, page 2\n"


def test_a_source_without_a_name_is_left_out() -> None:
    citations = [{"url": None, "title": None, "start_index": 0, "end_index": 3}]

    assert report.markdown(report.of({"output_text": "One two.", "citations": citations})) == "One two.\n"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](java\nscript:alert(1))",
        "<a href='javascript:alert(1)'>x</a>",
        "![x](https://evil.example/p.png)",
        "![<script>alert(1)</script>](x)",
        "![&lt;img src=x onerror=alert(1)&gt;](x)",
        '[x](https://a.example "<img src=x onerror=alert(1)>")',
        "![x](//evil.example/p.png)",
        "![x](/v1/jobs/a/artifacts/0?next=//evil.example)",
        "<iframe src='https://evil.example'></iframe>",
        "<style>@import 'https://evil.example'</style>",
        "```html\n<script>alert(1)</script>\n```",
        '[x](https://a.example "" onclick=alert(1)")',
    ],
)
def test_nothing_hostile_survives(text: str) -> None:
    found = rendered(text).lower()

    assert not any(f"<{tag}" in found for tag in ("script", "style", "iframe"))
    assert 'href="javascript' not in found
    assert 'href="data' not in found
    assert "src=" not in found.replace("&lt;img src=x", "").replace("&lt;iframe src=", "")
    assert " onerror=" not in found.replace("x onerror=alert(1)&gt;", "")


def test_a_hostile_title_stays_text() -> None:
    citations = [{"url": "https://a.example", "title": "](javascript:x) <b>\n\n# A", "start_index": 0, "end_index": 3}]
    found = report.of({"output_text": "One.", "citations": citations})

    assert "[\\]\\(javascript:x\\) \\<b\\> \\# A](https://a.example)" in report.markdown(found)
    assert "&lt;b&gt;" in page.html(found, "t")


@pytest.mark.parametrize(
    ("text", "end", "marked"),
    [
        ("# A\n\nOne.\n\n# B", 11, "# A\n\nOne.[^1]\n\n# B"),
        ("See [a](https://a.example/x) now.", 20, "See [a](https://a.example/x)[^1] now."),
        ("See [a](https://a.example/x)", 28, "See [a](https://a.example/x)[^1]"),
        ("See <https://a.example/x> now.", 12, "See <https://a.example/x>[^1] now."),
        ("![i](artifact:0) x", 8, "![i](artifact:0)[^1] x"),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n", 30, "| a | b |\n|---|---|\n| 1 | 2[^1] |\n"),
        ("| a | b |\n|---|---|\n| 1 | |\n", 28, "| a | b |\n|---|---|\n| 1 |[^1] |\n"),
        ("See https://a.example/x now.", 12, "See https://a.example/x[^1] now."),
        ("a\n\n```py\nx = [1]\n```\n\nb", 12, "a\n\n```py\nx = [1]\n```\n\nb"),
        ("a\n\n```\nx\n```\n\nb", 12, "a\n\n```\nx\n```\n\nb"),
        ("[^1] is mine.", 13, "[^1] is mine.[^source-1]"),
        (" \n a", 2, " \n a"),
    ],
)
def test_a_reference_never_breaks_what_it_stands_in(text: str, end: int, marked: str) -> None:
    citations = [{"url": "https://s.example", "title": "S", "start_index": 0, "end_index": end}]

    found = report.markdown(report.of({"output_text": text, "citations": citations}))

    assert found.rpartition("\n\n[^")[0].strip() == marked.strip()
    assert found.endswith("1]: [S](https://s.example)\n")


IMAGE: dict[str, Any] = {
    "id": 0,
    "kind": "image",
    "mime_type": "image/png",
    "size": 1,
    "url": "/v1/jobs/job_a/artifacts/0",
}


def test_only_the_jobs_own_pictures_are_shown_and_others_leave_their_description() -> None:
    text = (
        "![mine](artifact:0) ![other](/v1/jobs/job_b/artifacts/0) ![tracker](https://evil.example/p.png)"
        " ![d](data:image/png;base64,AAAA) ![made up](artifact:7)"
    )

    found = rendered(text, artifacts=[IMAGE])

    assert found.count("<img") == 1
    assert '<img src="/v1/jobs/job_a/artifacts/0" alt="mine"> other tracker d made up' in found


def test_pictures_that_are_at_hand_are_carried_in_the_page() -> None:
    found = report.of({"output_text": "![mine](artifact:0)", "artifacts": [IMAGE]})

    text = page.html(found, "t", {IMAGE["url"]: "data:image/png;base64,QUJD"})

    assert '<img src="data:image/png;base64,QUJD" alt="mine">' in text


@pytest.mark.parametrize("text", ["# How owls hunt\n\nIn the dark.", "Preface.\n\n#  How owls hunt \n"])
def test_a_page_is_called_what_its_text_is_called(text: str) -> None:
    assert "<title>How owls hunt</title>" in page.html(report.of({"output_text": text}), "job_a")


DENSE = [
    "\n\n".join(["![" * 240] * 2000),
    "\n\n".join(["|a" * 90 + "\n" + "|-" * 90 + "\n" + "|a\n" * 300] * 20),
    "& " * 400_000,
    "\n\n".join([">" * 40 + "a"] * 20_000),
]


@pytest.mark.parametrize(
    "text", ["![[]()" * 100_000, "[" * 400_000, "x" * 2_000_000, "|a" * 9000 + "\n" + "|-" * 9000, *DENSE]
)
def test_a_text_that_would_take_minutes_to_render_is_shown_as_it_is(text: str) -> None:
    citations = [{"url": "https://s.example", "title": "S", "start_index": 0, "end_index": 5}]

    found = rendered(text, citations=citations)

    assert found.strip().startswith("<pre>")
    assert '<a href="#source-1"' in found


def test_many_citations_are_placed_quickly() -> None:
    citations = [{"url": f"https://s.example/{n % 7}", "title": "S", "end_index": 3 * n} for n in range(20_000)]

    found = report.markdown(report.of({"output_text": "ab " * 20_000, "citations": citations}))

    assert found.startswith("ab[^2] ab[^3] ab[^4]")


def test_the_signs_used_inside_cannot_come_from_outside() -> None:
    assert "<sup>" not in rendered("\ue0001\ue001 text")


def test_a_parsed_output_without_text_is_shown_as_json() -> None:
    assert (
        report.markdown(report.of({"output_text": None, "output_json": {"a": 1}})) == '```json\n{\n  "a": 1\n}\n```\n'
    )


def test_tables_and_code_are_rendered() -> None:
    found = rendered("| a | b |\n|---|---|\n| 1 | 2 |\n\n`code` ~~old~~")

    assert "<td>1</td>" in found
    assert "<code>code</code>" in found
    assert "<s>old</s>" in found
