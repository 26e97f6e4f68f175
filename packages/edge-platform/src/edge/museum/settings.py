"""Settings of the museum: ChartMuseum's environment variables, read once at start (K11)."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

MAX_UPLOAD_SIZE_BYTES = 20 * 1024 * 1024
PRELOADED = "/usr/share/edge-museum/charts"

_TRUE = {"1", "t", "true", "yes", "on"}
_FALSE = {"", "0", "f", "false", "no", "off"}

UNSUPPORTED = (
    "CACHE", "CACHE_REDIS_ADDR", "CACHE_REDIS_PASSWORD", "CACHE_REDIS_DB", "BEARER_AUTH",
    "STORAGE_AMAZON_BUCKET", "STORAGE_GOOGLE_BUCKET", "STORAGE_MICROSOFT_CONTAINER", "STORAGE_ALIBABA_BUCKET",
    "STORAGE_OPENSTACK_CONTAINER", "STORAGE_ORACLE_BUCKET", "STORAGE_BAIDU_BUCKET",
    "STORAGE_ETCD_ENDPOINT", "STORAGE_TENCENT_BUCKET", "STORAGE_NETEASE_BUCKET",
)  # fmt: skip
"""Of upstream's settings, those that would change where charts lie or who may read them, and that this
server does not have. Passing over them in silence would lose charts or open a door, so it does not start."""


class BadSetting(Exception):
    """A setting cannot be honoured; the message names it, its value and what is accepted."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Names as in the environment, in lower case; times in seconds, sizes in bytes, 0 = no limit."""

    port: int = 8080
    listen_host: str = "0.0.0.0"  # noqa: S104 a service in a pod
    storage: str = "local"
    storage_local_rootdir: Path = Path("/charts")
    storage_preloaded_rootdir: Path = Path(PRELOADED)
    disable_api: bool = False
    disable_delete: bool = False
    allow_overwrite: bool = False
    disable_force_overwrite: bool = False
    chart_url: str = ""
    context_path: str = ""
    depth: int = 0
    depth_dynamic: bool = False
    basic_auth_user: str = ""
    basic_auth_pass: str = ""
    auth_anonymous_get: bool = False
    auth_realm: str = "edge-museum"
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca_cert: str = ""
    max_upload_size: int = MAX_UPLOAD_SIZE_BYTES
    max_storage_objects: int = 0
    per_chart_limit: int = 0
    gen_index: bool = False
    json_index: bool = False
    enable_metrics: bool = False
    artifact_hub_repo_id: str = ""
    log_json: bool = True
    log_health: bool = False
    debug: bool = False
    read_timeout: int = 30
    write_timeout: int = 30
    cors_alloworigin: str = ""
    chart_post_form_field_name: str = "chart"
    prov_post_form_field_name: str = "prov"

    def __post_init__(self) -> None:
        if self.storage != "local":
            raise BadSetting(
                f'STORAGE is "{self.storage}", but this museum stores on a volume only. Set STORAGE=local, '
                "or use the upstream image, which reads the same settings."
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise BadSetting("TLS_CERT and TLS_KEY belong together; set both or neither.")
        if bool(self.basic_auth_user) != bool(self.basic_auth_pass):
            raise BadSetting("BASIC_AUTH_USER and BASIC_AUTH_PASS belong together; set both or neither.")


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read what upstream's image reads, and EDGE_MUSEUM_PRELOADED; raises BadSetting."""
    for name in UNSUPPORTED:
        if environment.get(name, "").strip().lower() not in _FALSE:
            raise BadSetting(f"{name} is set, but this museum does not support it. Unset it.")
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(Settings):
        name = _environment_name(field.name)
        if name in environment:
            values[field.name] = _read(name, environment[name], field.type)
    if environment.get("DISABLE_METRICS", "").strip().lower() in _TRUE:
        values["enable_metrics"] = False
    if "context_path" in values:  # "/" is what the documented chart sets and means "none"
        path = str(values["context_path"]).strip("/")
        values["context_path"] = f"/{path}" if path else ""
    return Settings(**values)  # pyright: ignore[reportArgumentType] each value was read as its field's type


def _environment_name(field: str) -> str:
    return {"storage_preloaded_rootdir": "EDGE_MUSEUM_PRELOADED"}.get(field, field.upper())


def _read(name: str, text: str, kind: object) -> object:
    if kind is bool:
        lowered = text.strip().lower()
        if lowered in _TRUE or lowered in _FALSE:
            return lowered in _TRUE
        raise BadSetting(f'{name} is "{text}"; accepted are true and false.')
    if kind is int:
        if re.fullmatch(r"\s*\d{1,18}\s*", text):
            return int(text)
        raise BadSetting(f'{name} is "{text}"; accepted is a whole number that is not negative.')
    return Path(text) if kind is Path else text
