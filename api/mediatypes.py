"""MIME types of artifacts as answers carry them, the names of their files, and raw sound made playable.

The types come from the upstream: what cannot be a type is given as bytes of no kind.
"""

import mimetypes
import re
import struct

OPAQUE = "application/octet-stream"
TYPE = re.compile(r"[a-z]+/[a-z0-9_.+-]{1,80}", re.ASCII)
PARAMETER = re.compile(r"\s*([a-z0-9-]{1,40})=\"?([a-z0-9_.+-]{1,80})\"?\s*", re.ASCII)
SHOWN = re.compile(r"image/(png|jpeg|gif|webp|avif)|(audio|video)/[a-z0-9_.+-]+|text/plain", re.ASCII)
"""What a browser may show in its window; everything else it saves, because it may hold script."""

RAW = "audio/l16"
RATE_HZ, CHANNELS = 24_000, 1
"""What the Gemini API's raw sound is where its type does not say; its samples are little-endian, unlike RFC 2586's."""

EXTENSIONS = {
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/webp": ".webp",
    "audio/wav": ".wav",
    "audio/mp3": ".mp3",
    "audio/mpeg": ".mp3",
    "audio/aiff": ".aiff",
    "audio/aac": ".aac",
    "audio/ogg": ".ogg",
    "audio/ogg_opus": ".ogg",
    "audio/opus": ".opus",
    "audio/flac": ".flac",
    "audio/m4a": ".m4a",
    "audio/webm": ".weba",
    "audio/l16": ".pcm",
    "audio/alaw": ".al",
    "audio/mulaw": ".ul",
    "video/mov": ".mov",
    "video/mpg": ".mpg",
    "video/avi": ".avi",
    "video/wmv": ".wmv",
    "video/x-flv": ".flv",
    "video/3gpp": ".3gp",
    "text/markdown": ".md",
    "text/csv": ".csv",
}
"""Those of the Gemini API that Python does not know, or knows by several names."""


def clean(given: str) -> str:
    """The type with its parameters, in lower case; OPAQUE for what is no type."""
    name, *parameters = given.lower().split(";")
    name = name.strip()
    if not TYPE.fullmatch(name):
        return OPAQUE
    known = (PARAMETER.fullmatch(parameter) for parameter in parameters[:10])
    return ";".join([name, *(f"{found[1]}={found[2]}" for found in known if found)])


def essence(media_type: str) -> str:
    """The type without its parameters."""
    return media_type.partition(";")[0]


def extension(media_type: str) -> str:
    """How the name of such a file ends."""
    name = essence(media_type)
    return EXTENSIONS.get(name) or mimetypes.guess_extension(name) or ".bin"


def disposition(media_type: str) -> str:
    """Whether a browser may show it."""
    return "inline" if SHOWN.fullmatch(essence(media_type)) else "attachment"


def wav_header(media_type: str, size: int) -> bytes | None:
    """What makes a WAV file of raw sound of this size when put before it; None for anything else."""
    name, *parameters = media_type.split(";")
    if name != RAW:
        return None
    told = dict(parameter.partition("=")[::2] for parameter in parameters)
    rate, channels = _number(told.get("rate"), RATE_HZ, 384_000), _number(told.get("channels"), CHANNELS, 8)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    most = 0xFFFFFFFF
    data = struct.pack("<4sI", b"data", min(size, most))
    return struct.pack("<4sI4s", b"RIFF", min(size + 36, most), b"WAVE") + form + data


def _number(text: str | None, default: int, most: int) -> int:
    is_number = text is not None and text.isascii() and text.isdecimal() and len(text) <= 9
    number = int(text) if is_number and text else default
    return number if 0 < number <= most else default
