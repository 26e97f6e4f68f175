"""Runs inside the function's container: serves handle(event) over HTTP. Standard library only.

usage: server.py <source file> <handler> <port>
event: {"method", "path", "query": {name: last value}, "headers", "body": text}; what the handler returns is
sent as text when it is a str, else as JSON. An exception in it is a 500 with its name, the stack on stderr.
"""

import json
import runpy
import sys
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

BODY_LIMIT_BYTES = 1024 * 1024


def serve(source: str, handler: str, port: int) -> None:
    function = runpy.run_path(source)[handler]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, function)

        do_POST = do_PUT = do_DELETE = do_GET

    ThreadingHTTPServer(("", port), Handler).serve_forever()


def answer(request: BaseHTTPRequestHandler, function: Callable[[dict[str, Any]], Any]) -> None:
    length = int(request.headers.get("Content-Length") or 0)
    if length > BODY_LIMIT_BYTES:
        send(request, 413, {"error": f"a body has at most {BODY_LIMIT_BYTES} bytes"})
        return
    url = urlsplit(request.path)
    event = {
        "method": request.command,
        "path": url.path,
        "query": dict(parse_qsl(url.query)),
        "headers": dict(request.headers.items()),
        "body": request.rfile.read(length).decode(errors="replace"),
    }
    try:
        result = function(event)
    except Exception as error:  # the function is a stranger's: it may fail in any way
        traceback.print_exc()
        send(request, 500, {"error": type(error).__name__})
    else:
        send(request, 200, result)


def send(request: BaseHTTPRequestHandler, status: int, result: Any) -> None:
    is_text = isinstance(result, str)
    body = (result if is_text else json.dumps(result)).encode()
    request.send_response(status)
    request.send_header("Content-Type", "text/plain; charset=utf-8" if is_text else "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
