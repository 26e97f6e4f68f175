"""Charts for tests: packed in memory, no Helm needed to make one."""

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

CONFIGMAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
data:
  colour: {{ .Values.colour | quote }}
  version: {{ .Chart.Version | quote }}
"""


def pack(files: Mapping[str, bytes | str]) -> bytes:
    """path → content, as a .tgz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def chart(
    name: str,
    version: str = "1.0.0",
    *,
    templates: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes | str] | None = None,
    **metadata: Any,
) -> bytes:
    """A small chart; without `templates` it renders one ConfigMap from the value `colour`."""
    about = {
        "apiVersion": "v2",
        "name": name,
        "version": version,
        "description": f"{name} for tests",
        **metadata,
    }
    packed: dict[str, bytes | str] = {
        f"{name}/Chart.yaml": json.dumps(about),
        f"{name}/values.yaml": json.dumps({"colour": "blue"} if values is None else values),
    }
    for path, text in ({"configmap.yaml": CONFIGMAP} if templates is None else templates).items():
        packed[f"{name}/templates/{path}"] = text
    for path, content in (files or {}).items():
        packed[f"{name}/{path}"] = content
    return pack(packed)


def provenance(name: str, version: str) -> bytes:
    return (
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
        f"apiVersion: v2\nname: {name}\nversion: {version}\n\n...\n"
        f"files:\n  {name}-{version}.tgz: sha256:00\n"
        "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
    ).encode()
