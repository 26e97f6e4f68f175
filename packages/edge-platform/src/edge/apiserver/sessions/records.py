"""The records of sessions in the Kubernetes API: read, written and removed, and known here at once.

What is written here is put into `live` before the watch brings it: whoever has just signed in is known.
All methods raise KubeError.
"""

import msgspec

from edge.apiserver.mirrors.secretrecords import MANAGER
from edge.apiserver.sessions.live import LiveSessions
from edge.iam.accounts import user_label
from edge.iam.sessions import SECRET_PREFIX, SECRET_TYPE, SessionRecord, data_of, manifest_of, read_session
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.meta import Key


class SessionRecords:
    def __init__(self, client: Client, namespace: str, live: LiveSessions) -> None:
        self._client = client
        self._namespace = namespace
        self._live = live

    async def read(self, id_: str) -> tuple[str, SessionRecord | None]:
        """Its version and what it says; ("", None) when there is none."""
        secret = await self._client.find(KubeSecret, SECRET_PREFIX + id_, self._namespace)
        record = None if secret is None else read_session(secret)
        return ("", None) if secret is None or record is None else (secret.metadata.resource_version, record)

    async def learn(self, id_: str) -> None:
        """Know it here if it is there."""
        secret = await self._client.find(KubeSecret, SECRET_PREFIX + id_, self._namespace)
        if secret is not None:
            self._live.put(secret)

    async def of(self, user: str) -> dict[str, SessionRecord]:
        """By id, as the API server knows them and as they are known here: whichever is ahead."""
        found = {record.id: record for record in self._live.of(user)}
        for key, value in user_label(user).items():
            labels, fields = f"{key}={value}", f"type={SECRET_TYPE}"
            for secret in await self._client.list(KubeSecret, self._namespace, labels=labels, fields=fields):
                record = read_session(secret)
                if record is not None and record.user == user:
                    found[record.id] = record
        return found

    async def create(self, record: SessionRecord) -> None:
        made = await self._client.create(manifest_of(record, self._namespace), manager=MANAGER)
        self._live.put(msgspec.convert(made, KubeSecret))

    async def write(self, record: SessionRecord, version: str) -> None:
        """Raises Conflict when the record is another by now, NotFound when it is gone."""
        key, patch = Key(self._namespace, SECRET_PREFIX + record.id), {"data": data_of(record)}
        self._live.put(await self._client.merge(KubeSecret, key, patch, rv=version, manager=MANAGER))

    async def remove(self, id_: str) -> None:
        await self._client.delete(KubeSecret, SECRET_PREFIX + id_, self._namespace)
        self._live.drop(id_)
