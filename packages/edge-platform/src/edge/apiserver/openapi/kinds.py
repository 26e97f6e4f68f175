"""Operations of the platform's kinds, made from their declarations: list, get, create, and so on."""

from collections.abc import Iterator
from typing import Any, Final

from edge.apiserver.openapi.operation import Operation, Param
from edge_kube.crd import declaration_of
from edge_kube.meta import Kind, Resource, kind_of

MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
PATCHES: Final = (MERGE, APPLY, "application/json-patch+json")

WRITE_REFUSES: Final = (409, 413, 415, 422)
DRY_RUN: Final = Param("dryRun", "All: judged and answered, and not stored.")
FIELD_MANAGER: Final = Param("fieldManager", "Who sets the fields; needed for an apply patch.")
FORCE: Final = Param("force", "An apply patch takes fields over from other managers.", bool)
SELECTING: Final = (
    Param("labelSelector", "Kubernetes label selector: key=value, key!=value, key in (a,b), key, !key."),
    Param("fieldSelector", "metadata.name=NAME and metadata.namespace=NAMESPACE."),
)
LISTING: Final = (
    SELECTING[0],
    Param("fieldSelector", "metadata.name, metadata.namespace and plain fields of columns, with = or !=."),
    Param("q", "Text in the name or the display name."),
    Param("limit", "Objects in a page; 0 is all.", int),
    Param("continue", "Token of the page before, for the next one."),
    Param("page", "Page by number from 1, instead of continue.", int),
    Param(
        "sort",
        "Ids of columns, with commas; a minus for the other direction. Also creationTime, displayName.",
    ),
    Param("sortBy", "One column, instead of sort."),
    Param("ascending", "false turns sortBy round."),
    Param("watch", "Answer with changes as they come, a JSON object a line.", bool),
    Param("resourceVersion", "A watch begins after this version."),
)


def operations(cls: type[Resource]) -> Iterator[Operation]:
    """All that can be done with objects of a kind."""
    kind = kind_of(cls)
    declared = declaration_of(cls)
    whole = base_path(kind)
    inside = (
        f"{whole.rpartition('/')[0]}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else whole
    )
    name, tag = id_of(kind), tag_of(kind)
    if kind.namespaced:
        yield Operation(
            "GET", whole, f"List {kind.kind} objects of all namespaces", tag, name=f"listAll{name}",
            answer=listed(cls), params=LISTING, extra=_extra(kind, "list"), refuses=(410,),
        )  # fmt: skip
    yield Operation(
        "GET", inside, f"List {kind.kind} objects", tag, name=f"list{name}", answer=listed(cls),
        params=LISTING, extra=_extra(kind, "list"), refuses=(410,),
    )  # fmt: skip
    yield Operation(
        "POST", inside, f"Create a {kind.kind}", tag, name=f"create{name}", answer=cls, body=cls,
        params=(DRY_RUN, FIELD_MANAGER), status=201, extra=_extra(kind, "create"),
        refuses=WRITE_REFUSES,
    )  # fmt: skip
    yield Operation(
        "DELETE", inside, f"Delete {kind.kind} objects", tag, name=f"deleteAll{name}", answer=Any,
        params=(*SELECTING, DRY_RUN), extra=_extra(kind, "deletecollection"), refuses=(409, 422),
    )  # fmt: skip
    yield from _of_one(cls, f"{inside}/{{name}}", "", (), tag, name)
    if declared is None or declared.status:
        yield from _of_one(cls, f"{inside}/{{name}}/status", "Status", ("DELETE",), tag, name)


def _of_one(
    cls: type[Resource], path: str, what: str, without: tuple[str, ...], tag: str, name: str
) -> Iterator[Operation]:
    kind = kind_of(cls)
    of = f"the {what.lower()} of a {kind.kind}" if what else f"a {kind.kind}"
    id_ = f"{name}{what}"
    yield Operation(
        "GET", path, f"Get {of}", tag, name=f"get{id_}", answer=cls, extra=_extra(kind, f"get{what}")
    )
    yield Operation(
        "PUT", path, f"Replace {of}", tag, name=f"replace{id_}", answer=cls, body=cls,
        params=(DRY_RUN, FIELD_MANAGER), extra=_extra(kind, f"replace{what}"), refuses=WRITE_REFUSES,
    )  # fmt: skip
    yield Operation(
        "PATCH", path, f"Change {of}", tag, name=f"patch{id_}", answer=cls, body=Any, body_as=PATCHES,
        params=(DRY_RUN, FIELD_MANAGER, FORCE), extra=_extra(kind, f"patch{what}"), refuses=WRITE_REFUSES,
    )  # fmt: skip
    if "DELETE" not in without:
        yield Operation(
            "DELETE", path, f"Delete {of}", tag, name=f"delete{id_}", answer=Any,
            params=(DRY_RUN,), extra=_extra(kind, "delete"), refuses=(409, 422),
        )  # fmt: skip


def base_path(kind: Kind) -> str:
    """Where the kind is in the gateway's resource API."""
    return f"/oapis/{kind.group or 'core'}/{kind.version}/{kind.plural}"


def id_of(kind: Kind) -> str:
    """ImageRepository and RegistryRepository: two groups have a kind Repository."""
    if kind.kind == "Repository":
        return f"{kind.group.partition('.')[0].capitalize()}{kind.kind}"
    return kind.kind


def tag_of(kind: Kind) -> str:
    return kind.group.partition(".")[0] or "core"


def listed(cls: type[Resource]) -> "Listed":
    return Listed(cls)


class Listed:
    """Stands for the list of a kind in an operation's `answer`."""

    def __init__(self, cls: type[Resource]) -> None:
        self.cls = cls

    @property
    def name(self) -> str:
        return f"{self.cls.__name__}List"


def _extra(kind: Kind, verb: str) -> dict[str, Any]:
    return {"x-edge-kind": id_of(kind), "x-edge-verb": verb}


def described(cls: type[Resource]) -> dict[str, Any]:
    """What a client has to know of a kind beside its fields, as x-edge-kind of its schema."""
    kind, declared = kind_of(cls), declaration_of(cls)
    found: dict[str, Any] = {
        "group": kind.group,
        "version": kind.version,
        "kind": kind.kind,
        "plural": kind.plural,
        "namespaced": kind.namespaced,
        "path": base_path(kind),
    }
    if declared is not None and declared.short_names:
        found["shortNames"] = list(declared.short_names)
    if declared is not None:
        found["columns"] = [
            {"name": one.name, "path": one.json_path, "type": one.type, "wide": one.priority > 0}
            for one in declared.columns
        ]
    return found
