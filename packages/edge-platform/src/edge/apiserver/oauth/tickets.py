"""Random texts that stand for something kept in a Secret: codes, and sign-ins of a browser (design §9).

Only the SHA-256 of the text is kept, as the Secret's name. So any replica finds what it stands for, nobody
who lists Secrets can use it, and the API server's compare-and-swap decides who was first to use one that
counts once. A ticket goes with its user.
"""

import asyncio
import base64
import hashlib
import random
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from edge.apiserver.mirrors.secretrecords import MANAGER
from edge.iam.accounts import user_label
from edge.iam.types import GROUP, User
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.errors import Conflict, KubeError, NotFound
from edge_kube.meta import Key
from edge_sdk.clock import Clock

SWEEP_EVERY_S: Final = 300.0
KEPT_AFTER_S: Final = 600.0
"""How long one that is over is remembered, so that its second use is noticed."""

_TEXT = re.compile(r"[A-Za-z0-9_-]{43}")

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class Ticket:
    """content: what it stands for. user, uid: whose it is. mark: of that user's password when it was made."""

    name: str
    content: Mapping[str, str]
    user: str
    uid: str
    mark: str
    made_s: float
    expires_s: float
    version: str

    def is_of(self, user: User | None) -> bool:
        """Whether the user is still there with the password that they had."""
        return user is not None and (self.uid, self.mark) == (user.metadata.uid, _mark(self.name, user))


class Tickets:
    """One sort of them. kind: a word, part of the Secrets' names and type."""

    def __init__(self, client: Client, namespace: str, kind: str, *, life_s: float, clock: Clock) -> None:
        self._client = client
        self._namespace = namespace
        self._prefix = f"edge-{kind}-"
        self._type = f"{GROUP}/{kind}"
        self._life_s = life_s
        self._clock = clock

    async def make(self, user: User, content: Mapping[str, str]) -> str:
        """The text. Raises KubeError."""
        text = secrets.token_urlsafe(32)
        name, now_s = self.name_of(text), self._clock.now_s()
        data = {
            **{f"content.{key}": value for key, value in content.items()},
            "user": user.metadata.name,
            "uid": user.metadata.uid,
            "mark": _mark(name, user),
            "made": repr(now_s),
            "expires": repr(now_s + self._life_s),
        }
        await self._client.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": self._type,
                "metadata": {
                    "name": name,
                    "namespace": self._namespace,
                    "labels": user_label(user.metadata.name),
                    "ownerReferences": [
                        {
                            "apiVersion": f"{GROUP}/v1alpha1",
                            "kind": "User",
                            "name": user.metadata.name,
                            "uid": user.metadata.uid,
                        }
                    ],
                },
                "data": _encoded(data),
            },
            manager=MANAGER,
        )
        return text

    async def find(self, text: str) -> Ticket | None:
        """What it stands for at this moment, even when it is over. Raises KubeError."""
        if _TEXT.fullmatch(text) is None:
            return None
        return self._read(await self._client.find(KubeSecret, self.name_of(text), self._namespace))

    async def is_kept(self, name: str) -> bool:
        """Whether the one of that name has not been dropped. Raises KubeError."""
        return self._read(await self._client.find(KubeSecret, name, self._namespace)) is not None

    async def note(self, ticket: Ticket, content: Mapping[str, str]) -> Ticket | None:
        """Add to what it stands for, unless somebody changed it since it was read: None. Raises KubeError."""
        added = _encoded({f"content.{key}": value for key, value in content.items()})
        key = Key(self._namespace, ticket.name)
        try:
            kept = await self._client.merge(
                KubeSecret, key, {"data": added}, rv=ticket.version, manager=MANAGER
            )
        except (Conflict, NotFound):
            return None
        return self._read(kept)

    async def drop(self, text: str) -> None:
        """Raises KubeError."""
        if _TEXT.fullmatch(text) is not None:
            await self._client.delete(KubeSecret, self.name_of(text), self._namespace)

    async def forget(self, name: str) -> None:
        """Drop the one of that name, if it is of this sort. Raises KubeError."""
        if name.startswith(self._prefix):
            await self._client.delete(KubeSecret, name, self._namespace)

    async def forget_all(self, user: str) -> None:
        """Drop all of a user. Raises KubeError."""
        await self.forget_those(lambda _: True, user)

    async def forget_those(self, which: Callable[[Ticket], bool], user: str = "") -> None:
        """Drop some. user: of that one alone; "" for anybody's. Raises KubeError."""
        labels = ",".join(f"{key}={value}" for key, value in user_label(user).items())
        kept = await self._client.list(
            KubeSecret, self._namespace, labels=labels, fields=f"type={self._type}"
        )
        for ticket in filter(None, map(self._read, kept)):
            if user in ("", ticket.user) and which(ticket):
                await self._client.delete(KubeSecret, ticket.name, self._namespace)

    async def run(self) -> None:
        """Now and then remove what is long over. Until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the replicas
            try:
                await self.sweep()
            except KubeError as error:
                log.warning("tickets_not_swept", type=self._type, error=str(error))

    async def sweep(self) -> int:
        """How many were removed. Raises KubeError."""
        now_s, removed = self._clock.now_s(), 0
        for secret in await self._client.list(KubeSecret, self._namespace, fields=f"type={self._type}"):
            ticket = self._read(secret)
            if ticket is None or now_s >= ticket.expires_s + KEPT_AFTER_S:
                removed += await self._client.delete(KubeSecret, secret.metadata.name, self._namespace)
        return removed

    def name_of(self, text: str) -> str:
        """The name of its Secret."""
        return self._prefix + hashlib.sha256(text.encode()).hexdigest()[:48]

    def _read(self, secret: KubeSecret | None) -> Ticket | None:
        if secret is None or secret.type != self._type:
            return None
        try:
            data = {key: base64.b64decode(text).decode() for key, text in secret.data.items()}
            return Ticket(
                name=secret.metadata.name,
                content={
                    key.removeprefix("content."): text
                    for key, text in data.items()
                    if key.startswith("content.")
                },
                user=data["user"],
                uid=data["uid"],
                mark=data["mark"],
                made_s=float(data["made"]),
                expires_s=float(data["expires"]),
                version=secret.metadata.resource_version,
            )
        except (KeyError, ValueError):
            log.warning("object_not_understood", name=secret.metadata.name, error="no ticket")
            return None


def _mark(name: str, user: User) -> str:
    """Changes when the password does; tells nothing about it."""
    return hashlib.sha256(f"{name}:{user.spec.encrypted_password}".encode()).hexdigest()[:32]


def _encoded(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
