"""So many questions from one address, whoever it belongs to (G4; S16)."""

from ipaddress import ip_network

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from edge.apiserver.headers import client_address, forwarded
from edge.apiserver.listening.strangers import Strangers
from edge_sdk.problem import TooMuch


def strangers(*, max_delay_s: float = 0.0, addresses_max: int = 100) -> Strangers:
    return Strangers(qps=2, burst=4, max_delay_s=max_delay_s, addresses_max=addresses_max)


def fits(limit: Strangers, address: str, now_s: float = 0.0) -> bool:
    try:
        limit.delay(address, now_s)
    except TooMuch:
        return False
    return True


def test_one_address_has_its_burst_then_so_many_a_second_and_another_is_not_held_up() -> None:
    limit = strangers()
    assert [fits(limit, "192.0.2.1") for _ in range(5)] == [True] * 4 + [False]
    assert fits(limit, "192.0.2.2")
    assert [fits(limit, "192.0.2.1", 1.0) for _ in range(3)] == [True, True, False]


def test_a_little_too_much_is_late_and_a_refusal_says_when_it_fits() -> None:
    limit = strangers(max_delay_s=1.0)
    assert [limit.delay("192.0.2.1", 0.0) for _ in range(6)] == [0, 0, 0, 0, 0.5, 1.0]
    with pytest.raises(TooMuch) as refused:
        limit.delay("192.0.2.1", 0.0)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 2)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_whoever_has_a_network_of_ipv6_has_one_share(one: str, other: str, same: bool) -> None:
    limit = strangers()
    for _ in range(4):
        assert fits(limit, one)
    assert fits(limit, other) != same


def test_S16_a_hundred_thousand_addresses_take_no_more_memory_than_the_bound() -> None:
    limit = strangers(addresses_max=50)
    for n in range(100_000):
        limit.delay(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
        limit.delay(f"2001:db8:{n >> 12:x}:{n & 4095:x}::1", 0.0)
    assert limit.remembered == 50


def test_replicas_share_the_limit() -> None:
    limit = strangers()
    limit.share(2, 0.0)
    assert [fits(limit, "192.0.2.1") for _ in range(3)] == [True, True, False]


def test_a_line_that_a_proxy_appended_counts_and_not_the_first_that_the_client_sent() -> None:
    """Some proxies add a header line of their own and leave the client's before it."""
    sent = CIMultiDict[str]([("X-Forwarded-For", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")])
    hops = forwarded(CIMultiDictProxy(sent), "X-Forwarded-For")
    assert client_address("10.0.0.1", hops, (ip_network("10.0.0.0/8"),)) == "192.0.2.1"
