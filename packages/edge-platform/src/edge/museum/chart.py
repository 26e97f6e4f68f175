"""Reading a chart archive that nobody has vouched for: bounded, nothing is unpacked to disk.

A `.tgz` of 20 MB can hold a terabyte of zeroes, paths that climb out of their folder and links to the
host's files; so it is read as a stream with limits, and only two kinds of file are kept in memory.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, cast

import msgspec
import yaml

from edge_sdk.semver import is_strict

MAX_UNPACKED_BYTES = 100 * 1024 * 1024
MAX_FILES = 10_000
MAX_CHART_YAML_BYTES = 1024 * 1024

_NAME = re.compile(r"^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BadChart(Exception):
    """The archive is no chart; the message says which field or file, its value, why, and what is accepted."""


class Chart(msgspec.Struct, frozen=True):
    """metadata: Chart.yaml as it is. files: path below the chart's folder → content, when asked for."""

    metadata: Mapping[str, Any]
    files: Mapping[str, bytes]

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def version(self) -> str:
        return str(self.metadata["version"])

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}.tgz"


def read_chart(archive: bytes, *, keep: tuple[str, ...] = ()) -> Chart:
    """Check an archive and read its Chart.yaml; files whose path starts with one of `keep` are kept too.

    Raises BadChart. Takes milliseconds to some tenths of a second of CPU: call it in a thread.
    """
    files: dict[str, bytes] = {}
    roots: set[str] = set()
    try:
        unpacked = gzip.GzipFile(fileobj=io.BytesIO(archive))
        with unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
            for root, path, content in _members(tar, ("Chart.yaml", *keep)):
                roots.add(root)
                if content is not None and path not in files:
                    files[path] = content
            _read_to_end(unpacked)
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        raise BadChart(
            f"the archive is no gzip-compressed tar file ({error}); make it with `helm package`"
        ) from error
    if len(roots) != 1:
        raise BadChart(
            f"the archive has {len(roots)} top folders ({', '.join(sorted(roots)[:3]) or 'it is empty'}); "
            "a chart has exactly one, named like the chart"
        )
    if "Chart.yaml" not in files:
        raise BadChart("Chart.yaml is missing from the chart's folder")
    metadata = _metadata(files.pop("Chart.yaml") if "Chart.yaml" not in keep else files["Chart.yaml"])
    return Chart(metadata, files)


def _members(tar: tarfile.TarFile, keep: tuple[str, ...]) -> Iterator[tuple[str, str, bytes | None]]:
    """(top folder, path below it, content if kept) of each regular file; refuses what must not be there."""
    unpacked = count = 0
    for member in tar:
        count += 1
        unpacked += max(member.size, 0)
        if count > MAX_FILES or unpacked > MAX_UNPACKED_BYTES:
            raise BadChart(
                f"the chart unpacks to more than {MAX_FILES} files or {MAX_UNPACKED_BYTES // 2**20} MiB"
            )
        name = member.name.removeprefix("./")
        parts = name.split("/")
        if member.name.startswith("/") or "\\" in name or ".." in parts or "\0" in name:
            raise BadChart(f'file "{name[:200]}" leaves the chart\'s folder')
        if member.isdir() or name in ("", "."):
            continue
        if not member.isfile():
            raise BadChart(f'file "{name[:200]}" is a link or a device; a chart holds plain files only')
        if len(parts) < 2:
            raise BadChart(f'file "{name[:200]}" lies outside the chart\'s folder')
        path = "/".join(parts[1:])
        content: bytes | None = None
        if path == "Chart.yaml" and member.size > MAX_CHART_YAML_BYTES:
            raise BadChart(f"Chart.yaml has {member.size} bytes; at most {MAX_CHART_YAML_BYTES} are read")
        if path in keep or any(path.startswith(prefix) for prefix in keep if prefix.endswith("/")):
            source = tar.extractfile(member)
            content = source.read() if source else b""
        yield parts[0], path, content


def _read_to_end(unpacked: gzip.GzipFile) -> None:
    """Only the end of a gzip stream tells that the archive is whole: an upload may have been cut off."""
    left = MAX_UNPACKED_BYTES
    while chunk := unpacked.read(65536):
        left -= len(chunk)
        if left < 0:
            raise BadChart(f"more than {MAX_UNPACKED_BYTES // 2**20} MiB follow the end of the archive")


def _metadata(text: bytes) -> Mapping[str, Any]:
    try:
        loaded: object = yaml.load(text, Loader=_LOADER)  # noqa: S506 the safe loader, in C where there is one
    except (yaml.YAMLError, ValueError) as error:
        raise BadChart(f"Chart.yaml is no YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(loaded, dict):
        raise BadChart("Chart.yaml is no map of fields")
    metadata = cast("dict[str, Any]", _plain(cast("object", loaded)))
    for field in ("apiVersion", "name", "version"):
        if not isinstance(metadata.get(field), str) or not metadata[field]:
            raise BadChart(f"Chart.yaml: {field} is {metadata.get(field)!r}; a text is required")
    if metadata["apiVersion"] not in ("v1", "v2"):
        raise BadChart(f'Chart.yaml: apiVersion is "{metadata["apiVersion"]}"; accepted are v1 and v2')
    if not _NAME.match(metadata["name"]) or len(metadata["name"]) > 250:
        raise BadChart(
            f'Chart.yaml: name is "{metadata["name"][:260]}"; accepted are letters, digits, - . and _'
        )
    if not is_strict(metadata["version"]):
        raise BadChart(
            f'Chart.yaml: version is "{metadata["version"]}"; accepted is a semantic version such as 1.2.3'
        )
    kind = metadata.get("type", "")
    if kind not in ("", None, "application", "library"):
        raise BadChart(f'Chart.yaml: type is "{kind}"; accepted are application and library')
    return metadata


def _plain(value: object) -> object:
    """YAML has dates and keys that are no text; JSON, which Chart.yaml is read as by Helm, has neither."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in cast("dict[object, object]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[object]", value)]
    if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value
    return str(value).encode("utf-8", "replace").decode()  # YAML's "\\ud800" is half a character
