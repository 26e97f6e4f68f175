"""The kubeconfigs that are in force, as this process knows them: a mirror of their records (I3).

A kubeconfig counts while its record is there. A record that goes, by whomever, takes the token's force and
the streams that it has opened in the turn in which the event arrives, on every replica.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from edge.apiserver.mirrors.secretrecords import MANAGER, Gone, SecretRecords, record_in
from edge.iam.accounts import user_label
from edge.iam.kubeconfigs import SECRET_PREFIX, SECRET_TYPE, Issued, read_record, record_of
from edge.iam.tokens import LEEWAY_S, Claims
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.errors import KubeError
from edge_kube.meta import Key
from edge_sdk.clock import Clock
from edge_sdk.problem import NotAuthenticated, Unavailable

NEW_S: Final = 30.0
"""How long a record may be under way from the replica that wrote it: a busy API server tells late, and until
then nobody may be told that a kubeconfig was revoked which was just made."""
ARRIVES_WITHIN_S: Final = 2.0
SWEEP_EVERY_S: Final = 600.0
MAKE_ANOTHER: Final = "make another with `edge kubeconfig` or POST …/me/kubeconfigs"

log = structlog.stdlib.get_logger("edge.apiserver")


class Kubeconfigs:
    """look: told the name of a user one of whose kubeconfigs is gone, so that streams are looked at."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        look: Callable[[str], None],
        *,
        clock: Clock,
        relist_s: float,
    ) -> None:
        self._clock = clock
        self._client = client
        self._namespace = namespace
        self._look = look
        self._records: dict[str, Issued] = {}
        self._gone = Gone()
        self._awaited: dict[str, asyncio.Event] = {}
        self.followed = SecretRecords(
            client,
            namespace,
            SECRET_TYPE,
            self._changed,
            of="kubeconfigs",
            unknown="which kubeconfigs are revoked",
            relist_s=relist_s,
        )
        self.mirror = self.followed.mirror

    def check(self, claims: Claims, now_s: float) -> None:
        """Raises NotAuthenticated (401) unless the kubeconfig with these claims is in force.

        Raises Unavailable (503) while that is not known: kubectl then asks again by itself.
        """
        self.followed.require()
        record = self._records.get(claims.token_id)
        if record is not None:
            kept = record.claims
            if (kept.user, kept.uid, kept.cluster) == (claims.user, claims.uid, claims.cluster):
                return
        elif self._may_be_under_way(claims, now_s):
            raise Unavailable(
                "kubeconfig-not-known-yet",
                what="The request was not decided",
                why="the record of this kubeconfig has not arrived here yet",
                do="try again in a second",
            )
        raise NotAuthenticated(
            "token-revoked", what="The kubeconfig was refused", why="it has been revoked", do=MAKE_ANOTHER
        )

    def _may_be_under_way(self, claims: Claims, now_s: float) -> bool:
        return claims.token_id not in self._gone and now_s - claims.issued_s < NEW_S

    def of(self, user: str) -> list[Issued]:
        """What was issued to a user and is recorded, newest first; some may have expired."""
        mine = (record for record in self._records.values() if record.claims.user == user)
        return sorted(mine, key=lambda one: (-one.claims.issued_s, one.claims.token_id))

    def owners(self) -> set[str]:
        """Users to whom one that is recorded was issued."""
        return {record.claims.user for record in self._records.values()}

    async def add(self, issued: Issued) -> None:
        """Record one, and wait until it counts here. Raises KubeError."""
        token_id = issued.claims.token_id
        arrived = self._awaited[token_id] = asyncio.Event()
        try:
            await self._client.create(record_of(issued, self._namespace), manager=MANAGER)
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                await arrived.wait()
        except TimeoutError:
            log.warning("kubeconfig_record_late", id=token_id)
        finally:
            del self._awaited[token_id]
        log.info("kubeconfig_issued", id=token_id, user=issued.claims.user, cluster=issued.claims.cluster)

    async def revoke(self, user: str, token_id: str) -> Issued | None:
        """Remove the record, which is in force here at once; None: that user has no such kubeconfig.

        The API server itself is asked, since this process may not have heard of it yet. Raises KubeError.
        """
        secret = await self._client.find(KubeSecret, SECRET_PREFIX + token_id, self._namespace)
        record = None if secret is None else read_record(secret)
        if secret is None or record is None or record.claims.user != user:
            return None
        await self._remove(secret.metadata.name, secret.metadata.uid)
        return record

    async def revoke_all(self, user: str) -> int:
        """Remove the records of all that a user has; how many were there. Raises KubeError.

        The API server itself is asked, as for one.
        """
        found = {SECRET_PREFIX + one.claims.token_id for one in self.of(user)}
        for key, value in user_label(user).items():
            labels, fields = f"{key}={value}", f"type={SECRET_TYPE}"
            for secret in await self._client.list(KubeSecret, self._namespace, labels=labels, fields=fields):
                record = read_record(secret)
                if record is not None and record.claims.user == user:
                    found.add(secret.metadata.name)
        for name in found:
            await self._remove(name)
        return len(found)

    async def run(self) -> None:
        """Now and then remove what has expired, here as on every replica. Until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            await self.sweep()

    async def sweep(self) -> int:
        """Remove the records of kubeconfigs that have expired; their number."""
        now_s = self._clock.now_s()
        over = [one for one in self._records.values() if now_s >= one.claims.expires_s + LEEWAY_S]
        for record in over:
            try:
                await self._remove(SECRET_PREFIX + record.claims.token_id)
            except KubeError as error:
                log.warning("kubeconfig_record_not_removed", id=record.claims.token_id, error=str(error))
        return len(over)

    async def _remove(self, name: str, uid: str = "") -> None:
        await self._client.delete(KubeSecret, name, self._namespace, uid=uid)
        self.mirror.collection.drop(Key(self._namespace, name))

    def _changed(self, key: Key, _: bytes | None, new: bytes | None) -> None:
        token_id = key.name.removeprefix(SECRET_PREFIX)
        before = self._records.pop(token_id, None)
        now = None if new is None else record_in(key, new, read_record, "a kubeconfig")
        if now is not None:
            self._records[token_id] = now
        elif before is not None:
            self._gone.add(token_id)
        if before is not None and now != before:
            self._look(before.claims.user)
        if token_id in self._awaited:
            self._awaited[token_id].set()
