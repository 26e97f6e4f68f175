"""Which address goes into a kubeconfig (I3)."""

import ipaddress
from collections.abc import Mapping
from typing import cast

import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from edge.apiserver.account.entrances import Entrances
from edge.apiserver.configuration.settings import KubeconfigSettings
from edge.apiserver.headers import came_over_tls
from edge.apiserver.listening.tls import ServerTls
from edge.iam.kubeconfigs import Entrance
from edge_sdk.problem import Problem

PROXY = (ipaddress.ip_network("10.244.0.0/16"),)


class Asked:
    """A request, as far as its address goes."""

    def __init__(
        self,
        host: str,
        *,
        secure: bool = False,
        remote: str = "10.0.0.9",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.host, self.secure, self.remote = host, secure, remote
        self.headers = CIMultiDictProxy(CIMultiDict[str](headers or {}))


class OwnTls:
    ca = b"OURS"
    own_names = ("edge-apiserver", "localhost")


def entrance(
    request: Asked, asked: str = "", *, tls: bool = True, settings: KubeconfigSettings | None = None
) -> Entrance:
    entrances = Entrances(
        settings or KubeconfigSettings(),
        trusted=PROXY,
        tls=cast("ServerTls", OwnTls()) if tls else None,
        tls_port=lambda: 8443,
    )
    return entrances.of(cast("web.BaseRequest", request), asked)


def test_it_is_the_https_port_of_where_it_was_asked_for() -> None:
    assert entrance(Asked("127.0.0.1:9090")) == Entrance("https://127.0.0.1:8443", b"OURS", "edge-apiserver")
    assert entrance(Asked("localhost")) == Entrance("https://localhost:8443", b"OURS")
    assert entrance(Asked("[::1]:9090")).server == "https://[::1]:8443"
    assert entrance(Asked("node:30443", secure=True)).server == "https://node:30443"


def test_behind_a_trusted_proxy_it_is_the_proxys_and_its_certificate_the_machines_affair() -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "edge.example.com"}
    assert entrance(Asked("pod:9090", remote="10.244.0.7", headers=headers)) == Entrance(
        "https://edge.example.com"
    )
    assert entrance(Asked("pod:9090", remote="10.9.0.7", headers=headers)).server == "https://pod:8443"
    assert not came_over_tls("10.244.0.7", "https, http", PROXY)


def test_the_installation_is_believed_before_the_request_and_the_user_before_both() -> None:
    named = KubeconfigSettings(server="https://edge.example.com/", certificate_authority="THEIRS")
    expected = Entrance("https://edge.example.com/", b"THEIRS")
    assert entrance(Asked("x:9090"), settings=named) == expected
    assert entrance(Asked("x:9090"), "https://edge.example.com", settings=named) == expected
    assert entrance(Asked("x:9090"), "https://10.0.0.1:30443", settings=named) == Entrance(
        "https://10.0.0.1:30443", b"OURS", "edge-apiserver"
    )


@pytest.mark.parametrize("host", ["", "a@b", "a/b", "a?b", "a b", "a:b", "a:0", 'a"b', "ä", "a:99999"])
def test_a_host_that_is_none_is_in_no_file(host: str) -> None:
    with pytest.raises(Problem) as refused:
        entrance(Asked(host))
    assert refused.value.code == "no-tls-address"


def test_without_a_tls_port_it_must_be_said() -> None:
    with pytest.raises(Problem, match=r"kubeconfig\.server"):
        entrance(Asked("edge:9090"), tls=False)
    assert entrance(Asked("edge:9090"), "https://front", tls=False) == Entrance("https://front")
