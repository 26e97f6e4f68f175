"""From the word for a kind to where its objects are: the platform's by heart, others asked of the gateway."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from edge.cli.gateway import CommandError
from edge_sdk.client import EdgeClient
from edge_sdk.client.kindinfo import ColumnInfo, KindInfo
from edge_sdk.client.kinds import KINDS

DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Place(NamedTuple):
    """A kind and the path of its group. columns None: the API server makes the table."""

    kind: str
    plural: str
    group: str
    namespaced: bool
    base: str
    columns: tuple[ColumnInfo, ...] | None

    def path(self, namespace: str = "", name: str = "") -> str:
        parts = [*(("namespaces", namespace) if namespace and self.namespaced else ()), self.plural]
        return "/".join([self.base, *(quote(part, safe="") for part in [*parts, *((name,) if name else ())])])

    def named(self, name: str) -> str:
        """As `-o name` prints it."""
        return f"{self.plural}{'.' if self.group else ''}{self.group}/{name}"


def known(word: str) -> Place | None:
    """A kind of the platform's own by plural, singular, short name or PLURAL.GROUP. Raises CommandError."""
    found = [one for one in KINDS if word.lower() in _words(one)]
    if len(found) > 1:
        full = ", ".join(f"{one.plural}.{one.group}" for one in found)
        raise CommandError(f'"{word}" can be one of several kinds: write {full}.', 2)
    return _platform(found[0]) if found else None


def words() -> Iterator[str]:
    """Of the platform's kinds, as completion offers them."""
    for one in KINDS:
        twice = sum(other.plural == one.plural for other in KINDS) > 1
        yield f"{one.plural}.{one.group}" if twice else one.plural


async def find(edge: EdgeClient, word: str, cluster: str = "") -> Place:
    """Raises CommandError for what is no kind, CallError."""
    place = None if cluster else known(word)
    if place is None:
        async for one, names in _discovered(edge, cluster):
            if word.lower() in names:
                return one
    if place is None:
        raise CommandError(
            f'There is no kind "{word}". Known here: {", ".join(words())}, and those of Kubernetes.', 2
        )
    return place


async def of_manifest(edge: EdgeClient, obj: dict[str, Any], cluster: str = "") -> Place:
    """Raises CommandError, CallError."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    kind = str(obj.get("kind", ""))
    for one in KINDS if not cluster else ():
        if (one.group, one.version, one.kind) == (group, version, kind):
            return _platform(one)
    async for one, _ in _discovered(edge, cluster):
        if one.kind == kind and one.base.endswith(f"/apis/{group}/{version}" if group else f"/api/{version}"):
            return one
    raise CommandError(f'There is no kind "{kind}" in {obj.get("apiVersion") or "no apiVersion"} here.', 2)


def _platform(one: KindInfo) -> Place:
    base = f"/oapis/{one.group or 'core'}/{one.version}"
    return Place(one.kind, one.plural, one.group, one.namespaced, base, one.columns)


def _words(one: KindInfo) -> set[str]:
    return {one.plural, one.kind.lower(), *one.short_names, f"{one.plural}.{one.group}"}


async def _discovered(edge: EdgeClient, cluster: str) -> AsyncIterator[tuple[Place, set[str]]]:
    root = f"/clusters/{quote(cluster, safe='')}" if cluster else ""
    for path in ("/api", "/apis"):
        found = await edge.call("GET", f"{root}{path}", dict[str, Any], headers={"Accept": DISCOVERY})
        for group in found.get("items", ()):
            name = str(group.get("metadata", {}).get("name", ""))
            for version in group.get("versions", ()):
                base = (
                    f"{root}{path}/{name}/{version['version']}"
                    if name
                    else f"{root}{path}/{version['version']}"
                )
                for one in version.get("resources", ()):
                    yield _native(one, name, base), _native_words(one, name)


def _native(one: dict[str, Any], group: str, base: str) -> Place:
    kind = str(one.get("responseKind", {}).get("kind", ""))
    return Place(kind, str(one["resource"]), group, one.get("scope") == "Namespaced", base, None)


def _native_words(one: dict[str, Any], group: str) -> set[str]:
    plural = str(one["resource"])
    singular = str(one.get("singularResource", ""))
    return {plural, singular or plural, *one.get("shortNames", ()), f"{plural}.{group}" if group else plural}
