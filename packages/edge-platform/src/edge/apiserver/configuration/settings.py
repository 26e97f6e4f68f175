"""What the gateway can be told, and where: flag over environment over edge.yaml over default (G6, G12).

Keys and variables are those of the documents (spec/seed-details §2.2, §3, §4) and, as second names, those of
the public installer. What this version cannot do is refused at start when it is switched on; what is for
parts that it lacks (not_used.py) is told at start.
"""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Final, cast

from msgspec import field

from edge.apiserver.configuration.federation import (
    LdapSettings,
    LockoutSettings,
    OidcSettings,
    ServiceAccountSettings,
)
from edge.apiserver.headers import Network
from edge_sdk.secret import Secret
from edge_sdk.settings import Duration, Section, Size, setting

ALWAYS: Final = (("0.0.0.0", 9090), ("0.0.0.0", 8080))  # noqa: S104  # documents promise both (X12)
LEVELS: Final = "debug, info, warn, error"
DAY_S: Final = 86_400.0
TOKEN_MAX_S: Final = 30 * DAY_S

Port = Annotated[int, setting(ge=0, le=65535)]


def address_of(text: str) -> tuple[str, int]:
    """(host, port) of host:port; without a host, all addresses."""
    host, _, port = text.rpartition(":")
    return (host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104


class TlsSettings(Section):
    enabled: Annotated[bool, setting("Serve the same routes over TLS too; kubectl needs it.")] = True
    port: Annotated[int, setting(env="TLS_PORT", ge=0, le=65535)] = 8443
    cert_file: Annotated[str, setting("PEM of the certificate; before secretName. Changes are taken up.")] = (
        ""
    )
    key_file: Annotated[str, setting("PEM of its key.")] = ""
    secret_name: Annotated[str, setting("kubernetes.io/tls Secret that is used if it exists.")] = "edge-tls"  # noqa: S105
    names: Annotated[tuple[str, ...], setting("DNS names of the certificate made otherwise.")] = (
        "edge-apiserver",
        "edge-apiserver.edge-system",
        "edge-apiserver.edge-system.svc",
        "edge-apiserver.edge-system.svc.cluster.local",
        "apiserver",
        "localhost",
    )
    client_ca_file: Annotated[
        str, setting("PEM of who signs client certificates: CN is the user, O are groups. Empty: none count.")
    ] = field(default="", name="clientCAFile")
    client_ca_secret: Annotated[str, setting("The same from ca.crt of this Secret.")] = field(
        default="", name="clientCASecretName"
    )


class CorsSettings(Section):
    allowed_origins: Annotated[
        tuple[str, ...],
        setting(
            "Origins of other sites whose pages may call the API with a user's session; none by default."
        ),
    ] = ()


class ServerSettings(Section):
    bind_address: Annotated[
        str,
        setting(
            "First listener, host:port.",
            env="BIND_ADDRESS",
            pattern=r"^[^\s]*:\d{1,5}$",
            accepted="host:port, such as 0.0.0.0:9090",
        ),
    ] = ""
    host: Annotated[str, setting("Address of the first listener.", pattern=r"^[^\s/]*$")] = ""
    port: Annotated[int, setting("Port of the first listener.", env="PORT", ge=0, le=65535)] = 0
    only_first: Annotated[bool, setting("Listen on the first one alone.")] = False
    read_timeout: Annotated[
        Duration, setting("Of short requests; streams have none.", also=("server.timeout.read",))
    ] = Duration(30)
    write_timeout: Annotated[
        Duration,
        setting("The same; the shortest that is given of the three counts.", also=("server.timeout.write",)),
    ] = Duration(30)
    request_timeout: Annotated[Duration, setting("The same.", env="REQUEST_TIMEOUT")] = Duration(30)
    idle_timeout: Annotated[
        Duration,
        setting("A connection without a request is closed after this.", also=("server.timeout.idle",)),
    ] = Duration(75)
    shell_idle_timeout: Annotated[
        Duration,
        setting("An exec, attach, port-forward or WebSocket with nothing but pings for so long is closed."),
    ] = Duration(4 * 3600)
    max_concurrent_requests: Annotated[
        int, setting("Short requests in hand; one user may have 3/4.", env="MAX_CONCURRENT_REQUESTS", ge=1)
    ] = 1000
    max_streams: Annotated[int, setting("Watches, logs and shells; one user may have 3/4.", ge=1)] = 5000
    drain: Annotated[Duration, setting("Between failing readiness and closing the ports.")] = Duration(5)
    namespace: Annotated[str, setting(env="POD_NAMESPACE")] = "edge-system"
    kubeconfig: Annotated[str, setting("Empty: the cluster this pod runs in.", env="KUBECONFIG")] = ""
    trusted_proxies: Annotated[
        tuple[str, ...], setting("Networks whose X-Forwarded-For is believed, such as 10.244.0.0/16.")
    ] = ()
    loopback_members: Annotated[bool, setting("Members may listen on this very machine.")] = False
    loopback_upstreams: Annotated[
        bool, setting("ReverseProxy objects may lead to this very machine; for tests.")
    ] = False
    max_per_member: Annotated[
        int, setting("Short requests at once to one member, and to one ReverseProxy.", ge=1)
    ] = 200
    cluster_domain: Annotated[
        str, setting("DNS domain of Services.", pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    ] = "cluster.local"
    tls: TlsSettings = TlsSettings()
    cors: CorsSettings = CorsSettings()


class JwtSettings(Section):
    secret: Annotated[
        Secret,
        setting(
            "Unset or a published value: Ed25519 keys are made, kept and turned.",
            env="JWT_SECRET",
            also=("auth.jwt.secret",),
        ),
    ] = Secret("")
    issuer: Annotated[
        str, setting(env="OAUTH_ISSUER_URL", also=("auth.jwt.issuerUrl", "auth.oauth.issuer"))
    ] = "https://edge.example.com"
    expire: Annotated[
        Duration, setting(env="JWT_EXPIRE", also=("authentication.tokenExpiration", "auth.jwt.expiry"))
    ] = Duration(24 * 3600)


class ClientSecret(Secret):
    """The id and the secret of a program, with a colon between them."""

    __slots__ = ()

    @classmethod
    def of(cls, value: object) -> "ClientSecret":
        """value: the text, or a mapping of `id` and `secret`. Raises ValueError, without a part of it."""
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, Mapping):
            raise ValueError("it is no client")
        parts = cast("Mapping[str, object]", value)
        name, secret = (str(parts.get(key) or "") for key in ("id", "secret"))
        if set(parts) != {"id", "secret"} or ":" in name:
            raise ValueError("it is no client")
        return cls(f"{name}:{secret}")


class OAuthSettings(Section):
    enabled: Annotated[bool, setting("Sign-in. It is always on.", also=("auth.oauth.enabled",))] = True
    clients: Annotated[
        tuple[ClientSecret, ...],
        setting(
            "Programs that may ask for tokens, as id:secret or {id, secret}.",
            env="OAUTH_CLIENTS",
            also=("auth.oauth.clients",),
            accepted="a list of id:secret or {id: ID, secret: SECRET}",
        ),
    ] = (ClientSecret("edge-console:edge-secret"),)
    redirect_uris: Annotated[
        tuple[str, ...],
        setting("Where the first client's users are sent back to; a path is one at the issuer's address."),
    ] = field(default=("/sign-in/callback",), name="redirectURIs")
    post_logout_uris: Annotated[
        tuple[str, ...], setting("Where they may be sent after they have signed out.")
    ] = field(default=("/sign-in",), name="postLogoutRedirectURIs")

    command_line: Annotated[
        bool,
        setting("Whether there is the public client edge-cli, with which `edge login --browser` signs in."),
    ] = True

    def by_id(self) -> dict[str, Secret]:
        """Client id → secret."""
        pairs = (client.reveal().partition(":") for client in self.clients)
        return {name.strip(): Secret(secret) for name, _, secret in pairs}


class SessionSettings(Section):
    """What a sign-in opens, and how long it may be refreshed."""

    idle: Annotated[
        Duration, setting("A session that nobody refreshes ends after this.", also=("auth.jwt.refreshTTL",))
    ] = Duration(30 * DAY_S)
    longest: Annotated[Duration, setting("Any session ends after this.")] = Duration(90 * DAY_S)
    per_user: Annotated[int, setting("Beyond it, the one unused for longest ends.", ge=1)] = 1000
    origins: Annotated[
        tuple[str, ...],
        setting("Consoles at other addresses that may open WebSockets with the session cookie."),
    ] = ()


class AuthenticationSettings(Section):
    jwt: JwtSettings = JwtSettings()
    session: SessionSettings = SessionSettings()
    oauth: OAuthSettings = OAuthSettings()
    oidc: OidcSettings = OidcSettings()
    ldap: LdapSettings = LdapSettings()
    lockout: LockoutSettings = LockoutSettings()
    service_accounts: ServiceAccountSettings = ServiceAccountSettings()


class WebhookSettings(Section):
    """Where an API server asks for SubjectAccessReviews; mutual TLS with certificates from files (I10)."""

    enabled: bool = False
    bind_address: Annotated[str, setting("host:port.", pattern=r"^[^\s]*:\d{1,5}$")] = "0.0.0.0:9444"
    cert_file: str = "/etc/edge-authz/tls.crt"
    key_file: str = "/etc/edge-authz/tls.key"
    client_ca_file: Annotated[
        str, setting("Signs the API server's client certificate. Best a CA that signs nothing else.")
    ] = field(default="/etc/edge-authz/ca.crt", name="clientCAFile")
    client_names: Annotated[
        tuple[str, ...], setting("Common names that may ask; empty: all that the CA has signed.")
    ] = ()
    max_concurrent: Annotated[int, setting("Reviews that wait for a proof of freshness.", ge=1)] = 1000

    @property
    def bind(self) -> tuple[str, int]:
        return address_of(self.bind_address)


ALWAYS_ALLOW: Final = "AlwaysAllow"


class AuthorizationSettings(Section):
    mode: Annotated[
        str,
        setting(
            "RBAC, or AlwaysAllow: whoever signs in may do everything. For trying things out only.",
            pattern="^(RBAC|AlwaysAllow)$",
            accepted="RBAC, AlwaysAllow",
            also=("auth.mode",),
        ),
    ] = "RBAC"
    cache_enabled: Annotated[
        bool,
        setting(
            "Remember what callers may. false: of the last one alone; slower, and no fresher, since a change "
            "of rights ends what is remembered at once."
        ),
    ] = True
    cache_size: Annotated[
        int, setting("Callers whose rights are remembered; who was not seen for longest goes.", ge=100)
    ] = 10_000
    cache_ttl: Annotated[
        Duration,
        setting("How often all that rights come from is compared with the API server; changes come at once."),
    ] = field(default=Duration(300), name="cacheTTL")
    webhook: WebhookSettings = WebhookSettings()

    @property
    def remembered(self) -> int:
        """Callers whose rights are kept worked out; an index has one at least."""
        return self.cache_size if self.cache_enabled else 1


class RateLimitSettings(Section):
    """user_qps, user_burst: of one user; 0 is as much as all together: one may use it all (G10)."""

    enabled: bool = True
    qps: Annotated[float, setting("Requests a second, in all.", gt=0)] = 1000
    burst: Annotated[float, setting("Beyond qps, at once.", gt=0)] = 2000
    user_qps: Annotated[float, setting("Of one user; 0: as much as all together.", ge=0)] = 0
    user_burst: Annotated[float, setting("Of one user; 0: as much as all together.", ge=0)] = 0
    anonymous_qps: Annotated[float, setting("Of one address, to /oauth; 0: no limit of its own.", ge=0)] = (
        field(default=20, name="anonymousQPS")
    )
    anonymous_burst: Annotated[float, setting("Beyond anonymousQPS, at once.", ge=0)] = 40
    max_delay: Annotated[Duration, setting("How late a request is served, before it is refused.")] = Duration(
        1
    )
    shared: Annotated[
        bool, setting("The limits are those of all replicas together; false: each replica has them whole.")
    ] = True


class KubeconfigSettings(Section):
    """Kubeconfigs that users download (I3)."""

    ttl: Annotated[Duration, setting("Of one whose user asks for nothing else.")] = Duration(24 * 3600)
    max_ttl: Annotated[Duration, setting("The longest that may be asked for.")] = field(
        default=Duration(TOKEN_MAX_S), name="maxTTL"
    )
    per_user: Annotated[int, setting("How many one user may have in force.", ge=1)] = 20
    server: Annotated[
        str,
        setting(
            "Address of the gateway in them; empty: where the request for one was sent.",
            pattern=r"^(https://\S+)?$",
            accepted="https://HOST[:PORT][/PATH]",
        ),
    ] = ""
    certificate_authority: Annotated[
        str, setting("PEM of who signed for `server`; empty: what the user's machine trusts.")
    ] = ""


class AuditSettings(Section):
    """The record of every change. Without a folder none is kept; the charts give one."""

    folder: Annotated[str, setting("Where records are kept: a volume that outlives the pod.")] = ""
    writer: Annotated[
        str,
        setting("Name of this process in the records.", env="POD_NAME", pattern=r"^[A-Za-z0-9._-]{0,80}$"),
    ] = ""
    retention: Annotated[Duration, setting("How long a record is kept.")] = Duration(365 * DAY_S)
    reads: Annotated[
        str,
        setting(
            "sensitive: readings of secrets and of the trail. all: every read, as far as time allows.",
            pattern="^(sensitive|all)$",
            accepted="sensitive, all",
        ),
    ] = "sensitive"
    acknowledge_within: Annotated[
        Duration, setting("How long a change waits for its record before it is refused.")
    ] = Duration(0.5)
    segment_size: Annotated[Size, setting("A file of records is closed at this size, or after a day.")] = (
        Size(64 * 2**20)
    )
    refuse_at_percent: Annotated[
        int, setting("Share of the volume in use from which changes are refused.", ge=50, le=100)
    ] = 95
    enough_free: Annotated[Size, setting("Free space with which nothing is refused, however full.")] = Size(
        2**30
    )
    sinks: Annotated[
        tuple[str, ...], setting("Processes that keep the records instead, as https://HOST:PORT.")
    ] = ()
    acknowledgements: Annotated[
        int, setting("Sinks that must have a record; 0: more than half of them.", ge=0)
    ] = 0
    sink_token_file: Annotated[str, setting("ServiceAccount token for audience edge-audit.")] = (
        "/var/run/secrets/edge-audit/token"  # noqa: S105
    )

    checkpoints: Annotated[
        str, setting("ConfigMap that holds copies of the newest signed statements; empty: none.")
    ] = ""
    verify_at: Annotated[
        str,
        setting(
            "When the whole trail is verified each day, in UTC; empty: only when somebody asks.",
            pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$",
            accepted='"HH:MM", or empty',
        ),
    ] = "02:00"

    @property
    def enough(self) -> int:
        return self.acknowledgements or len(self.sinks) // 2 + 1


class LogSettings(Section):
    level: Annotated[
        str, setting(env="LOG_LEVEL", pattern="^(debug|info|warn|warning|error)$", accepted=LEVELS)
    ] = "info"
    format: Annotated[str, setting(env="LOG_FORMAT", pattern="^(json|text)$", accepted="json, text")] = "json"


SECTIONS: Final[Mapping[str, type[Section]]] = {
    "server": ServerSettings,
    "authentication": AuthenticationSettings,
    "authorization": AuthorizationSettings,
    "rateLimit": RateLimitSettings,
    "kubeconfig": KubeconfigSettings,
    "audit": AuditSettings,
    "log": LogSettings,
}


class GatewaySettings(Section):
    """All sections of the gateway together."""

    server: ServerSettings = ServerSettings()
    authentication: AuthenticationSettings = AuthenticationSettings()
    authorization: AuthorizationSettings = AuthorizationSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    kubeconfig: KubeconfigSettings = KubeconfigSettings()
    audit: AuditSettings = AuditSettings()
    log: LogSettings = LogSettings()
    not_used: tuple[str, ...] = ()
    """What was given that is for parts which this version lacks."""

    @property
    def binds(self) -> tuple[tuple[str, int], ...]:
        """Every (address, port) that serves the whole API; the first is the one that was asked for."""
        server = self.server
        first: list[tuple[str, int]] = []
        if server.bind_address:
            first = [address_of(server.bind_address)]
        elif server.host or server.port or server.only_first:
            usual = 0 if server.only_first else ALWAYS[0][1]
            first = [address_of(f"{server.host}:{server.port or usual}")]
        if first and server.only_first:
            return tuple(first)
        taken = {port for _, port in first}
        return (*first, *(bind for bind in ALWAYS if bind[1] not in taken))

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        return tuple(ipaddress.ip_network(text, strict=False) for text in self.server.trusted_proxies)

    @property
    def request_timeout_s(self) -> float:
        """The shortest that was asked for: three keys of the documents mean it."""
        server = self.server
        return min(server.request_timeout.s, server.read_timeout.s, server.write_timeout.s)
