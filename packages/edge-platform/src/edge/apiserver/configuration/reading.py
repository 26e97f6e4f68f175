"""The gateway's settings, read and looked at as a whole: what contradicts itself is refused (G12)."""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from edge.apiserver.configuration.federation import contradictions as outside_contradictions
from edge.apiserver.configuration.federation import lockout_contradictions
from edge.apiserver.configuration.files import file_violations
from edge.apiserver.configuration.not_used import NOT_USED
from edge.apiserver.configuration.settings import (
    DAY_S,
    SECTIONS,
    TOKEN_MAX_S,
    AuditSettings,
    AuthenticationSettings,
    AuthorizationSettings,
    GatewaySettings,
    KubeconfigSettings,
    LogSettings,
    OAuthSettings,
    RateLimitSettings,
    ServerSettings,
    address_of,
)
from edge.apiserver.listening.doors import origin_fault
from edge.iam.kubeconfigs import TTL_MIN_S
from edge.iam.oauthclients import COMMAND_LINE
from edge.iam.redirects import redirect_violation
from edge_sdk.problem import Violation
from edge_sdk.settings import Place, Settings, SettingsError, load

PORT_MAX: Final = 65535
CACHE_TTL_MIN_S: Final = 1.0
_CLIENT_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9])?")


def read_settings(
    *,
    file: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    with_files: bool = False,
) -> GatewaySettings:
    """with_files: the files that they name as well. Raises SettingsError that lists all that is wrong."""
    try:
        found = load(SECTIONS, file=file, environ=environ, flags=flags, unused=NOT_USED)
        settings, violations = _as_a_whole(found, with_files=with_files)
    except SettingsError as error:
        if error.rest is None:
            raise
        _, further = _as_a_whole(error.rest, with_files=with_files)
        untouched = [one for one in further if not _is_about(one, error.broken)]
        raise SettingsError([*error.violations, *untouched]) from None
    if violations:
        raise SettingsError(violations)
    return settings


def _as_a_whole(found: Settings, *, with_files: bool) -> tuple[GatewaySettings, list[Violation]]:
    """The settings, and what in them contradicts itself or the files that they name."""
    server, violations = _first_listener(found[ServerSettings], found.places)
    settings = GatewaySettings(
        server=_timed(server, found.places),
        authentication=_with_scheme(found[AuthenticationSettings]),
        authorization=found[AuthorizationSettings],
        rate_limit=found[RateLimitSettings],
        kubeconfig=found[KubeconfigSettings],
        audit=found[AuditSettings],
        log=found[LogSettings],
        not_used=found.unused,
    )
    violations += _contradictions(settings)
    violations += file_violations(settings) if with_files else ()
    return settings, violations


def _is_about(violation: Violation, broken: Sequence[str]) -> bool:
    """Whether it may come of a default that stands for a value which does not fit."""
    section = violation.field.rpartition(".")[0]
    return any(
        key.rpartition(".")[0] == section or section.startswith(key) or key in str(violation)
        for key in broken
    )


def _first_listener(
    server: ServerSettings, places: Mapping[str, Place]
) -> tuple[ServerSettings, list[Violation]]:
    """host and port say what bindAddress says: of one place they must agree, else the place decides."""
    whole = places.get("server.bindAddress")
    if whole is None or not server.bind_address:
        return server, []
    violations: list[Violation] = []
    host, port = address_of(server.bind_address)
    for key, part, own in (
        ("server.host", server.host.strip("[]"), host),
        ("server.port", server.port, port),
    ):
        place = places.get(key)
        if place is None or not part or part == own or place.rank > whole.rank:
            continue
        if place.rank == whole.rank:
            why, accepted = "both name the first listener, and differ", "one of them, or equal values"
            violations.append(Violation(f"{place.name} and {whole.name}", "", why, accepted))
        elif key == "server.host":
            host = str(part)
        else:
            port = int(part)
    return replace(server, bind_address=f"{host}:{port}"), violations


def _timed(server: ServerSettings, places: Mapping[str, Place]) -> ServerSettings:
    """Three keys are one limit; the default of one that is not given must not undercut the others."""
    limits = {
        "read_timeout": ("server.readTimeout", server.read_timeout),
        "write_timeout": ("server.writeTimeout", server.write_timeout),
        "request_timeout": ("server.requestTimeout", server.request_timeout),
    }
    longest = max((limit for _, limit in limits.values()), key=lambda limit: limit.s)
    open_ = {name: longest for name, (key, _) in limits.items() if key not in places}
    return replace(server, **open_)


