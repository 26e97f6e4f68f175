"""OCI image archives without a container tool. Equal input gives equal bytes.

A layer is an uncompressed tar file (unpacking is then a copy); an archive holds any number of
layers under one or several names, and its index comes first, so that its digest is read without
reading the archive.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class File:
    """`source` is a file's path or the content itself; `owner` is both uid and gid."""

    to: str
    source: Path | bytes
    mode: int = 0o644
    owner: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    to: str
    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    to: str
    mode: int = 0o755
    owner: int = 0


Entry = File | Link | Folder


@dataclass(frozen=True, slots=True)
class Layer:
    """`digest` is of the uncompressed tar, as an OCI config wants it."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Config:
    """How a container of the image starts; `user` is `uid:gid`, empty for root."""

    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Sequence[str] = ()
    user: str = ""
    workdir: str = "/"
    labels: dict[str, str] = field(default_factory=dict[str, str])


def write_layer(out: Path, entries: Iterable[Entry]) -> Layer:
    """A tar of `entries` and the folders above them, sorted by path, all with time zero."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        path = entry.to.strip("/")
        by_path[path] = entry
        for parent in PurePosixPath(path).parents:
            if str(parent) != ".":
                by_path.setdefault(str(parent), Folder(str(parent)))
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(by_path, key=lambda p: p.split("/")):
            _add(archive, path, by_path[path])
    return measure(out)


def measure(path: Path) -> Layer:
    """An existing tar file as a layer."""
    with path.open("rb") as file:
        return Layer(path, "sha256:" + hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def write_archive(out: Path, names: Sequence[str], layers: Sequence[Layer], config: Config) -> str:
    """An image of `layers`, known by each of `names`; returns the digest of its manifest."""
    config_blob = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": _container_config(config),
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created_by": "edge images"} for _ in layers],
        }
    )
    manifest_blob = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, _sha(config_blob), len(config_blob)),
            "layers": [_descriptor(_LAYER, layer.digest, layer.size) for layer in layers],
        }
    )
    manifest = _descriptor(_MANIFEST, _sha(manifest_blob), len(manifest_blob))
    manifests = [
        {
            **manifest,
            "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
        }
        for name in names
    ]
    index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests})
    new = out.with_name(out.name + ".new")
    with tarfile.open(new, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "index.json", File("index.json", index))
        _add(archive, "oci-layout", File("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'))
        for blob in (config_blob, manifest_blob):
            _add(archive, _blob_path(_sha(blob)), File("", blob))
        for layer in {layer.digest: layer for layer in layers}.values():
            _add(archive, _blob_path(layer.digest), File("", layer.path))
    new.replace(out)
    return _sha(manifest_blob)


def digest(archive: Path) -> str:
    """The digest of the manifest in an archive that `write_archive` made, and of its names."""
    with tarfile.open(archive, "r|") as file:
        first = file.next()
        if first is None or first.name != "index.json" or (content := file.extractfile(first)) is None:
            raise ValueError(f"{archive} was not written by this module")
        return _sha(content.read())


def _container_config(config: Config) -> dict[str, Any]:
    out: dict[str, Any] = {"Env": [f"PATH={_PATH}", *config.env], "WorkingDir": config.workdir}
    if config.entrypoint:
        out["Entrypoint"] = list(config.entrypoint)
    if config.cmd:
        out["Cmd"] = list(config.cmd)
    if config.user:
        out["User"] = config.user
    if config.labels:
        out["Labels"] = dict(config.labels)
    return out


def _add(archive: tarfile.TarFile, path: str, entry: Entry) -> None:
    info = tarfile.TarInfo(path)
    match entry:
        case Link(target=target):
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
            archive.addfile(info)
        case Folder(mode=mode, owner=owner):
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
            archive.addfile(info)
        case File(source=source, mode=mode, owner=owner):
            info.mode, info.uid, info.gid = mode, owner, owner
            if isinstance(source, bytes):
                _put(archive, info, len(source), io.BytesIO(source))
            else:
                with source.open("rb") as file:
                    _put(archive, info, source.stat().st_size, file)


def _put(archive: tarfile.TarFile, info: tarfile.TarInfo, size: int, content: BinaryIO) -> None:
    info.size = size
    archive.addfile(info, content)


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
