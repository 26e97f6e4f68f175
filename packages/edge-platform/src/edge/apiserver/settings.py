"""What the gateway can be told (G6, G12, spec seed-details §2.2, §3, §4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_sdk.secret import Secret


def default_clients() -> dict[str, Secret]:
    return {"edge-console": Secret("edge-secret")}


@dataclass(frozen=True, slots=True)
class Limits:
    enabled: bool = True
    qps: float = 1000
    burst: float = 2000
    user_qps: float = 1000
    user_burst: float = 2000
    max_delay_s: float = 1.0
    inflight: int = 1000
    streams: int = 5000


@dataclass(frozen=True, slots=True)
class Settings:
    """binds: every (address, port) that serves the whole API; the first is the main one (X12).

    tls_bind: the same over TLS; None for none. tls_secret: used for it if it exists. tls_names: DNS names in
    the certificate that is made if it does not. loopback_members: members may listen on this machine.
    """

    binds: tuple[tuple[str, int], ...] = (("0.0.0.0", 9090), ("0.0.0.0", 8080))  # noqa: S104
    tls_bind: tuple[str, int] | None = ("0.0.0.0", 8443)  # noqa: S104
    tls_secret: str = "edge-tls"  # noqa: S105
    tls_names: tuple[str, ...] = ("edge-apiserver", "localhost")
    namespace: str = "edge-system"
    jwt_secret: Secret = field(default_factory=lambda: Secret(""))
    issuer: str = "https://edge.example.com"
    token_lifetime_s: float = 24 * 3600
    clients: Mapping[str, Secret] = field(default_factory=default_clients)
    limits: Limits = field(default_factory=Limits)
    request_timeout_s: float = 30.0
    drain_s: float = 5.0
    loopback_members: bool = False
