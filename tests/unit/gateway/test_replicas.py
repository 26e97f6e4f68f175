"""How many gateways share the limits, read from EndpointSlices (design §8.5)."""

from edge.apiserver.listening.replicas import Endpoint, EndpointConditions, EndpointSlice, ready_endpoints
from edge_kube.meta import ObjectMeta


def endpoint(address: str, *, ready: bool | None = True) -> Endpoint:
    return Endpoint(addresses=(address,), conditions=EndpointConditions(ready=ready))


def slice_of(*endpoints: Endpoint, family: str = "IPv4") -> EndpointSlice:
    return EndpointSlice(metadata=ObjectMeta(name="one"), address_type=family, endpoints=endpoints or None)


def test_ready_ones_are_counted_over_all_slices() -> None:
    first = slice_of(endpoint("10.0.0.1"), endpoint("10.0.0.2", ready=False))
    second = slice_of(endpoint("10.0.0.3", ready=None), endpoint("10.0.0.1"))
    assert ready_endpoints([first, second]) == 2


def test_two_address_families_are_one_set_of_replicas() -> None:
    four = slice_of(endpoint("10.0.0.1"), endpoint("10.0.0.2"))
    six = slice_of(endpoint("fd00::1"), endpoint("fd00::2"), family="IPv6")
    assert ready_endpoints([four, six]) == 2


def test_this_process_serves_even_if_nobody_is_known_to() -> None:
    assert ready_endpoints([]) == 1
    assert ready_endpoints([slice_of()]) == 1
    assert ready_endpoints([slice_of(endpoint("10.0.0.1", ready=False))]) == 1
