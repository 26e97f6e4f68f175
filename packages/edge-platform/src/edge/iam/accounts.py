"""Decisions about user accounts that are no reconcile. Pure."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from edge.iam.types import LoginRecord, User
from edge_sdk.scopes import GROUP_PREFIX, SCOPE_ADMINS_GROUP

DISABLED: Final = "Disabled"
ACTIVE: Final = "Active"

MUST_CHANGE_ANNOTATION: Final = "iam.theriseunion.io/must-change-password"
PASSWORD_CHANGED_ANNOTATION: Final = "iam.theriseunion.io/last-password-change-time"  # noqa: S105
USER_LABEL: Final = "iam.theriseunion.io/user"

RECORDS_KEPT_S: Final = 90 * 86_400.0
RECORDS_OF_A_USER: Final = 1000
RECORDS_OF_NOBODY: Final = 10_000
"""Of names that nobody has: a spray over many names is one picture."""


def groups_behind(groups: Iterable[str]) -> tuple[str, ...]:
    """Groups that an API server states, as the platform calls them: where the gateway acts for a user, a
    group of the platform carries a prefix (decision 008). What the gateway adds itself is none of them."""
    own = (group for group in groups if group != SCOPE_ADMINS_GROUP)
    return tuple(group.removeprefix(GROUP_PREFIX) for group in own)


_ACCOUNT = re.compile(
    r"system:serviceaccount:[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?:[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
)


def is_service_account(name: str) -> bool:
    """Whether a user is the one that Kubernetes makes of a service account."""
    return _ACCOUNT.fullmatch(name) is not None


_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def is_disabled(user: User) -> bool:
    return user.status.state == DISABLED or bool(user.metadata.deletion_timestamp)


def must_change_password(user: User) -> bool:
    """Whether somebody else chose the password: then it lets read, and change it, nothing more (I16)."""
    return user.metadata.annotations.get(MUST_CHANGE_ANNOTATION) == "true"


def user_label(name: str) -> dict[str, str]:
    """The label that ties a record to a user, where the name can be a label's value."""
    return {USER_LABEL: name} if _LABEL_VALUE.fullmatch(name) else {}


def records_too_many(records: Iterable[LoginRecord], user: str) -> tuple[LoginRecord, ...]:
    """The oldest of a user's records, beyond as many as are kept. user "": of names that nobody has."""
    limit = RECORDS_OF_A_USER if user else RECORDS_OF_NOBODY
    found = sorted(records, key=lambda one: (one.metadata.creation_timestamp, one.metadata.name))
    return tuple(found[: max(0, len(found) - limit)])


def record_due_in_s(record: LoginRecord, now_s: float) -> float:
    """Seconds until a sign-in record may go; 0 or less when it is time. One without a time stays."""
    try:
        made = datetime.fromisoformat(record.metadata.creation_timestamp)
    except ValueError:
        return RECORDS_KEPT_S
    return made.timestamp() + RECORDS_KEPT_S - now_s
