"""What is counted of the watch sockets (O1; console §5.4, metrics)."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class WatchMeasures:
    def __init__(
        self, registry: CollectorRegistry, sockets: Callable[[], int], subs: Callable[[], int]
    ) -> None:
        Gauge("edge_watch_sockets", "Watch sockets open.", registry=registry).set_function(sockets)
        Gauge("edge_watch_subs", "Subscriptions on watch sockets.", registry=registry).set_function(subs)
        self._frames = Counter("edge_watch_frames", "Frames sent, by type.", ("t",), registry=registry)
        self._bytes = Counter("edge_watch_bytes", "Bytes of frames, before compression.", registry=registry)
        self.coalesced = Counter(
            "edge_watch_coalesced", "Changes that were merged into a later one.", registry=registry
        )
        self.slow_closed = Counter(
            "edge_watch_slow_closed", "Sockets closed because the client did not keep up.", registry=registry
        )
        self._by_type: dict[bytes, Counter] = {}

    def sent(self, frame: bytes) -> None:
        """frame: as it goes out; its type is the first value in it."""
        kind = frame[6 : frame.index(b'"', 6)]
        counter = self._by_type.get(kind)
        if counter is None:
            counter = self._by_type[kind] = self._frames.labels(kind.decode())
        counter.inc()
        self._bytes.inc(len(frame))
