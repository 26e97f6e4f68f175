"""A platform of many users and bindings, the same for every engine that is measured (I7; design §13)."""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from edge.iam.index import Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.types import PolicyRule

FULL: Final = ("get", "list", "watch", "create", "update", "patch", "delete")
VERBS: Final = ("get", "list", "update", "delete")
KINDS: Final = [
    ("", "pods"),
    ("", "services"),
    ("", "secrets"),
    ("apps", "deployments"),
    ("", "configmaps"),
    ("app.theriseunion.io", "applicationdeployments"),
    ("", "pods/log"),
    ("batch", "jobs"),
]
ROLES: Final = 40
TEAMS: Final = 200

Ask = tuple[str, str, str, str, str]
"""Who, scope key, verb, group, resource: the arguments of `Index.check`."""


class Population(NamedTuple):
    """How many of each there are; namespaces and users are numbered from 0."""

    users: int
    namespaces: int
    workspaces: int


def rule(verbs: Sequence[str], group: str, resource: str) -> PolicyRule:
    return PolicyRule(verbs=tuple(verbs), api_groups=(group,), resources=(resource,))


def put_roles(index: Index, rnd: random.Random) -> None:
    """Forty roles of five rules for workspaces and for namespaces, one for everything, one for everybody."""
    for kind in ("workspace", "namespace"):
        for n in range(ROLES):
            rules = [rule(FULL if j % 2 else FULL[:3], *pair) for j, pair in enumerate(rnd.sample(KINDS, 5))]
            index.put_role(RoleFacts(f"{kind}-{n}", kind, "", tuple(rules), (f"ui-{n}.view",), None))
    everything = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))
    index.put_role(RoleFacts("admin", "platform", "", (everything,), (), None))
    regular = rule(("get", "list"), "scope.theriseunion.io", "workspaces")
    index.put_role(RoleFacts("regular", "platform", "", (regular,), (), None))


def populate(index: Index, users: int, bindings: int, rnd: random.Random) -> Population:
    """Ten namespaces a workspace; a third of the bindings at workspaces, a tenth for groups of fifty."""
    put_roles(index, rnd)
    workspaces, namespaces = max(10, users // 20), max(50, users // 2)
    teams = min(TEAMS, users // 50)
    for n in range(workspaces):
        index.put_scope(f"w/host/{n}")
    for n in range(namespaces):
        index.put_scope(f"n/host/{n}", (f"w/host/{n % workspaces}",))
    for n in range(users):
        index.put_user(f"user-{n}", (f"team-{n % teams}", f"dept-{n % 20}"))
    index.put_binding(Binding("all", "regular", "p", ("Group:system:authenticated",)))
    index.put_binding(Binding("root", "admin", "p", ("User:user-0",)))
    for n in range(bindings - 2):
        who = f"User:user-{rnd.randrange(users)}" if n % 10 else f"Group:team-{rnd.randrange(teams)}"
        role = rnd.randrange(ROLES)
        if n % 3 == 0:
            binding = Binding(f"b-{n}", f"workspace-{role}", f"w/host/{rnd.randrange(workspaces)}", (who,))
        else:
            binding = Binding(f"b-{n}", f"namespace-{role}", f"n/host/{rnd.randrange(namespaces)}", (who,))
        index.put_binding(binding)
    return Population(users, namespaces, workspaces)


def questions(of: Population, count: int, rnd: random.Random) -> list[Ask]:
    """Each user asks about the same four namespaces again and again."""
    home = [[rnd.randrange(of.namespaces) for _ in range(4)] for _ in range(of.users)]

    def ask(user: int) -> Ask:
        return (
            f"user-{user}", f"n/host/{rnd.choice(home[user])}", rnd.choice(VERBS), *rnd.choice(KINDS)
        )  # fmt: skip

    return [ask(rnd.randrange(of.users)) for _ in range(count)]