def _with_scheme(authentication: AuthenticationSettings) -> AuthenticationSettings:
    """Values of the public installer name the issuer as localhost:30080, where it serves plain http."""
    jwt = authentication.jwt
    if "://" in jwt.issuer:
        return authentication
    return replace(authentication, jwt=replace(jwt, issuer=f"http://{jwt.issuer}"))


def _contradictions(settings: GatewaySettings) -> Iterator[Violation]:
    limit, authentication = settings.rate_limit, settings.authentication
    if limit.burst < limit.qps:
        accepted = f"{limit.qps:g} or more"
        yield Violation("rateLimit.burst", limit.burst, "it is below rateLimit.qps", accepted)
    yield from _of_server(settings.server)
    yield from _of_ports(settings)
    ttl = settings.authorization.cache_ttl
    if ttl.s < CACHE_TTL_MIN_S:
        why = "all kinds would be listed again and again"
        yield Violation("authorization.cacheTTL", ttl, why, f"{CACHE_TTL_MIN_S:g}s or more; 300s is usual")
    yield from _of_sessions(authentication)
    yield from outside_contradictions(authentication.oidc, authentication.ldap)
    yield from lockout_contradictions(authentication.lockout)
    yield from _of_oauth(authentication.oauth)
    yield from _of_kubeconfigs(settings.kubeconfig)
    yield from _of_audit(settings.audit, settings.request_timeout_s)


def _of_ports(settings: GatewaySettings) -> Iterator[Violation]:
    """What could not be listened on. Port 0 is any that is free."""
    server, webhook = settings.server, settings.authorization.webhook
    listeners = [("server.bindAddress" if server.bind_address else "server.port", settings.binds[0][1])]
    if server.tls.enabled:
        listeners.append(("server.tls.port", server.tls.port))
    if webhook.enabled:
        listeners.append(("authorization.webhook.bindAddress", webhook.bind[1]))
    taken = {port: "the documented ports are always served" for _, port in settings.binds[1:]}
    for key, port in listeners:
        if port > PORT_MAX:
            yield Violation(key, port, "there is no such port", f"a port up to {PORT_MAX}")
        elif port and port in taken:
            yield Violation(key, port, f"it is taken: {taken[port]}", "a port of its own")
        taken[port] = f"{key} has it"


def _of_server(server: ServerSettings) -> Iterator[Violation]:
    for key, given in (
        ("requestTimeout", server.request_timeout),
        ("readTimeout", server.read_timeout),
        ("writeTimeout", server.write_timeout),
    ):
        if given.s <= 0:
            yield Violation(f"server.{key}", given, "no request could be served", "1s or more")
    if server.idle_timeout.s <= 0:
        why = "no connection would be kept"
        yield Violation("server.idleTimeout", server.idle_timeout, why, "1s or more; 75s is usual")
    if server.shell_idle_timeout.s <= 0:
        why = "no shell would be kept"
        yield Violation("server.shellIdleTimeout", server.shell_idle_timeout, why, "1m or more; 4h is usual")
    if bool(server.tls.cert_file) != bool(server.tls.key_file):
        given, lacking = ("certFile", "keyFile") if server.tls.cert_file else ("keyFile", "certFile")
        yield Violation(
            f"server.tls.{lacking}", "", f"server.tls.{given} is nothing without it", "a PEM file"
        )
    if server.tls.client_ca_file and server.tls.client_ca_secret:
        why, accepted = "the authorities come from one place", "it, or clientCASecretName"
        yield Violation("server.tls.clientCAFile", server.tls.client_ca_file, why, accepted)
    for origin in server.cors.allowed_origins:
        if why := origin_fault(origin):
            accepted = "https://console.example.com, with its port if that is not 443"
            yield Violation("server.cors.allowedOrigins", origin, why, accepted)
    for text in server.trusted_proxies:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield Violation("server.trustedProxies", text, "it is no network", "10.244.0.0/16")


