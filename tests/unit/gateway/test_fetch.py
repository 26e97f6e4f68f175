"""A provider's documents lead nowhere that no provider is (S13, SSRF)."""

import ssl

import pytest

from edge.apiserver.federation.fetch import Fetch, FetchFailed, is_refused_address

REFUSED = [
    "169.254.169.254", "169.254.1.1", "127.0.0.1", "0.0.0.0",  # noqa: S104
    "224.0.0.1", "100.100.100.200", "::1", "::",
    "fe80::1", "fe80::1%eth0", "ff02::1", "fd00:ec2::254", "::ffff:169.254.169.254", "::ffff:127.0.0.1",
    # of other clouds, and the same addresses inside those of IPv6: NAT64, 6to4, and ways given up long ago
    "168.63.129.16", "fd20:ce::254", "0.1.2.3", "240.0.0.1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "2002:a9fe:a9fe::1", "::169.254.169.254",
    "::ffff:0:169.254.169.254",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_link_local_metadata_and_loopback_are_refused(address: str) -> None:
    assert is_refused_address(address, loopback=False)


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.1.1", "93.184.216.34", "2606:2800::1"])
def test_a_provider_may_be_inside_or_outside(address: str) -> None:
    assert not is_refused_address(address, loopback=False)


@pytest.mark.parametrize(
    "url",
    ["http://idp.example.com/", "https://169.254.169.254/", "https://[::1]/", "https://localhost/",
     "https://[64:ff9b::a9fe:a9fe]/", "https://2852039166/", "https://0xa9fea9fe/", "https://169.254.43518/",
     "file:///etc/passwd", "https://a@idp.example.com/", "https:///x", "gopher://x/"],
)  # fmt: skip
async def test_an_address_that_leads_there_is_not_asked(url: str) -> None:
    fetch = Fetch(ssl.create_default_context(), plain=False, loopback=False)
    with pytest.raises(FetchFailed):
        await fetch.json("GET", url)
    await fetch.close()
