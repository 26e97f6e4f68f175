"""The keys that tokens are signed with, in a Secret, the same on every replica and turned in time (I12).

A configured secret is used as it is. Without one there is a ring in Secret `edge-jwt-keys`: who sees first
that a turn is due writes it by compare-and-swap, and all follow the watch; nothing is restarted.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from edge.apiserver.mirrors.kinds import collection_of
from edge.apiserver.mirrors.mirror import Mirror
from edge.apiserver.mirrors.secretrecords import MANAGER
from edge.iam.keyring import (
    MARK_FIELD,
    MIN_SECRET_BYTES,
    Keyring,
    due,
    is_placeholder,
    new_key,
    new_mark,
    read_ring,
    ring_of_secret,
)
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from edge_kube.meta import Key, kind_of
from edge_kube.wire import ObjectDecoder, UndecodableError
from edge_sdk.clock import Clock
from edge_sdk.secret import Secret

SECRET_NAME: Final = "edge-jwt-keys"  # noqa: S105
LOOK_EVERY_S: Final = 60.0
TRIES: Final = 5
KEEP_MORE_S: Final = 3600.0
"""Beyond the longest life of a token: no two machines' clocks are quite the same."""

log = structlog.stdlib.get_logger("edge.apiserver")


class SigningKeys:
    """`load` once, then `run`. ring: the keys of now; `changed` is told of each new one.

    keep_s: the longest life of a token. configured: JWT_SECRET; "" or a published value is none.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        configured: Secret,
        *,
        clock: Clock,
        keep_s: float,
        relist_s: float,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._keep_s = keep_s + KEEP_MORE_S
        self._decoder = ObjectDecoder(KubeSecret)
        self._wake = asyncio.Event()
        self._configured = configured if not is_placeholder(configured.reveal()) else None
        self.problem = _problem(configured)
        """What is wrong with the configured secret: published, short, or nothing ("")."""
        self.ring = Keyring((), b"")
        self.changed: Callable[[], None] = lambda: None
        kind = kind_of(KubeSecret)
        self.mirror = Mirror(
            client,
            kind,
            collection_of(kind, self._seen),
            relist_s=relist_s,
            namespace=namespace,
            fields=f"metadata.name={SECRET_NAME}",
        )

    async def load(self) -> Keyring:
        """The keys to begin with. Raises KubeError, ValueError for a Secret that holds none."""
        if self.problem:
            log.warning("jwt_secret_weak", problem=self.problem, why=_WHY[self.problem])
        if self._configured is not None:
            self.ring = ring_of_secret(self._configured)
            return self.ring
        await self.turn()
        return self.ring

    async def run(self) -> None:
        """Follow the Secret, and turn the keys when it is time. Until cancelled."""
        if self._configured is not None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.mirror.run())
            group.create_task(self._turn_in_time())

    async def turn(self) -> None:
        """Make and forget what is due, and take over what there is. Raises KubeError, ValueError."""
        for _ in range(TRIES):
            secret = await self._client.find(KubeSecret, SECRET_NAME, self._namespace)
            try:
                written = await (self._create() if secret is None else self._update(secret))
            except (AlreadyExists, Conflict, NotFound):
                continue  # another replica was faster: look at what it wrote
            self._take(written)
            return
        raise ValueError(f"Secret {self._namespace}/{SECRET_NAME} was changed again and again")

    async def _create(self) -> KubeSecret:
        kid, value = new_key(self._clock.now_s())
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET_NAME, "namespace": self._namespace},
            "type": "Opaque",
            "data": {MARK_FIELD: new_mark(), kid: value},
        }
        await self._client.create(manifest, manager=MANAGER)
        log.info("signing_key_made", key=kid, namespace=self._namespace)
        return await self._client.get(KubeSecret, SECRET_NAME, self._namespace)

    async def _update(self, secret: KubeSecret) -> KubeSecret:
        ring = _read(secret)
        turn = due(ring.keys, self._clock.now_s(), self._keep_s)
        if not turn:
            return secret
        data: dict[str, str | None] = dict.fromkeys(turn.forget)
        if turn.signs_from_s is not None:
            kid, value = new_key(turn.signs_from_s)
            data[kid] = value
        written = await self._client.merge(
            KubeSecret,
            Key(self._namespace, SECRET_NAME),
            {"data": data},
            rv=secret.metadata.resource_version,
            manager=MANAGER,
        )
        log.info("signing_keys_turned", made=[kid for kid in data if data[kid]], forgotten=turn.forget)
        return written

    async def _turn_in_time(self) -> None:
        while True:
            try:
                await self.turn()
            except (KubeError, ValueError) as error:
                log.warning("signing_keys_not_turned", error=str(error))
            self._wake.clear()
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _seen(self, key: Key, _: bytes | None, new: bytes | None) -> None:
        if key.name != SECRET_NAME:
            return
        if new is None:  # whoever removes the keys wants others, at once
            self._wake.set()
            return
        try:
            self._take(self._decoder.decode(new))
        except (UndecodableError, ValueError) as error:
            log.error("signing_keys_not_understood", error=str(error), then="the keys known before stay")

    def _take(self, secret: KubeSecret) -> None:
        ring = _read(secret)
        if [key.kid for key in ring.keys] == [key.kid for key in self.ring.keys]:
            return
        self.ring = ring
        self.changed()


def _read(secret: KubeSecret) -> Keyring:
    try:
        return read_ring(dict(secret.data))
    except ValueError as error:
        name = f"{secret.metadata.namespace}/{secret.metadata.name}"
        raise ValueError(
            f"Secret {name} has no usable keys: {error}; delete it, and new ones are made"
        ) from None


_WHY: Final = {
    "published": "JWT_SECRET has a value that documents print; it is ignored, and keys are made and kept",
    "short": f"JWT_SECRET is shorter than {MIN_SECRET_BYTES} bytes and may be guessed from any token",
}


def _problem(configured: Secret) -> str:
    value = configured.reveal()
    if is_placeholder(value):
        return "published" if value else ""
    return "short" if len(value.encode()) < MIN_SECRET_BYTES else ""
