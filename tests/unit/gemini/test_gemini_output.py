from typing import Any

import pytest

from tests.unit.gemini.outcomes import says
from worker.gemini.citations import Citation
from worker.gemini.output import final_steps, write_output

Step = dict[str, Any]


def text(words: str, *annotations: Step) -> Step:
    return {"type": "text", "text": words, "annotations": list(annotations)}


def image(number: int) -> Step:
    return {"type": "image", "mime_type": "image/png", "artifact": number}


def cites(url: str, start: Any = None, end: Any = None, **more: Any) -> Step:
    span = {name: value for name, value in (("start_index", start), ("end_index", end)) if value is not None}
    return {"type": "url_citation", "url": url, **span, **more}


USER: Step = {"type": "user_input", "content": [text("question")]}
THOUGHT: Step = {"type": "thought", "summary": [text("hm")]}
SEARCH: Step = {"type": "google_search_call", "id": "1"}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], ""),
        ([says(text("a"), text("b"))], "ab"),
        ([says(text("a")), THOUGHT, says(text("b"))], "ab"),
        ([says(text("a")), SEARCH, says(text("b"))], "a\n\nb"),
        ([SEARCH, says(text("a"))], "a"),
        ([says(text("a"), image(0), text("b"))], "a\n\n![image](artifact:0)\n\nb"),
        ([says(text("a\n"), image(0), text("\nb"))], "a\n\n![image](artifact:0)\n\nb"),
        ([says(text("a\n\n"), image(0), text("\n\n\nb"))], "a\n\n![image](artifact:0)\n\n\nb"),
        ([says(image(0), text("a"), image(1))], "![image](artifact:0)\n\na\n\n![image](artifact:1)"),
        ([says(text("a"), image(0), image(1))], "a\n\n![image](artifact:0)\n\n![image](artifact:1)"),
        ([says(text("a"), {"type": "audio", "artifact": 3})], "a\n\n[audio](artifact:3)"),
        ([says(text("a"), {"type": "image", "uri": "https://x.example/i.png"})], "a\n\n[image](https://x.example/i.png)"),
        ([says(text("a"), {"type": "image", "uri": "javascript:alert(1)"}, text("b"))], "a\n\nb"),
        ([says(image(0))], ""),
        ([says(text(""), image(0))], ""),
        ([USER, says(text("old")), USER, says(text("new"))], "new"),
        ([says(text("old")), USER], ""),
        ([{"type": "hologram", "content": [text("a")]}, says(text("b"))], "b"),
        ([says({"type": ["text"], "text": "a"}, {"type": "text", "text": 5}, "a", None, text("b"))], "b"),
        ([{"type": "model_output", "content": "a"}, {"type": "model_output"}], ""),
    ],
)  # fmt: skip
def test_all_text_after_the_last_question_becomes_one(steps: list[Step], expected: str) -> None:
    assert write_output(final_steps(steps)).text == expected


@pytest.mark.parametrize(
    ("words", "start", "end", "cited"),
    [
        ("plain text", 0, 5, "plain"),
        ("größe zählt", 0, 7, "größe"),
        ("größe zählt", 8, 14, "zählt"),
        ("😀 smile", 0, 4, "😀"),
        ("😀 smile", 5, 10, "smile"),
        ("日本語", 3, 6, "本"),
        ("😀😀", 1, 6, "😀"),
        ("abc", None, 2, "ab"),
        ("abc", 1, None, "bc"),
        ("abc", None, None, "abc"),
        ("abc", "1", "3", "bc"),
        ("abc", 1.0, 2.9, "b"),
        ("abc", -5, 99, "abc"),
        ("abc", 3, 1, ""),
        ("abc", 99, 100, ""),
        ("abc", True, [], "abc"),
        ("abc", float("inf"), "x", "abc"),
    ],
)
def test_a_citation_counts_characters(words: str, start: Any, end: Any, cited: str) -> None:
    output = write_output([says(text("vorspann é "), text(words, cites("u", start, end)))])

    [citation] = output.citations
    assert output.text[citation.start_index : citation.end_index] == cited
    assert 0 <= citation.start_index <= citation.end_index <= len(output.text)


