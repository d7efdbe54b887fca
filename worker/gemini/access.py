"""Where the API is and how long it may take: values that the client and the poller share."""

from dataclasses import dataclass, field
from urllib.parse import quote

KEEPALIVE_S = 60.0
CONNECT_S = 5.0

_SEGMENT_SAFE = "!$&'()*+,;=:@~"
"""What RFC 3986 allows in a path segment beside letters, digits and `-._`: sent as it is, as the SDK does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The API's address and key; the key never shows in a representation."""

    api_key: str = field(repr=False)
    base_url: str
    api_version: str = "v1"

    def interaction_url(self, upstream_id: str) -> str:
        """Return the URL of one interaction, encoded as it goes over the wire."""
        return f"{self.base_url.rstrip('/')}/{self.api_version}/interactions/{segment(upstream_id)}"


def segment(upstream_id: str) -> str:
    """Return an id as one path segment: ids come from outside, and the SDK puts them into its paths unquoted."""
    quoted = quote(upstream_id, safe=_SEGMENT_SAFE)
    return quoted.replace(".", "%2E") if quoted.strip(".") == "" else quoted
