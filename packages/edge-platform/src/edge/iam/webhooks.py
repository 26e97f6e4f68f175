"""Admission of users: a password is stored as its hash, and a bad one is refused when it is set (I14)."""

from collections.abc import Sequence

from edge.iam.passwords import hash_password, is_hash, password_violation
from edge.iam.types import User
from edge_sdk.problem import Violation
from edge_sdk.room import PatchOp

FIELD = "spec.encryptedPassword"


def hash_plain_password(user: User) -> Sequence[PatchOp]:
    """Pure but for the salt. A refused password is left as it is: validation comes next, and says why."""
    given = user.spec.encrypted_password
    if not given or is_hash(given) or password_violation(given, FIELD) is not None:
        return ()
    return (
        {"op": "replace", "path": "/spec/encryptedPassword", "value": hash_password(given)},
        # The annotations as we read them, without kubectl's copy of the object that holds the password.
        {"op": "add", "path": "/metadata/annotations", "value": dict(user.metadata.annotations)},
    )


def check_user(user: User, _: User | None) -> Sequence[Violation]:
    given = user.spec.encrypted_password
    violation = password_violation(given, FIELD) if given else None
    return () if violation is None else (violation,)
