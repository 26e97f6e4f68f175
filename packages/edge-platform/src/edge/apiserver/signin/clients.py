"""Which programs may ask for tokens, as the settings and the watch say, and the proof that it is them (I12).

A client that is made, changed or deleted counts so on every replica as soon as its Secret's event is there.
"""

import base64
import math
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote_plus

import msgspec
import structlog

from edge.apiserver.callers.identity import SIGN_IN
from edge.apiserver.configuration.settings import OAuthSettings
from edge.apiserver.listening.limits import SignInGuard
from edge.apiserver.mirrors.secretrecords import MANAGER, SecretRecords
from edge.apiserver.sessions.errors import OAuthError
from edge.iam.oauthclients import (
    CODE,
    COMMAND_LINE,
    PASSWORD,
    REFRESH,
    SECRET_PREFIX,
    SECRET_TYPE,
    OAuthClient,
    command_line_client,
    hash_secret,
    patch_of,
    read_client,
    record_of,
    secret_matches,
)
from edge.iam.redirects import absolute
from edge.iam.sessions import SessionRecord
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.errors import Conflict, NotFound
from edge_kube.meta import Key, to_manifest
from edge_kube.wire import ObjectDecoder, UndecodableError
from edge_sdk.clock import Clock
from edge_sdk.problem import NotAuthenticated, TooMuch

SECRET_FIELDS: Final = ("secretHash", "previousSecretHash", "previousSecretUntil")
WRONG: Final = "client_id or client_secret is wrong"
CHANGE_TRIES: Final = 5

log = structlog.stdlib.get_logger("edge.apiserver")


def configured_clients(settings: OAuthSettings, issuer: str) -> dict[str, OAuthClient]:
    """Those of the settings. The first is the console's: it alone has the redirect addresses named there.

    The command line's is beside them, unless the settings say that there is none.
    """
    found: dict[str, OAuthClient] = {}
    uris = tuple(absolute(uri, issuer) for uri in settings.redirect_uris)
    for id_, secret in settings.by_id().items():
        own = uris if not found else ()
        found[id_] = OAuthClient(
            id=id_,
            grants=frozenset({PASSWORD, REFRESH, CODE}),
            secret_hash=hash_secret(secret.reveal()),
            redirect_uris=own,
            post_logout_uris=tuple(absolute(uri, issuer) for uri in settings.post_logout_uris) if own else (),
            configured=True,
        )
    if settings.command_line:
        found[COMMAND_LINE] = command_line_client()
    return found


