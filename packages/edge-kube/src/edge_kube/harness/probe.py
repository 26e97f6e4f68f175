"""A synchronous look at /readyz: fixtures start clusters outside any event loop."""

import http.client
import ssl
from urllib.parse import urlsplit

from edge_kube.config import Connection


def is_ready(connection: Connection, timeout_s: float = 2.0) -> bool:
    parts = urlsplit(connection.server)
    context = connection.ssl_context() or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    request = http.client.HTTPSConnection(
        parts.hostname or "", parts.port or 443, context=context, timeout=timeout_s
    )
    try:
        request.request("GET", "/readyz")
        return request.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        request.close()
