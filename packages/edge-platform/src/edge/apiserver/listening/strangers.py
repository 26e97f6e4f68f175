"""Callers that nobody knows yet: so many questions from one address (G4; design §8.5).

    strangers = Strangers(qps=20, burst=40, max_delay_s=1.0, trusted=())
    await strangers.enter("203.0.113.7", "")    # TooMuch (429) instead of a long wait

Sign-in and what belongs to it cost hashing, signatures and writes, and are asked before it is known by whom.
An address of IPv6 counts by its /64, since whoever has one of these has all of it.
"""

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from edge.apiserver.headers import Network, client_address
from edge.apiserver.listening.limits import Bucket
from edge_sdk.problem import TooMuch

ADDRESSES_MAX: Final = 10_000
V6_PREFIX: Final = 64


class Strangers:
    """A bucket for each address; beyond `addresses_max` the idlest goes."""

    def __init__(
        self,
        *,
        qps: float,
        burst: float,
        max_delay_s: float,
        trusted: Sequence[Network] = (),
        addresses_max: int = ADDRESSES_MAX,
    ) -> None:
        """trusted: networks of proxies whose X-Forwarded-For tells where a request came from."""
        self._whole = self._qps, self._burst = qps, burst
        self._max_delay_s = max_delay_s
        self._trusted = trusted
        self._addresses_max = addresses_max
        self._addresses: OrderedDict[str, Bucket] = OrderedDict()

    @property
    def remembered(self) -> int:
        return len(self._addresses)

    async def enter(self, peer: str, forwarded_for: str) -> float:
        """Wait until this request fits; the seconds it took. Raises TooMuch (429)."""
        delay_s = self.delay(client_address(peer, forwarded_for, self._trusted), time.monotonic())
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        return delay_s

    def delay(self, address: str, now_s: float) -> float:
        """Seconds to wait before a request from there goes on. Raises TooMuch (429)."""
        place = _place(address)
        bucket = self._addresses.get(place)
        if bucket is None:
            bucket = self._addresses[place] = Bucket(self._qps, self._burst, now_s)
            if len(self._addresses) > self._addresses_max:
                self._addresses.popitem(last=False)
        else:
            self._addresses.move_to_end(place)
        delay_s = bucket.take(now_s, self._max_delay_s)
        if delay_s < 0:
            raise self._too_much(-delay_s)
        return delay_s

    def share(self, replicas: int, now_s: float) -> None:
        """The limit is that of all replicas together: from now on this one gives its part of it."""
        self._qps, self._burst = (whole / max(1, replicas) for whole in self._whole)
        for bucket in self._addresses.values():
            bucket.resize(self._qps, self._burst, now_s)

    def _too_much(self, delay_s: float) -> TooMuch:
        seconds = max(1, math.ceil(delay_s))
        return TooMuch(
            "too-many-requests",
            what="The request was not looked at",
            why=f"the limit is {self._qps:g} requests a second to /oauth from one address",
            do=f"try again in {seconds} s; behind a proxy, have it named in server.trustedProxies",
            retry_after_s=seconds,
        )


def _place(address: str) -> str:
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(read, ipaddress.IPv4Address):
        return address
    if read.ipv4_mapped is not None:
        return str(read.ipv4_mapped)
    return str(ipaddress.ip_network((read.packed, V6_PREFIX), strict=False))
