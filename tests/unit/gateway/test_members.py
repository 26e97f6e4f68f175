"""What a change of a Cluster means for what is open into it: nothing, or the end (C9; design §8.6)."""

import base64
from collections.abc import Mapping

import msgspec
import pytest
import yaml

from edge.apiserver.upstreams.members import Members
from edge_kube.meta import Key

EAST = Key("", "east")


def kubeconfig(
    server: str = "https://10.0.0.1:6443", credential: str = "one", about: Mapping[str, object] = {}
) -> str:
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **about}}],
        "users": [{"name": "u", "user": {"token": credential}}],
    }
    return base64.b64encode(yaml.safe_dump(content).encode()).decode()


def raw(given: str | None) -> bytes:
    connection = {} if given is None else {"kubeconfig": given}
    return msgspec.json.encode({"metadata": {"name": "east"}, "spec": {"connection": connection}})


class Told:
    """Members of which "east" is known, and who was told to have left."""

    def __init__(self) -> None:
        self.left: list[str] = []
        self.members = Members(left=self.left.append)
        assert self.members.cluster_changed(EAST, raw(kubeconfig()))
        assert self.left == [], "a cluster that comes ends nothing"


async def test_a_renewed_credential_ends_nothing() -> None:
    told = Told()
    assert told.members.cluster_changed(EAST, raw(kubeconfig(credential="two")))
    assert not told.members.cluster_changed(EAST, raw(kubeconfig(credential="two")))
    assert told.left == []


@pytest.mark.parametrize(
    "changed",
    [
        kubeconfig(server="https://10.0.0.2:6443"),
        kubeconfig(server="https://10.0.0.1:6443/below"),
        kubeconfig(about={"certificate-authority-data": base64.b64encode(b"another").decode()}),
        kubeconfig(about={"tls-server-name": "west"}),
        kubeconfig(about={"insecure-skip-tls-verify": True}),
        "no base64",
        "ü",
        base64.b64encode(b"no kubeconfig").decode(),
        None,
    ],
)
async def test_another_server_another_trust_or_none_ends_what_is_open(changed: str | None) -> None:
    told = Told()
    assert told.members.cluster_changed(EAST, raw(changed))
    assert told.left == ["east"]
    assert told.members.cluster_changed(EAST, raw(kubeconfig()))


async def test_a_cluster_that_is_gone_ends_what_is_open_also_when_it_was_unreachable() -> None:
    told = Told()
    assert told.members.cluster_changed(EAST, None)
    assert told.left == ["east"]