def _of_sessions(authentication: AuthenticationSettings) -> Iterator[Violation]:
    session, token = authentication.session, authentication.jwt.expire
    if not 0 < token.s <= TOKEN_MAX_S:
        yield Violation("authentication.jwt.expire", token, "a token must end", "1s to 30d")
    yield from _of_issuer(authentication.jwt.issuer)
    if session.idle.s < token.s:
        why, accepted = "a session would end before its first token", "authentication.jwt.expire or more"
        yield Violation("authentication.session.idle", session.idle, why, accepted)
    if session.longest.s < session.idle.s:
        accepted = "authentication.session.idle or more"
        yield Violation("authentication.session.longest", session.longest, "it is shorter", accepted)
    for origin in session.origins:
        if not re.fullmatch(r"https?://[^/\s]+", origin):
            accepted = "https://HOST[:PORT], without a path"
            yield Violation("authentication.session.origins", origin, "it is no origin", accepted)


def _of_issuer(issuer: str) -> Iterator[Violation]:
    """Programs append paths to it, and compare it letter by letter."""
    try:
        parts = urlsplit(issuer)
        is_address = bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        is_address, parts = False, urlsplit("")
    plain = re.fullmatch(r"https?://[!-~]+", issuer) and not parts.query and not parts.fragment
    if not (is_address and plain):
        why = "programs find their way from this address"
        yield Violation("authentication.jwt.issuer", issuer, why, "https://HOST[:PORT][/PATH]")


def _of_oauth(oauth: OAuthSettings) -> Iterator[Violation]:
    for key, uris in (
        ("redirectURIs", oauth.redirect_uris),
        ("postLogoutRedirectURIs", oauth.post_logout_uris),
    ):
        for uri in uris:
            # A path is taken at the issuer's own address, whatever its scheme.
            whole = f"https://issuer{uri}" if uri.startswith("/") and not uri.startswith("//") else uri
            violation = redirect_violation(whole, f"authentication.oauth.{key}")
            if violation is not None:
                yield violation
    if not oauth.enabled:
        why = "nobody could sign in; this version cannot do without"
        yield Violation("authentication.oauth.enabled", False, why, "true")
    yield from _of_clients(oauth)


def _of_clients(oauth: OAuthSettings) -> Iterator[Violation]:
    """What is no id may be a part of a secret, so it is not repeated."""
    key, accepted = "authentication.oauth.clients", "id:secret, the id of letters, digits, - . _"
    clients = oauth.by_id()
    for name, secret in clients.items():
        if not _CLIENT_ID.fullmatch(name) or not secret:
            yield Violation(key, "***", "id or secret is missing, or the id is none", accepted)
    if len(clients) < len(oauth.clients):
        yield Violation(key, "***", "a client is there twice", "each id once")
    if COMMAND_LINE in clients and oauth.command_line:
        accepted = "another id, or authentication.oauth.commandLine: false"
        yield Violation(key, COMMAND_LINE, "it is the command line's own", accepted)


def _of_kubeconfigs(kubeconfig: KubeconfigSettings) -> Iterator[Violation]:
    longest, usual = kubeconfig.max_ttl, kubeconfig.ttl
    if not TTL_MIN_S <= longest.s <= TOKEN_MAX_S:
        yield Violation("kubeconfig.maxTTL", longest, "a kubeconfig must end", "1m to 30d")
    if not TTL_MIN_S <= usual.s <= longest.s:
        yield Violation("kubeconfig.ttl", usual, "users may not have that", "1m to kubeconfig.maxTTL")


def _of_audit(audit: AuditSettings, request_timeout_s: float) -> Iterator[Violation]:
    if audit.retention.s < 30 * DAY_S:
        why, accepted = "what happened last month would not be known", "30d or more; 365d is usual"
        yield Violation("audit.retention", audit.retention, why, accepted)
    if not 0 < audit.acknowledge_within.s <= request_timeout_s:
        why = "no change could be recorded in time"
        yield Violation("audit.acknowledgeWithin", audit.acknowledge_within, why, "up to requestTimeout")
    if audit.acknowledgements > len(audit.sinks):
        accepted = f"0 to {len(audit.sinks)}"
        yield Violation(
            "audit.acknowledgements", audit.acknowledgements, "no record could have so many", accepted
        )
    for url in audit.sinks:
        if not re.fullmatch(r"https://[^/\s]+", url):
            yield Violation("audit.sinks", url, "it is no address of a sink", "https://HOST:PORT")
