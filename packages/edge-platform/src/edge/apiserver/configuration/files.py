"""Files that the settings name, looked at before the process starts: a bad one is told with its key (G6)."""

import ssl
from collections.abc import Iterator
from pathlib import Path

from edge.apiserver.configuration.settings import GatewaySettings
from edge_sdk.problem import Violation

PEM = "a PEM file that this process may read"


def file_violations(settings: GatewaySettings) -> Iterator[Violation]:
    """What cannot be used of the files that count at the start."""
    tls, webhook, audit = settings.server.tls, settings.authorization.webhook, settings.audit
    if tls.enabled:
        yield from _of_pair("server.tls", tls.cert_file, tls.key_file)
        yield from _of_authorities("server.tls.clientCAFile", tls.client_ca_file)
    if webhook.enabled:
        yield from _of_pair("authorization.webhook", webhook.cert_file, webhook.key_file)
        yield from _of_authorities("authorization.webhook.clientCAFile", webhook.client_ca_file)
    if audit.sinks and (why := _unreadable(audit.sink_token_file)):
        yield Violation("audit.sinkTokenFile", audit.sink_token_file, why, "a ServiceAccount token")


def _of_pair(section: str, cert: str, key: str) -> Iterator[Violation]:
    """A certificate and its key; where both can be read, whether they belong together."""
    fine = bool(cert and key)
    for name, path in (("certFile", cert), ("keyFile", key)):
        if path and (why := _unreadable(path)):
            fine = False
            yield Violation(f"{section}.{name}", path, why, PEM)
    if not fine:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_nobody_types_one)
    except (ssl.SSLError, ValueError) as error:
        why = f"with {section}.keyFile ({key}) it makes no certificate to serve with: {_reason(error)}"
        yield Violation(f"{section}.certFile", cert, why, "a certificate in PEM, and the key it was made for")


def _of_authorities(name: str, path: str) -> Iterator[Violation]:
    if not path:
        return
    if why := _unreadable(path):
        yield Violation(name, path, why, PEM)
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=Path(path).read_text("ascii"))
    except (ssl.SSLError, ValueError) as error:
        yield Violation(name, path, f"it holds no authority: {_reason(error)}", "certificates in PEM")


def _unreadable(path: str) -> str:
    """Why a file cannot be read, "" when it can."""
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return ""


def _nobody_types_one() -> str:
    return ""


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or error).replace("_", " ").lower()
