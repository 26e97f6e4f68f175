"""How to reach one API server: address, trust, credentials; from a kubeconfig or from inside a pod.

Files that a connection names (token, CA, client certificate) are read again when they change, so that a
rotated credential is used without a restart. Exec plug-ins and auth providers are refused: a kubeconfig is
data, never a program. A kubeconfig given as content may not name files either, since whoever wrote it (a
member cluster's admin) must not read this machine's files through us (M4).
"""

import base64
import binascii
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import yaml

from edge_kube.errors import KubeError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(KubeError):
    """A kubeconfig cannot be used; the message says which part, why, and what would do."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One API server as one user. Content and file exclude each other; a file wins and is re-read.

    server: URL with http or https. server_name: name expected in the certificate; the URL's host when empty.
    namespace: the context's, for callers that want a default.
    """

    server: str
    ca: bytes = b""
    ca_file: str = ""
    insecure: bool = False
    server_name: str = ""
    cert: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    cert_file: str = ""
    key_file: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    basic: tuple[str, str] | None = field(default=None, repr=False)
    namespace: str = ""

    def bearer_token(self) -> str:
        """The token of this moment; "" without one. Raises OSError when its file cannot be read."""
        return Path(self.token_file).read_text().strip() if self.token_file else self.token

    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Changes when a file behind the TLS settings does. A missing file counts as unchanged emptiness."""
        return tuple(_stamp(path) for path in (self.ca_file, self.cert_file, self.key_file) if path)

    def ssl_context(self) -> ssl.SSLContext | None:
        """A context that trusts this server's CA only; None for plain http. Raises ConfigError.

        Bare on purpose: `create_default_context` loads the system's CAs, which takes 26 ms of CPU and would
        trust them.
        """
        if urlsplit(self.server).scheme != "https":
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif ca := _content(self.ca, self.ca_file):
            try:
                context.load_verify_locations(cadata=ca.decode("ascii"))
            except (ssl.SSLError, UnicodeDecodeError) as error:
                raise ConfigError(f"the CA of {self.server} is no PEM certificate: {error}") from error
        else:
            context.load_default_certs()
        if cert := _content(self.cert, self.cert_file):
            _load_cert(context, cert, _content(self.key, self.key_file), self.server)
        return context


def _stamp(path: str) -> tuple[str, int, int]:
    try:
        stat = Path(path).stat()
    except OSError:
        return (path, 0, 0)
    return (path, stat.st_mtime_ns, stat.st_size)


def _content(inline: bytes, path: str) -> bytes:
    return Path(path).read_bytes() if path else inline


def _load_cert(context: ssl.SSLContext, cert: bytes, key: bytes, server: str) -> None:
    # OpenSSL reads chains from files only; an anonymous one keeps the private key off the disk.
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(cert + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as error:
        raise ConfigError(
            f"the client certificate for {server} cannot be used ({error.reason or error}); "
            f"certificate and key must be PEM and belong together"
        ) from error
    finally:
        os.close(descriptor)


def in_cluster(root: Path = _SERVICE_ACCOUNT) -> Connection:
    """The connection of a pod's service account. Raises ConfigError outside a pod."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port or not (root / "token").exists():
        raise ConfigError(
            f"not inside a cluster: KUBERNETES_SERVICE_HOST or {root / 'token'} is missing; "
            "give a kubeconfig instead"
        )
    host = f"[{host}]" if ":" in host else host
    namespace = root / "namespace"
    return Connection(
        server=f"https://{host}:{port}",
        ca_file=str(root / "ca.crt"),
        token_file=str(root / "token"),
        namespace=namespace.read_text().strip() if namespace.exists() else "",
    )


def load_kubeconfig(source: str | Path | bytes | Mapping[str, Any], context: str = "") -> Connection:
    """The connection of a kubeconfig: a path, its content as bytes, or the parsed mapping.

    context: the current one when empty. Only a path may name further files. Raises ConfigError.
    """
    folder: Path | None = None
    if isinstance(source, str | Path):
        path = Path(source)
        folder = path.resolve().parent
        try:
            parsed = _parse(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"kubeconfig {path} cannot be read: {error.strerror}") from error
    else:
        parsed = _parse(source) if isinstance(source, bytes) else dict(source)
    chosen = context or _text(parsed, "current-context", "kubeconfig")
    if not chosen:
        raise ConfigError("the kubeconfig has no current-context; set one, or name a context")
    names = _named(parsed, "contexts", chosen, "context")
    cluster = _named(parsed, "clusters", _text(names, "cluster", f"context {chosen}"), "cluster")
    user_name = _text(names, "user", f"context {chosen}")
    user: Mapping[str, Any] = _named(parsed, "users", user_name, "user") if user_name else {}
    return _connection(cluster, user, _text(names, "namespace", f"context {chosen}"), folder)