def test_citations_are_in_the_order_of_the_text_and_each_once() -> None:
    first = text("é one", cites("b", 3, 6, title="B"), cites("a", 0, 2), cites("b", 3, 6, title="B"))
    second = text("two", cites("c", 0, 3, title=5), cites("a", 0, 2))

    output = write_output([says(first, image(0), second)])

    assert output.citations == (
        Citation("a", None, 0, 1),
        Citation("b", "B", 2, 5),
        Citation("a", None, 29, 31),
        Citation("c", None, 29, 32),
    )
    assert [output.text[c.start_index : c.end_index] for c in output.citations] == ["é", "one", "tw", "two"]


FILE: Step = {"type": "file_citation", "start_index": 0, "end_index": 1}
PLACE: Step = {"type": "place_citation", "start_index": 0, "end_index": 1}


@pytest.mark.parametrize(
    ("annotation", "url", "title"),
    [
        (FILE | {"document_uri": "gs://b/r.pdf", "file_name": "r.pdf"}, "gs://b/r.pdf", "r.pdf"),
        (FILE | {"file_name": "r.pdf", "page_number": 7}, None, "r.pdf, page 7"),
        (FILE | {"source": "handbook", "page_number": True}, None, "handbook"),
        (FILE | {"document_uri": "gs://b/r.pdf", "file_name": 5, "page_number": 3}, "gs://b/r.pdf", None),
        (PLACE | {"url": "https://maps.example/1", "name": "Café"}, "https://maps.example/1", "Café"),
        (PLACE | {"place_id": "places/x", "name": ""}, None, "places/x"),
        (cites("https://a.example", 0, 1), "https://a.example", None),
        (cites("", 0, 1, title="A"), None, "A"),
    ],
)
def test_web_pages_files_and_places_are_cited(annotation: Step, url: str | None, title: str | None) -> None:
    assert write_output([says(text("abc", annotation))]).citations == (Citation(url, title, 0, 1),)


def test_what_names_no_source_is_left_out() -> None:
    others = [
        FILE,
        PLACE,
        cites("x") | {"url": 5},
        {"type": "url_citation"},
        {"type": "word_info", "url": "x"},
        "x",
        None,
    ]

    assert write_output([says({"type": "text", "text": "a", "annotations": others})]).citations == ()
    assert write_output([says({"type": "text", "text": "a", "annotations": "x"})]).citations == ()


def test_steps_between_texts_move_no_citation() -> None:
    """A report as Deep Research writes it: several outputs, images between them, thoughts and tool calls, too."""
    steps = [
        THOUGHT,
        says(
            text("# 日本 ✈️\n\né\u0301 one", cites("a", 17, 21)), image(0), text("two 👩‍👩‍👧 three", cites("b", 4, 22))
        ),
        SEARCH,
        THOUGHT,
        says(image(1), text("fünf", cites("c", 0, 5))),
        {"type": "hologram", "content": [text("unseen")]},
        says(text("six", cites("a", 0, 3)), image(2)),
    ]

    output = write_output(final_steps(steps))

    assert output.text == (
        "# 日本 ✈️\n\né\u0301 one\n\n![image](artifact:0)\n\ntwo 👩‍👩‍👧 three\n\n![image](artifact:1)\n\nfünf\n\nsix"
        "\n\n![image](artifact:2)"
    )
    cited = [(c.url, output.text[c.start_index : c.end_index]) for c in output.citations]
    assert cited == [("a", "é\u0301"), ("b", "👩‍👩‍👧"), ("c", "fünf"), ("a", "six")]
    assert output.runs == ("# 日本 ✈️\n\né\u0301 one", "two 👩‍👩‍👧 three", "fünf", "six")


def test_many_citations_in_a_long_text_are_counted_quickly() -> None:
    words = "größe 😀 " * 100_000
    spans = [cites(f"u{n}", n * 500, n * 500 + 7) for n in range(2_000)]

    output = write_output([says(text(words, *spans))])

    assert len(output.citations) == 2_000


def test_runs_are_the_texts_between_interruptions() -> None:
    output = write_output([says(text("a"), text("b"), image(0), text("c")), SEARCH, says(text("d"))])

    assert output.runs == ("ab", "c", "d")
    assert output.has_media
