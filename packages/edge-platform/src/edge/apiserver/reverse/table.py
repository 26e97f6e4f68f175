"""The ReverseProxy objects that are in force, as the watch brings them: which of them answers a request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from edge.apiserver.reverse.service import Service
from edge.apiserver.upstreams.closing import Closing
from edge.apiserver.upstreams.dialing import ForbiddenAddress
from edge.operate.matching import Match, in_force
from edge.operate.plan import usable_match
from edge.operate.rewriting import Change, Rewriter, header_change, hosts_of
from edge.operate.types import ReverseProxy, ReverseProxySpec
from edge_kube.meta import Key
from edge_kube.wire import ObjectDecoder, UndecodableError

IN_HAND_S = 5.0

log = structlog.stdlib.get_logger("edge.apiserver.reverse")

_decoder = ObjectDecoder(ReverseProxy)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object, ready to serve. prefix: the literal part of its path, without a last slash."""

    key: Key
    uid: str
    spec: ReverseProxySpec
    match: Match
    rewriter: Rewriter
    up: tuple[Change, ...]
    down: tuple[Change, ...]
    service: Service

    @property
    def prefix(self) -> str:
        return "/" + "/".join(self.match.segments)

    @property
    def asked(self) -> str:
        """The path that a right to it names."""
        return f"{self.prefix}/*" if self.match.wide else self.prefix

    @property
    def audience(self) -> str:
        return f"reverseproxy/{self.key.namespace}/{self.key.name}"


class Table:
    def __init__(self, make_service: Callable[[ReverseProxy], Service], ended: Callable[[], None]) -> None:
        """ended: called when an entry has gone or changed, so that its streams can be ended."""
        self._make_service = make_service
        self._ended = ended
        self._objects: dict[Key, ReverseProxy] = {}
        self._entries: dict[Key, Entry] = {}
        self._ordered: tuple[Entry, ...] = ()
        self._closing = Closing()

    def changed(self, key: Key, _: bytes | None, raw: bytes | None) -> None:
        """Listener of the collection: in force, or out of it, in the turn in which the event arrives."""
        self._objects.pop(key, None)
        if raw is not None:
            try:
                self._objects[key] = _decoder.decode(raw)
            except UndecodableError as error:
                log.warning("object_not_understood", name=key.name, error=str(error))
        self._settle()

    def find(self, method: str, segments: Sequence[str]) -> Entry | None:
        """segments: canonical (`/kapis` as `/oapis`)."""
        return next((one for one in self._ordered if one.match.takes(method, segments)), None)

    def holds(self, entry: Entry) -> bool:
        """Whether it is still this very entry that answers."""
        return self._entries.get(entry.key) is entry

    async def close(self) -> None:
        for entry in self._entries.values():
            await entry.service.close()
        await self._closing.all_now()

    def _settle(self) -> None:
        known = [(one, match) for one in self._objects.values() if (match := usable_match(one)) is not None]
        wanted = {
            Key(one.metadata.namespace, one.metadata.name): (one, match) for one, match in in_force(known)
        }
        gone = [
            key
            for key, entry in self._entries.items()
            if key not in wanted
            or (entry.uid, entry.spec) != (wanted[key][0].metadata.uid, wanted[key][0].spec)
        ]
        for key in gone:
            # A changed object loses no request that is in hand; one that is gone is not asked any more.
            service = self._entries.pop(key).service
            self._closing.later(service.close, IN_HAND_S if key in wanted else 0.0)
        for key, (proxy, match) in wanted.items():
            if key not in self._entries:
                self._open(key, proxy, match)
        # Of two that fit, the one with the longer literal part, an exact path, or a method of its own.
        self._ordered = tuple(
            sorted(self._entries.values(), key=lambda one: (one.match.rank, not one.match.method))
        )
        if gone:
            self._ended()

    def _open(self, key: Key, proxy: ReverseProxy, match: Match) -> None:
        directives = proxy.spec.directives
        hosts = hosts_of(proxy.spec.upstream.host, proxy.spec.upstream.port)
        try:
            self._entries[key] = Entry(
                key=key,
                uid=proxy.metadata.uid,
                spec=proxy.spec,
                match=match,
                rewriter=Rewriter(directives),
                up=tuple(header_change(text, up=True, hosts=hosts) for text in directives.header_up),
                down=tuple(header_change(text, up=False) for text in directives.header_down),
                service=self._make_service(proxy),
            )
        except (ForbiddenAddress, ValueError, OSError) as error:
            log.warning("reverse_proxy_not_served", namespace=key.namespace, name=key.name, error=str(error))
