"""The platform keeps somebody who may everything on it: the last such binding is not taken away. Pure.

Source: design §6.1 (4).
"""

from edge.iam.index import Binding, Index
from edge.iam.rolebook import Role
from edge.iam.rules import ALL
from edge.iam.scope import PLATFORM


def is_last_admin(index: Index, name: str, new: Binding | None) -> bool:
    """Whether nobody who may everything would be left, were the binding to become `new` (None: gone)."""
    old = index.bindings.get(name)
    if old is None or not _gives_all(index, old):
        return False
    if new is not None and _gives_all(index, new):
        return False
    others = (index.bindings[one] for one in index.by_scope.get(PLATFORM, ()) if one != name)
    return not any(_gives_all(index, one) for one in others)


def _gives_all(index: Index, binding: Binding) -> bool:
    """Whether it gives every right on the platform to a user who may act."""
    if binding.scope != PLATFORM:
        return False
    role = index.role_of(binding)
    return role is not None and _is_everything(role) and any(_acts(index, one) for one in binding.subjects)


def _is_everything(role: Role) -> bool:
    return any(table.match(("*", "*")).verbs == ALL for table in role.tables())


def _acts(index: Index, subject: str) -> bool:
    kind, _, name = subject.partition(":")
    if kind == "User":
        return name in index.users
    return any(name in groups for groups in index.users.values())
