"""Charts packed as Helm packs them, with the same bytes for the same content.

`helm package` writes the current time into the archive; the museum's index and the component
engine compare digests, so an unchanged chart must not look changed.
"""

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import yaml

from edge.embedded import keyed
from edge.embedded.steps import StepError

_EDITION = 1


def packed(root: Path) -> Path:
    """A folder with `<name>-<version>.tgz` of every chart below `root`."""
    folders = sorted(file.parent for file in root.glob("*/Chart.yaml"))
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]

    def make(draft: Path) -> None:
        for folder in folders:
            meta = _meta(folder)
            (draft / f"{meta['name']}-{meta['version']}.tgz").write_bytes(_pack(folder))

    return keyed.product("charts", "packed", keyed.key(_EDITION, keyed.files_key(root, files)), make)


def _pack(folder: Path) -> bytes:
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, content in sorted(_contents(folder, _meta(folder)["name"]).items()):
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _contents(folder: Path, prefix: str) -> dict[str, bytes]:
    """Files of a chart under `prefix`; charts it depends on by `file://` are put in `charts/`."""
    files = {
        f"{prefix}/{file.relative_to(folder)}": file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != ".helmignore"
    }
    for need in _meta(folder).get("dependencies", []):
        if str(need.get("repository", "")).startswith("file://"):
            other = (folder / need["repository"].removeprefix("file://")).resolve()
            files |= _contents(other, f"{prefix}/charts/{_meta(other)['name']}")
    return files


def _meta(folder: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load((folder / "Chart.yaml").read_text())
    except FileNotFoundError as error:
        raise StepError(f"{folder} is named as a dependency of a chart but is none") from error
