"""Answers in upstream's words: clients match on these texts and codes."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web


class Refused(Exception):
    """An error answer: {"error": text} with a code."""

    def __init__(
        self,
        code: int,
        text: str,
        *,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.headers = headers
        self.body = {"error": text, **(more or {})}


def document(body: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),
        status=code,
        content_type="application/json",
        charset="utf-8",
        headers=headers,
    )


def too_large() -> web.Response:
    """Plain text and a closed connection: the rest of the body is not read."""
    response = web.Response(text="request too large", status=413, headers={"Connection": "close"})
    response.force_close()
    return response


WELCOME = (
    "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to ChartMuseum!</title>\n</head>\n<body>\n"
    "<h1>Welcome to ChartMuseum!</h1>\n"
    "<p>If you see this page, the chart repository is installed and working. "
    'Its index is at <a href="index.yaml">index.yaml</a>.</p>\n</body>\n</html>\n'
)
