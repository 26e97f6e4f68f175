"""What a sink can be told (G6): `edge-audit --audit.folder=/var/lib/edge/audit`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from edge.apiserver.configuration.settings import AuditSettings, LogSettings
from edge_sdk.settings import Section, Settings, load, setting


class SinkSettings(Section):
    port: Annotated[int, setting(env="PORT", ge=0, le=65535)] = 9443
    host: str = "0.0.0.0"  # noqa: S104 - gateways are on other nodes
    namespace: Annotated[str, setting(env="POD_NAMESPACE")] = "edge-system"
    kubeconfig: Annotated[str, setting("Empty: the cluster this pod runs in.", env="KUBECONFIG")] = ""
    names: Annotated[tuple[str, ...], setting("DNS names of the certificate.")] = (
        "*.edge-audit.edge-system.svc",
        "localhost",
    )
    peers: Annotated[tuple[str, ...], setting("The other sinks, as https://HOST:PORT.")] = ()
    address: Annotated[
        str,
        setting("What gateways call it, as https://HOST:PORT; empty: whatever they say.", env="SINK_ADDRESS"),
    ] = ""
    gateways: Annotated[tuple[str, ...], setting("ServiceAccounts of gateways, by full name.")] = (
        "system:serviceaccount:edge-system:edge-apiserver",
    )
    peer_accounts: Annotated[
        tuple[str, ...], setting("ServiceAccounts of sinks, which only read what they missed.")
    ] = ("system:serviceaccount:edge-system:edge-audit",)


SECTIONS: Final[Mapping[str, type[Section]]] = {
    "sink": SinkSettings,
    "audit": AuditSettings,
    "log": LogSettings,
}


def read_sink_settings(
    *, file: Path | None, environ: Mapping[str, str], flags: Mapping[str, str]
) -> Settings:
    """Raises SettingsError that lists all that is wrong."""
    return load(SECTIONS, file=file, environ=environ, flags=flags)
