"""The Kubernetes API of the platform's own cluster and of its members, as far as it can be told in general.

What is there in detail depends on the cluster and its version: /openapi/v3 of each says it.
"""

from collections.abc import Iterator
from typing import Any, Final

from edge.apiserver.openapi.kinds import DRY_RUN, FIELD_MANAGER, FORCE, PATCHES, SELECTING
from edge.apiserver.openapi.operation import Operation, Param

TAG: Final = "kubernetes"
ROOTS: Final = (("", "of the platform's cluster", "Host"), ("/clusters/{cluster}", "of a member", "Member"))
GROUPS: Final = (("/api/v1", "Core"), ("/apis/{group}/{version}", "Group"))
PAGES: Final = (
    *SELECTING,
    Param("limit", "Objects in a page.", int),
    Param("continue", "Token of the page before."),
    Param("watch", "Answer with changes as they come.", bool),
)
WRITE: Final = (DRY_RUN, FIELD_MANAGER)
REFUSES: Final = (405, 406, 409, 413, 415, 422)


def operations() -> Iterator[Operation]:
    for root, where, id_ in ROOTS:
        yield _get(f"{root}/version", f"Version {where}", f"version{id_}")
        yield _get(f"{root}/api", f"Versions of the core group {where}", f"coreVersions{id_}")
        yield _get(f"{root}/apis", f"API groups {where}", f"groups{id_}")
        for group, group_id in GROUPS:
            tail = f"{group_id}{id_}"
            yield _get(f"{root}{group}", f"Resources of a group {where}", f"resources{tail}")
            collection = f"{root}{group}/{{resource}}"
            yield from _collection(collection, f"{where}, of all namespaces or without one", f"All{tail}")
            yield from _object(f"{collection}/{{name}}", where, f"Cluster{tail}")
            inside = f"{root}{group}/namespaces/{{namespace}}/{{resource}}"
            yield from _collection(inside, f"{where}, in a namespace", f"Namespaced{tail}")
            yield from _object(f"{inside}/{{name}}", f"{where}, in a namespace", f"Namespaced{tail}")


def _get(path: str, summary: str, name: str, params: tuple[Param, ...] = ()) -> Operation:
    return Operation("GET", path, summary, TAG, answer=Any, name=name, params=params, refuses=(405, 406, 410))


def _collection(path: str, where: str, tail: str) -> Iterator[Operation]:
    yield _get(path, f"List objects {where}", f"list{tail}", PAGES)
    yield Operation(
        "POST", path, f"Create an object {where}", TAG, answer=Any, body=Any, params=WRITE, status=201,
        name=f"create{tail}", refuses=REFUSES,
    )  # fmt: skip


def _object(path: str, where: str, tail: str) -> Iterator[Operation]:
    yield _get(path, f"Get an object {where}", f"get{tail}")
    yield Operation(
        "PUT", path, f"Replace an object {where}", TAG, answer=Any, body=Any, params=WRITE,
        name=f"replace{tail}", refuses=REFUSES,
    )  # fmt: skip
    yield Operation(
        "PATCH", path, f"Change an object {where}", TAG, answer=Any, body=Any, body_as=PATCHES,
        params=(*WRITE, FORCE), name=f"patch{tail}", refuses=REFUSES,
    )  # fmt: skip
    yield Operation(
        "DELETE", path, f"Delete an object {where}", TAG, answer=Any, params=(DRY_RUN,),
        name=f"delete{tail}", refuses=REFUSES,
    )  # fmt: skip
