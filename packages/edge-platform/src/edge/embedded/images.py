"""The platform's images, built from the recipes in `images/<name>/image.toml` into OCI archives."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.embedded import keyed, layers, ociimage, places
from edge.embedded.ociimage import Config
from edge.embedded.steps import Progress

_EDITION = 1
_KEPT = 4  # archives of one image: this checkout's, another's, and what either had before


@dataclass(frozen=True, slots=True)
class Image:
    """A recipe: `names` are all references under which the image is known, the first is the main one."""

    folder: Path
    names: Sequence[str]
    config: Config
    layers: Sequence[layers.Recipe]
    later: bool

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True, slots=True)
class Archives:
    """By main image name: what a cluster starts with, and what virtual clusters need afterwards."""

    first: Mapping[str, Path]
    later: Mapping[str, Path]

    def __getitem__(self, name: str) -> Path:
        return {**self.first, **self.later}[name]


class Builder:
    """Builds each image once; recipes may put archives of other images into a layer."""

    def __init__(self, tools: Path, progress: Progress) -> None:
        self._tools = tools
        self._progress = progress
        self._recipes = catalogue()
        self._archives: dict[str, Path] = {}

    def all(self) -> "Archives":
        """Every image, built where missing."""
        return Archives(*(self._archives_of(later=later) for later in (False, True)))

    def archive(self, name: str) -> Path:
        """The archive of one image, by the name of its folder."""
        if name not in self._archives:
            self._archives[name] = self._build(self._recipes[name])
        return self._archives[name]

    def _archives_of(self, *, later: bool) -> Mapping[str, Path]:
        chosen = (image for image in self._recipes.values() if image.later == later)
        return {image.names[0]: self.archive(image.name) for image in chosen}

    def _build(self, image: Image) -> Path:
        sources = layers.Sources(self._tools, image.folder, self.archive, self._progress)
        made = [layers.build(recipe, sources) for recipe in image.layers]
        config = {slot: getattr(image.config, slot) for slot in Config.__dataclass_fields__}
        image_key = keyed.key(_EDITION, list(image.names), config, [layer.digest for layer in made])

        def write(draft: Path) -> None:
            ociimage.write_archive(draft / f"{image.name}.oci.tar", image.names, made, image.config)

        return keyed.product("images", image.name, image_key, write, keep=_KEPT) / f"{image.name}.oci.tar"


def catalogue(root: Path | None = None) -> dict[str, Image]:
    """All recipes by the name of their folder."""
    root = root or places.checkout() / "images"
    return {file.parent.name: _read(file) for file in sorted(root.glob("*/image.toml"))}


def _read(file: Path) -> Image:
    table = tomllib.loads(file.read_text())
    config = Config(
        entrypoint=table.get("entrypoint", []),
        cmd=table.get("cmd", []),
        env=table.get("env", []),
        user=table.get("user", ""),
        workdir=table.get("workdir", "/"),
        labels={"org.opencontainers.image.licenses": "Apache-2.0", **table.get("labels", {})},
    )
    return Image(file.parent, table["names"], config, table["layer"], table.get("later", False))