def _parse(content: bytes) -> Mapping[str, Any]:
    try:
        parsed: object = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # The parser quotes the text round the fault, which may be a key: only the place is told.
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"the kubeconfig is no valid YAML{where}") from None
    if not isinstance(parsed, dict):
        raise ConfigError(
            f"the kubeconfig is a {type(parsed).__name__}, not a mapping with clusters, users and contexts"
        )
    return cast("Mapping[str, Any]", parsed)


def _text(mapping: Mapping[str, Any], name: str, where: str) -> str:
    value = mapping.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{name} of the {where} is a {type(value).__name__}, not a string")
    return value


def _named(config: Mapping[str, Any], section: str, name: str, inner: str) -> Mapping[str, Any]:
    entries = config.get(section)
    listed = cast("list[Any]", entries) if isinstance(entries, list) else []
    known: list[str] = []
    for entry in listed:
        if not isinstance(entry, dict):
            continue
        item = cast("dict[str, Any]", entry)
        known.append(str(item.get("name")))
        if item.get("name") == name:
            body = item.get(inner)
            return cast("Mapping[str, Any]", body) if isinstance(body, dict) else {}
    raise ConfigError(
        f'the kubeconfig has no entry "{name}" in {section}; it has {", ".join(known) or "none"}'
    )


def _connection(
    cluster: Mapping[str, Any], user: Mapping[str, Any], namespace: str, folder: Path | None
) -> Connection:
    for plugin in ("exec", "auth-provider"):
        if user.get(plugin):
            raise ConfigError(
                f"the kubeconfig's user runs a program ({plugin}), which is not allowed here; "
                "use a token or a client certificate"
            )
    server = _text(cluster, "server", "cluster").rstrip("/")
    _check_server(server)
    if _text(cluster, "proxy-url", "cluster"):
        raise ConfigError(
            "proxy-url in a kubeconfig is not supported; give an address that is reachable directly"
        )
    ca, ca_file = _data_or_file(cluster, "certificate-authority", folder)
    cert, cert_file = _data_or_file(user, "client-certificate", folder)
    key, key_file = _data_or_file(user, "client-key", folder)
    _, token_file = _data_or_file({"token": user.get("tokenFile")}, "token", folder)
    username, password = _text(user, "username", "user"), _text(user, "password", "user")
    return Connection(
        server=server,
        ca=ca,
        ca_file=ca_file,
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        server_name=_text(cluster, "tls-server-name", "cluster"),
        cert=cert,
        key=key,
        cert_file=cert_file,
        key_file=key_file,
        token=_text(user, "token", "user"),
        token_file=token_file,
        basic=(username, password) if username else None,
        namespace=namespace,
    )


def _check_server(server: str) -> None:
    """Raises ConfigError, which shows no password that is in it."""
    if "@" in server:
        raise ConfigError(
            "server of the cluster holds a user name or password; give them with the user instead"
        )
    try:
        parts = urlsplit(server)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        known = known and not parts.query and not parts.fragment
    except ValueError:  # a port that there is not, or half an address of IPv6
        known = False
    if not known:
        raise ConfigError(
            f'server of the cluster is "{server}"; it must be a URL such as https://10.0.0.1:6443'
        )


def _data_or_file(source: Mapping[str, Any], name: str, folder: Path | None) -> tuple[bytes, str]:
    if data := _text(source, f"{name}-data", "kubeconfig"):
        try:
            return base64.b64decode(data, validate=True), ""
        except binascii.Error:
            raise ConfigError(f"{name}-data of the kubeconfig is no base64") from None
    file = _text(source, name, "kubeconfig")
    if not file:
        return b"", ""
    if folder is None:
        raise ConfigError(
            f"the kubeconfig names the file {file} for {name}; put its content into {name}-data instead "
            "(kubectl config view --flatten --minify)"
        )
    return b"", str(folder / file)
