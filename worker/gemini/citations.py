"""What a text rests on: web pages, files and places, each with its place in the text in character offsets. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Citation:
    """A source for a part of the text: offsets in characters, the end excluded. It has an address, a title, or both."""

    url: str | None
    title: str | None
    start_index: int
    end_index: int


def citations_of(content: Mapping[str, Any], text: str, start: int) -> Iterator[Citation]:
    """Yield the citations of one text, which stands at `start`; upstream counts bytes of each text by itself."""
    annotations = content.get("annotations")
    given = annotations if isinstance(annotations, list) else []
    found = [(annotation, source) for annotation in given if (source := _source(annotation)) is not None]
    size = len(text.encode())
    spans = []
    for annotation, _ in found:
        first = _index(annotation.get("start_index"), 0, size)
        spans.append((first, max(first, _index(annotation.get("end_index"), size, size))))
    chars = _char_offsets(text, {index for span in spans for index in span})
    for (_, (url, title)), (first, last) in zip(found, spans, strict=True):
        yield Citation(url, title, start + chars[first], start + chars[last])


def _source(annotation: Any) -> tuple[str | None, str | None] | None:
    """Return address and title of what is cited; None where there is neither."""
    if not isinstance(annotation, Mapping):
        return None
    match annotation.get("type"):
        case "url_citation":
            url, title = _text(annotation, "url"), _text(annotation, "title")
        case "place_citation":
            url, title = _text(annotation, "url"), _text(annotation, "name") or _text(annotation, "place_id")
        case "file_citation":
            url, title = _text(annotation, "document_uri"), _file(annotation)
        case _:
            return None
    return (url, title) if url or title else None


def _file(annotation: Mapping[str, Any]) -> str | None:
    name, page = _text(annotation, "file_name") or _text(annotation, "source"), annotation.get("page_number")
    is_page = isinstance(page, int) and not isinstance(page, bool) and page > 0
    return f"{name}, page {page}" if name and is_page else name


def _text(annotation: Mapping[str, Any], name: str) -> str | None:
    value = annotation.get(name)
    return value if isinstance(value, str) and value else None


def _index(value: Any, default: int, size: int) -> int:
    """Return a byte offset within the text; JSON may hold it as a string or a float, or leave out a zero."""
    try:
        index = default if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        index = default
    return min(max(index, 0), size)


def _char_offsets(text: str, byte_offsets: set[int]) -> dict[int, int]:
    """Return the character offset of each byte offset; one within a character counts as its start."""
    if text.isascii():
        return {offset: offset for offset in byte_offsets}
    data = text.encode()
    chars, known, done = 0, 0, {}
    for offset in sorted(byte_offsets):
        cut = offset
        while 0 < cut < len(data) and data[cut] & 0xC0 == 0x80:
            cut -= 1
        chars += len(data[known:cut].decode())
        known = cut
        done[offset] = chars
    return done
