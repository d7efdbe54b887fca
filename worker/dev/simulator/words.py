"""Takes a prompt apart: its topic, its significant words, its proper names. Pure text, no knowledge of runs."""

import re
from unicodedata import normalize

_WORD = re.compile(r"[^\W\d_][\w\u2019'-]*")
_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)\b[^\W\d_a-z][\w\u2019-]+")
_ORDER_WORDS = """please|can you|could you|i want you to|i need|research|investigate|analy[sz]e|write|prepare|create
|produce|give me|make|compare|explain|describe|summari[sz]e|tell me|show me|find out|look into
|study|a|an|the|short|long|brief|detailed|deep|report|overview|analysis|summary|survey|history|on
|about|of|into|for|us|me"""
_ORDER = re.compile(rf"^(?:{_ORDER_WORDS.replace(chr(10), '')})\b[\s:,]*", re.IGNORECASE)
_STOP_WORDS = """a about above after again all also an and any are as at be because been before being between both
but by can compare could deep detailed did do does explain for from give had has have history how i if in into is
it its just latest like make many may me more most much my new no not now of on one only or our out over overview
please recent report research should since so some such summary than that the their them then there these they this
those to under until up us use very was we were what when where which while who why will with would write you your"""
_STOP = frozenset(_STOP_WORDS.split())
_TOPIC = 90


def topic_of(text: str) -> str:
    """Return what a prompt is about, fit for a title."""
    lines = [line.strip(" #*>-\t") for line in text.splitlines()]
    line = next((line for line in lines if line), "an empty prompt")
    sentence = re.split(r"(?<=[.!?])\s", line, maxsplit=1)[0].rstrip(" .!?:")
    shorter = sentence
    while (rest := _ORDER.sub("", shorter, count=1)) != shorter and rest:
        shorter = rest
    topic = shorter if len(shorter) >= 3 else sentence
    if len(topic) > _TOPIC:
        topic = topic[:_TOPIC].rsplit(" ", 1)[0] + "…"
    return headed(topic)


def keywords_of(text: str) -> list[str]:
    """Return the significant words in their order, each once."""
    found: dict[str, str] = {}
    for word in _WORD.findall(text[:20_000]):
        if len(word) > 2 and word.lower() not in _STOP:
            found.setdefault(word.lower(), word)
    return list(found.values())


def names_of(text: str) -> list[str]:
    """Return the words that look like proper names, each once."""
    return list(dict.fromkeys(_NAME.findall(text[:20_000])))


def slug_of(text: str) -> str:
    """Return the text as a part of a URL."""
    base = normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", base.lower()).strip("-")[:60] or "page"


def tokens_of(text: str) -> int:
    """Return roughly how many tokens a text has."""
    return (len(text) + 3) // 4


def headed(text: str) -> str:
    """Return the text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]