class Clients:
    def __init__(
        self,
        client: Client,
        namespace: str,
        configured: Mapping[str, OAuthClient],
        *,
        clock: Clock,
        relist_s: float,
    ) -> None:
        """configured: those of the settings, which no Secret replaces."""
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._configured = configured
        self._kept: dict[str, OAuthClient] = {}
        self._decoder = ObjectDecoder(KubeSecret)
        self._guard = SignInGuard()
        self.changed: Callable[[str], None] = lambda _: None
        """Told the id of one that is another than before, or deleted."""
        self.followed = SecretRecords(
            client,
            namespace,
            SECRET_TYPE,
            self._changed,
            of="clients",
            unknown="which OAuth clients there are",
            relist_s=relist_s,
        )
        self.mirror = self.followed.mirror

    def find(self, id_: str) -> OAuthClient | None:
        """Raises Unavailable (503) while it is not known which clients have been deleted."""
        configured = self._configured.get(id_)
        if configured is not None:
            return configured
        self.followed.require()
        return self._kept.get(id_)

    def check(self, record: SessionRecord) -> None:
        """Raises NotAuthenticated (401) where its client is gone, or could not get it now; as `find`."""
        client = self.find(record.client)
        if client is None or not client.gives(record.provider, record.user):
            raise NotAuthenticated(
                "token-revoked",
                what="The token was refused",
                why="the program that it was given to is not registered any more, or not for this",
                do=SIGN_IN,
            )

    def all(self) -> list[OAuthClient]:
        kept = (client for id_, client in self._kept.items() if id_ not in self._configured)
        return sorted((*self._configured.values(), *kept), key=lambda client: client.id)

    def authenticate(self, form: Mapping[str, str], authorization: str, address: str) -> OAuthClient:
        """The client that sends this form. A public one has no secret, and says its name only.

        Guessing is slowed down for the address and the name together. Raises OAuthError, TooMuch.
        """
        id_, secret = _credentials(form, authorization)
        for field, value in (("client_id", id_), ("client_secret", secret)):
            if "\n" in value or "\r" in value:
                raise OAuthError(400, "invalid_request", f"{field} contains a line break")
        name = id_[:80]
        wait_s = self._guard.wait_s(address, name, time.monotonic())
        if wait_s > 0:
            raise _slow_down(wait_s)
        client = self.find(id_)
        known = client if client is not None else OAuthClient(id="")
        right = secret_matches(known, secret, self._clock.now_s())
        if client is None or not (not secret if client.public else right):
            self._guard.failed(address, name, time.monotonic())
            raise OAuthError(401, "invalid_client", WRONG)
        if not client.public:
            self._guard.succeeded(address, name)
        return client

    def life_s(self, id_: str) -> float:
        """Of the access tokens of this client, as far as it has a say."""
        client = self._kept.get(id_)
        return client.life_s if client is not None and client.life_s else math.inf

    def is_configured(self, id_: str) -> bool:
        return id_ in self._configured

    def is_gone(self, id_: str) -> bool:
        """Whether it is certain that there is none of that id; one that is not understood is there."""
        if id_ in self._configured or not self.followed.is_known:
            return False
        return self.mirror.collection.get(Key(self._namespace, SECRET_PREFIX + id_)) is None

    async def add(self, client: OAuthClient) -> None:
        """Keep a new one; it counts here at once. Raises AlreadyExists, KubeError."""
        made = await self._client.create(record_of(client, self._namespace), manager=MANAGER)
        self._put(msgspec.convert(made, KubeSecret))

    async def change(self, id_: str, work: Callable[[OAuthClient], OAuthClient]) -> OAuthClient | None:
        """Keep it as `work` makes it of what it is at this moment; None: there is no such client any more.

        Of two who change it at once neither undoes the other's: the second is asked again. What is so already
        is not written. Raises what `work` does, KubeError.
        """
        key = Key(self._namespace, SECRET_PREFIX + id_)
        for left in range(CHANGE_TRIES - 1, -1, -1):
            kept = await self._client.find(KubeSecret, key.name, key.namespace)
            client = _understood(kept)
            if kept is None or client is None:
                return None
            wanted = work(client)
            if wanted == client:
                return client
            rv = kept.metadata.resource_version
            try:
                self._put(await self._client.merge(KubeSecret, key, patch_of(wanted), rv=rv, manager=MANAGER))
            except NotFound:
                return None
            except Conflict:
                if not left:
                    raise
            else:
                return wanted
        raise AssertionError("unreachable")

    async def remove(self, id_: str) -> bool:
        """False: it was not there. Raises KubeError."""
        name = SECRET_PREFIX + id_
        removed = await self._client.delete(KubeSecret, name, self._namespace)
        self.mirror.collection.drop(Key(self._namespace, name))
        return removed

    def _put(self, secret: KubeSecret) -> None:
        """What this process has just written, before the watch brings it, unless that has brought more."""
        meta = secret.metadata
        have = self.mirror.collection.get(Key(meta.namespace, meta.name))
        if have is None or int(have.resource_version) < int(meta.resource_version):
            self.mirror.collection.put(msgspec.json.encode(to_manifest(secret)))

    def _changed(self, key: Key, old: bytes | None, new: bytes | None) -> None:
        """A Secret that is not understood is no client, and the log says why."""
        id_ = key.name.removeprefix(SECRET_PREFIX)
        self._kept.pop(id_, None)
        if new is None:
            self.changed(id_)
            return
        try:
            self._kept[id_] = read_client(self._decoder.decode(new))
        except (UndecodableError, ValueError) as error:
            log.warning("oauth_client_not_understood", name=key.name, error=str(error))
        else:
            if old is not None:
                self.changed(id_)
        if id_ in self._configured:
            log.warning("oauth_client_hidden", name=key.name, why="the settings have a client of that id")


def _understood(secret: KubeSecret | None) -> OAuthClient | None:
    try:
        return read_client(secret) if secret is not None else None
    except ValueError:  # the log has said so when it came
        return None


def _credentials(form: Mapping[str, str], authorization: str) -> tuple[str, str]:
    """From the form, as printed in the documents, or by Basic authentication, not both (RFC 6749 §2.3)."""
    id_, secret = form.get("client_id", ""), form.get("client_secret", "")
    if not authorization.lower().startswith("basic "):
        return id_, secret
    named, given = _basic(authorization)
    if secret or id_ not in ("", named):
        raise OAuthError(400, "invalid_request", "the client says who it is in two ways; one is enough")
    return named, given


def _basic(authorization: str) -> tuple[str, str]:
    """Client id and secret of a Basic header, each form-encoded (RFC 6749 §2.3.1)."""
    try:
        plain = base64.b64decode(authorization[6:].strip(), validate=True).decode()
    except ValueError:
        raise OAuthError(401, "invalid_client", "the Authorization header is not understood") from None
    client, _, secret = plain.partition(":")
    return unquote_plus(client), unquote_plus(secret)


def _slow_down(wait_s: float) -> TooMuch:
    seconds = max(1, math.ceil(wait_s))
    return TooMuch(
        "too-many-client-secrets",
        what="The request was not tried",
        why="too many wrong client secrets came from this address",
        do=f"try again in {seconds} s",
        retry_after_s=seconds,
    )
