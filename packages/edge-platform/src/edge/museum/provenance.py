"""Provenance files (`.tgz.prov`): only as much is read as tells which chart they belong to."""

import re

_NAME = re.compile(rb"^name:\s*([^\s]+)\s*$", re.MULTILINE)
_VERSION = re.compile(rb"^version:\s*([^\s]+)\s*$", re.MULTILINE)
_SAFE = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9._+-]*$")
_HEADER = b"-----BEGIN PGP SIGNED MESSAGE-----"


class BadProvenance(Exception):
    """The text is no provenance file."""

    def __init__(self) -> None:
        super().__init__("invalid provenance file")


def provenance_filename(content: bytes) -> str:
    """`name-version.tgz.prov` of the chart that was signed; raises BadProvenance."""
    name, version = _NAME.search(content), _VERSION.search(content)
    if _HEADER not in content or name is None or version is None:
        raise BadProvenance
    stem = f"{name[1].decode('utf-8', 'replace')}-{version[1].decode('utf-8', 'replace')}".replace('"', "")
    if not _SAFE.match(stem) or ".." in stem:
        raise BadProvenance
    return f"{stem}.tgz.prov"
