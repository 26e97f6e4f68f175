"""Links in HTML answers and in redirects, led back through the proxy's own path (wrapTransport). Pure."""

import re
from typing import Final
from urllib.parse import urlsplit

HTML_MAX_BYTES: Final = 2 * 1024 * 1024
"""Longer pages are passed on as they are."""
_LINK: Final = re.compile(
    rb"""(\s(?:href|src|action|formaction|poster|data|background)=["']?)(/(?![/\\])[^"'\s>]*)""",
    re.IGNORECASE,
)


def is_html(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml")


def with_links(page: bytes, prefix: str) -> bytes:
    """The page with every link that begins at the root moved below `prefix`; others are relative already."""
    before = prefix.encode()

    def moved(found: re.Match[bytes]) -> bytes:
        link = found[2]
        inside = link == before or link.startswith((before + b"/", before + b"?", before + b"#"))
        return found[0] if inside else found[1] + before + link

    return _LINK.sub(moved, page)


def location(value: str, prefix: str, host: str, port: int) -> str:
    """Where a redirect leads: on the upstream itself it leads below `prefix`, elsewhere it stays."""
    try:
        parts = urlsplit(value)
        its_port = parts.port
    except ValueError:
        return value
    if parts.netloc and ((parts.hostname or "") != host.lower() or its_port not in (None, port)):
        return value
    if not parts.netloc and (parts.scheme or not value.startswith("/")):
        return value
    path = parts.path or "/"
    if path != prefix and not path.startswith(f"{prefix}/"):
        path = f"{prefix}{path}"
    return (
        path + (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
    )
