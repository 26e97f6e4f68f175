"""Who calls with a client certificate (mutual TLS): CN is the user, O are groups, as Kubernetes reads them.

A certificate is a way to sign in and no right of its own: the User must exist and be enabled, and what it may
is decided by the roles of that user. The groups that O adds are told to the Kubernetes APIs; those of the
system and of the platform (`system:*`, `edge:*`) cannot be had this way (R13).
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from edge.apiserver.callers.identity import People, Session, own_groups
from edge.iam.accounts import DISABLED, is_disabled, must_change_password
from edge_sdk.access import Caller
from edge_sdk.problem import NotAuthenticated

RESERVED: Final = ("system:", "edge:")


class ClientCertificates:
    """trusted: whether the authorities that a connection was checked against are those of now."""

    def __init__(
        self, people: People, is_admin: Callable[[str], bool], trusted: Callable[[ssl.SSLContext], bool]
    ) -> None:
        self._people = people
        self._is_admin = is_admin
        self._trusted = trusted

    def session(self, transport: asyncio.BaseTransport | None, now_s: float) -> Session | None:
        """None when the connection shows no certificate. Raises NotAuthenticated (401)."""
        certificate = None if transport is None else transport.get_extra_info("peercert")
        if transport is None or not certificate:
            return None
        wire = transport.get_extra_info("ssl_object")
        if wire is None or not self._trusted(wire.context):
            raise _refused("its authority is not trusted any more", "open a new connection")
        name, groups = subject_of(certificate)
        expires_s = float(ssl.cert_time_to_seconds(certificate["notAfter"]))
        if now_s >= expires_s:
            raise _refused("it has expired", "renew it")
        user = self._people.user(name) if name and not name.startswith(RESERVED) else None
        if user is None:
            raise _refused(f'its common name "{name[:100]}" is no user', "use one whose CN is a User's name")
        if is_disabled(user):
            why = f"the user is {DISABLED}: {user.status.reason or 'no reason given'}"
            raise _refused(why, "have the user enabled")
        return Session(
            caller=Caller(
                name=name, uid=user.metadata.uid, groups=tuple(dict.fromkeys((*own_groups(user), *groups)))
            ),
            restricted=must_change_password(user),
            is_admin=self._is_admin(name),
            expires_s=expires_s,
        )


def subject_of(certificate: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Name and groups of `ssl.getpeercert()`; "" when it has no common name, or several. Pure."""
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", certificate.get("subject", ()))
    pairs = [pair for part in subject for pair in part]
    names = [value for key, value in pairs if key == "commonName"]
    groups = [value for key, value in pairs if key == "organizationName"]
    kept = tuple(group for group in groups if not group.startswith(RESERVED))
    return (names[0] if len(names) == 1 else ""), kept


def _refused(why: str, do: str) -> NotAuthenticated:
    return NotAuthenticated("certificate-refused", what="The client certificate was refused", why=why, do=do)
