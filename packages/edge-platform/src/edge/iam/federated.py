"""People from outside directories: who they are here, what they are called, which groups they bring. Pure.

A person is known by (provider, issuer, subject), noted on the User, and by nothing else: names and mail
addresses are given again to others, and some providers let people choose them (I13; design §9, test S13).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from edge.iam.types import User, UserSpec
from edge_kube.meta import ObjectMeta

IDENTITY_ANNOTATION: Final = "iam.theriseunion.io/identity"
"""{"issuer": …, "provider": …, "subject": …}: whose sign-in at a directory opens this user."""
IDENTITY_LABEL: Final = "iam.theriseunion.io/identity"
"""A digest of the annotation, to find the user by. Alone it opens nothing."""

FOREIGN_GROUP_PREFIXES: Final = ("system:", "edge:")
"""Groups of the cluster and of the platform itself: nobody outside gives them."""
NAME_MAX: Final = 200
GROUPS_MAX: Final = 500
GROUP_MAX: Final = 256
TEXT_MAX: Final = 256
PATH_MAX: Final = 3000

_OWN_PATH: Final = re.compile(r"/(?:[A-Za-z0-9\-._~!$&()*+,;=:@%?][A-Za-z0-9\-._~!$&()*+,;=:@%?/]*)?")

_UNFIT: Final = re.compile(r"[^a-z0-9.]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whom a directory vouches for.

    provider: "oidc" or "ldap". issuer: which one. subject: theirs for ever. name: what they are called there.
    groups: without prefix. session: what the provider calls the sign-in there that this came from, or "".
    """

    provider: str
    issuer: str
    subject: str
    name: str
    display_name: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()
    session: str = ""

    @property
    def link(self) -> str:
        """The value of IDENTITY_ANNOTATION; equal for the same person alone."""
        parts = {"issuer": self.issuer, "provider": self.provider, "subject": self.subject}
        return json.dumps(parts, sort_keys=True)

    @property
    def mark(self) -> str:
        """The value of IDENTITY_LABEL."""
        return hashlib.sha256(self.link.encode()).hexdigest()[:40]


def link_of(user: User) -> str:
    """The link of a user, in the spelling of `Identity.link`; "" for who belongs to no directory."""
    text = user.metadata.annotations.get(IDENTITY_ANNOTATION, "")
    try:
        return json.dumps(json.loads(text), sort_keys=True) if text else ""
    except ValueError:
        return text


def provider_of(user: User) -> str:
    """The directory that vouches for the user; "local" for nobody's."""
    return read_link(user).provider


class Link(msgspec.Struct, frozen=True):
    """By what a directory knows a user, as `Identity` has it; provider "local" for a user of no directory."""

    provider: str = "local"
    issuer: str = ""
    subject: str = ""


def read_link(user: User) -> Link:
    """provider "unknown" where the annotation cannot be read."""
    try:
        return msgspec.json.decode(link_of(user) or "{}", type=Link)
    except msgspec.MsgspecError:
        return Link("unknown")


def names_for(identity: Identity, prefix: str) -> Iterator[str]:
    """What a new user may be called, best first. The second is this person's alone."""
    stem = _fit(f"{prefix}{identity.name}")
    if _fit(identity.name):
        yield stem
    yield f"{stem or 'user'}-{identity.mark[:12]}"


def _fit(text: str) -> str:
    """As an object may be called: lower-case letters, digits, `-` and single dots between them."""
    parts = (_UNFIT.sub("-", part).strip("-") for part in text.lower().split("."))
    return ".".join(part for part in parts if part)[:NAME_MAX].strip("-.")


def new_user(identity: Identity, name: str, groups: Sequence[str]) -> User:
    """groups: as `mapped_groups` gives them. There is no password: the directory is asked each time."""
    return User(
        metadata=ObjectMeta(
            name=name,
            labels={IDENTITY_LABEL: identity.mark},
            annotations={IDENTITY_ANNOTATION: identity.link},
        ),
        spec=UserSpec(
            display_name=_plain(identity.display_name or identity.name),
            email=_plain(identity.email),
            groups=tuple(groups),
        ),
    )


def _plain(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()[:TEXT_MAX]


def mapped_groups(groups: Iterable[str], prefix: str) -> tuple[str, ...]:
    """A directory's groups as the platform calls them, sorted; unfit and reserved ones are left out."""
    fit = (
        f"{prefix}{group}"
        for group in groups
        if group and len(group) <= GROUP_MAX and not _CONTROL.search(group) and group.strip() == group
        if not group.lower().startswith(FOREIGN_GROUP_PREFIXES)
    )
    return tuple(sorted(dict.fromkeys(fit))[:GROUPS_MAX])


def merged_groups(current: Sequence[str], given: Sequence[str], prefix: str) -> tuple[str, ...]:
    """The user's groups after a sign-in: those with the prefix are the directory's to give and take."""
    return (*(group for group in current if not group.startswith(prefix)), *given)


def path_back(text: str) -> str:
    """Where a browser goes after its sign-in: a path of this very address, or "/" for anything else."""
    return text if len(text) <= PATH_MAX and _OWN_PATH.fullmatch(text) else "/"
