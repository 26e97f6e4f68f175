"""Admission of users and scope patterns. Pure.

A password is stored as its hash, and a bad one is refused when it is set (I14); a pattern that could never be
in force is refused with the reason (I9).
"""

from collections.abc import Sequence

from edge.iam.federated import IDENTITY_ANNOTATION, link_of
from edge.iam.passwords import hash_password, is_hash, password_violation
from edge.iam.patterns import PATTERN_FIELD, PatternError, parse_pattern
from edge.iam.types import ScopePattern, User
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
    if violation is None and given and link_of(user):
        why = "a directory vouches for this user; a password here would outlive their account there"
        violation = Violation(FIELD, "***", why, f"no password, or no annotation {IDENTITY_ANNOTATION}")
    return () if violation is None else (violation,)


def check_pattern(new: ScopePattern, old: ScopePattern | None) -> Sequence[Violation]:
    """Two patterns that are in each other's way are told apart later, in their status: that takes others."""
    if old is not None and old.spec == new.spec:
        return ()
    spec = new.spec
    try:
        parse_pattern(spec.pattern, spec.scope_type)
    except PatternError as error:
        value = spec.pattern if error.field == PATTERN_FIELD else spec.scope_type
        return (Violation(error.field, value, str(error), error.accepted),)
    return ()
