"""The repository index: built from cached blocks of text, one a chart version, so that one upload among a
thousand versions costs milliseconds (dumping the whole of it as YAML took 2.4 s)."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec

from edge.museum.chart import Chart
from edge.museum.storage import Stamp
from edge_sdk.semver import parse

_PLAIN_NAME = re.compile(r"^[a-zA-Z][a-zA-Z0-9-]*[a-zA-Z0-9]$")
_PLAIN_VERSION = re.compile(r"^\d+\.\d+\.\d+(-[a-zA-Z0-9.-]+)?$")
_NOT_PRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "nan", "inf"}


class ChartVersion(msgspec.Struct, frozen=True):
    """One archive: what the API shows of it, and its block of the index."""

    stamp: Stamp
    filename: str
    document: Mapping[str, Any]
    block: str

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def version(self) -> str:
        return str(self.document["version"])


def chart_version(chart: Chart, archive: bytes, stamp: Stamp, filename: str, url: str) -> ChartVersion:
    """url: address of the archive as the index gives it, relative to the index or absolute."""
    created = datetime.fromtimestamp(stamp.mtime_ns / 1e9, UTC).isoformat(timespec="microseconds")
    document = {
        **{key: value for key, value in chart.metadata.items() if value not in (None, "", [], {})},
        "urls": [url],
        "created": created.replace("+00:00", "Z"),
        "digest": hashlib.sha256(archive).hexdigest(),
    }
    return ChartVersion(stamp, filename, document, _block(document))


class Index:
    """An immutable index of one repository; `etag` and both encodings are made once, when asked for."""

    def __init__(self, versions: Iterable[ChartVersion] = (), *, as_json: bool = False) -> None:
        charts: dict[str, list[ChartVersion]] = {}
        for version in versions:
            charts.setdefault(version.name, []).append(version)
        for group in charts.values():
            group.sort(key=lambda v: v.filename)  # equal precedence: a fixed order
            group.sort(key=lambda v: parse(v.version), reverse=True)
        self._charts = {name: tuple(charts[name]) for name in sorted(charts)}
        self._as_json = as_json

    @property
    def charts(self) -> Mapping[str, Sequence[ChartVersion]]:
        """chart name → versions, newest first; sorted by name."""
        return self._charts

    @property
    def version_count(self) -> int:
        return sum(map(len, self._charts.values()))

    @cached_property
    def body(self) -> bytes:
        newest = max((v.stamp.mtime_ns for group in self._charts.values() for v in group), default=0)
        generated = (
            datetime.fromtimestamp(newest / 1e9, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        )
        if self._as_json:
            entries = {name: [v.document for v in group] for name, group in self._charts.items()}
            return json.dumps(
                {"apiVersion": "v1", "entries": entries, "generated": generated, "serverInfo": {}}
            ).encode()
        lines = ["apiVersion: v1\nentries:" + ("\n" if self._charts else " {}\n")]
        for name, group in self._charts.items():
            lines.append(f"  {_scalar(name)}:\n")
            lines.extend(version.block for version in group)
        lines.append(f'generated: "{generated}"\nserverInfo: {{}}\n')
        return "".join(lines).encode()

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.body, 6, mtime=0)

    @cached_property
    def etag(self) -> str:
        return f'"sha256:{hashlib.sha256(self.body).hexdigest()}"'


def _block(document: Mapping[str, Any]) -> str:
    """A list item of the index: block style outside, JSON (which is YAML) for nested values.

    Texts are quoted but for names and versions that no YAML reader takes for something else: YAML 1.1
    readers take `1e3` and `no` for a number and a boolean.
    """
    lines = [f"{key}: {_scalar(document[key])}" for key in sorted(document)]
    return "  - " + "\n    ".join(lines) + "\n"


def _scalar(value: object) -> str:
    if isinstance(value, str) and (
        (_PLAIN_NAME.match(value) and value.lower() not in _RESERVED) or _PLAIN_VERSION.match(value)
    ):
        return value
    text = json.dumps(value, ensure_ascii=False)
    # An emoji as a pair of \u escapes is JSON but no YAML; and YAML wants more characters escaped.
    return _NOT_PRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
