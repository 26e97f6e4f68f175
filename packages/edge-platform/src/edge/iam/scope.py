"""Where a right holds: the key of a scope, and how people write it. Pure.

A key always names the cluster, so that equal names in two clusters are two scopes (S5):

    p                       the platform            c/<cluster>              a cluster
    a                       everyone (anonymous)    w/<cluster>/<workspace>  a workspace
    n/<cluster>/<name>      a namespace             g/<cluster>/<group>      a node group
    d/<cluster>/<name>      a node                  x/<type>/<cluster>/<name> a type from a ScopePattern

Source: I1, I4; design authorization-and-gateway §2.
"""

from collections.abc import Collection, Mapping
from typing import Final

HOST: Final = "host"
PLATFORM: Final = "p"
ANONYMOUS: Final = "a"
ANONYMOUS_WORD: Final = "anonymous"
HOST_SCOPE: Final = "c/host"

LETTERS: Final[Mapping[str, str]] = {
    "platform": "p",
    "cluster": "c",
    "workspace": "w",
    "nodegroup": "g",
    "namespace": "n",
    "node": "d",
}
WORDS: Final[Mapping[str, str]] = {letter: word for word, letter in LETTERS.items()}

# What a role of a scope type may take in: its own type and what lies below it. Workspace and node group are
# parallel views: neither reaches into the other.
HOLDS: Final[Mapping[str, frozenset[str]]] = {
    "platform": frozenset({"platform", "cluster", "workspace", "nodegroup", "namespace", "node"}),
    "cluster": frozenset({"cluster", "workspace", "nodegroup", "namespace", "node"}),
    "workspace": frozenset({"workspace", "namespace"}),
    "nodegroup": frozenset({"nodegroup", "node"}),
    "namespace": frozenset({"namespace"}),
    "node": frozenset({"node"}),
}

SYSTEM_WORKSPACE: Final = "system-workspace"
SYSTEM_NAMESPACES: Final = frozenset(
    {"kube-system", "kube-public", "kube-node-lease", "edge-system", "observability-system"}
)


def scope_key(
    kind: str, value: str, cluster: str = "", registered: Collection[str] | None = None
) -> str | None:
    """The key of a scope named by type and name, or None for a type nobody knows or a name that is missing.

    registered: types that ScopePatterns have added; None takes any word for a type (the graph of scopes then
    decides whether it counts). A platform scope needs the name `global`.
    """
    cluster = cluster or HOST
    if kind == "platform":
        return PLATFORM if value == "global" else None
    if not kind or not value or "/" in value or "/" in cluster:
        return None
    if kind == "cluster":
        return f"c/{value}"
    letter = LETTERS.get(kind)
    if letter is not None:
        return f"{letter}/{cluster}/{value}"
    return f"x/{kind}/{cluster}/{value}" if registered is None or kind in registered else None


def parse_scope(text: str, registered: Collection[str] = ()) -> str | None:
    """The key of a scope as people write it: platform, cluster/C, namespace/N, cluster/C/namespace/N.

    Without a cluster the host is meant. None when the text names no scope.
    """
    if text == "platform":
        return PLATFORM
    parts = text.split("/")
    if not all(parts):
        return None
    if len(parts) == 2:
        return None if parts[0] == "platform" else scope_key(parts[0], parts[1], HOST, registered)
    if len(parts) == 4 and parts[0] == "cluster" and parts[2] not in ("cluster", "platform"):
        return scope_key(parts[2], parts[3], parts[1], registered)
    return None


def scope_text(key: str) -> str:
    """A scope as people write it; the inverse of `parse_scope` (the host is left out)."""
    if key == PLATFORM:
        return "platform"
    if key == ANONYMOUS:
        return ANONYMOUS_WORD
    letter, *rest = key.split("/")
    if letter == "c":
        return f"cluster/{rest[0]}"
    kind, cluster, name = rest if letter == "x" else (WORDS[letter], rest[0], rest[1])
    return f"{kind}/{name}" if cluster == HOST else f"cluster/{cluster}/{kind}/{name}"


def kind_of_scope(key: str) -> str:
    """The scope type of a key: platform, cluster, …; a registered type by its own name."""
    if key.startswith("x/"):
        return key.split("/", 2)[1]
    return WORDS.get(key[0], ANONYMOUS_WORD)


def cluster_of_scope(key: str) -> str:
    """The cluster that a scope lies in; the host for the platform."""
    parts = key.split("/")
    if len(parts) == 1:
        return HOST
    return parts[2] if parts[0] == "x" else parts[1]


def name_of_scope(key: str) -> str:
    """The name of the scope's object; "global" for the platform."""
    return key.rsplit("/", 1)[1] if "/" in key else "global"


def workspace_of(namespace: str, label: str) -> str:
    """The workspace that a namespace's label puts it in, or "".

    A label on a system namespace counts only for the system workspace: whoever can write the label must not
    take the cluster's own namespaces into a tenant (S8).
    """
    system = namespace in SYSTEM_NAMESPACES or namespace.startswith("kube-")
    return "" if system and label != SYSTEM_WORKSPACE else label
