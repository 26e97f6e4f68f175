"""TLS 1.3, certificates taken up without a restart, and client certificates (G8, I13; design §8.1)."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from tests.support.clientcerts import Authority
from tests.support.gateway import IAM, USERS, Answer, RunningGateway, make_user

from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.harness import LightCluster
from edge_kube.meta import Key

ME = f"{IAM}/me"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest_asyncio.fixture
async def gateway(gateway_cluster: LightCluster, authority: Authority) -> AsyncIterator[RunningGateway]:
    settings = {"server.tls.clientCAFile": str(authority.ca)}
    async with RunningGateway(gateway_cluster.connection, settings) as running:
        yield running


def context(certificate: Path | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        made.load_cert_chain(certificate)
    return made


async def over_tls(
    gateway: RunningGateway,
    path: str,
    certificate: Path | None = None,
    method: str = "GET",
    body: str = "",
    **headers: str,
) -> Answer:
    """On a connection of its own."""
    host, port = gateway.server.addresses[-1]
    connector = aiohttp.TCPConnector(ssl=context(certificate), force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(
            method, f"https://{host}:{port}{path}", headers=headers, data=body or None
        ) as response,
    ):
        return Answer(response.status, response.headers, await response.read())


async def served_certificate(gateway: RunningGateway) -> bytes:
    host, port = gateway.server.addresses[-1]
    _, writer = await asyncio.open_connection(host, port, ssl=context())
    wire: ssl.SSLObject = writer.get_extra_info("ssl_object")
    version, found = wire.version(), wire.getpeercert(binary_form=True)
    writer.close()
    assert version == "TLSv1.3"
    assert found is not None
    return found


async def test_a_certificates_user_acts_as_another_without_its_organisations(
    gateway: RunningGateway, authority: Authority
) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    certificate = authority.issue("admin", "guests")
    headers = {"Impersonate-User": "ada", "Content-Type": "application/json"}
    answer = await over_tls(gateway, path, certificate, "POST", json.dumps(review), **headers)
    info = answer.json()["status"]["userInfo"]
    assert (info["username"], sorted(info["groups"])) == ("ada", ["edge:group:ops", "system:authenticated"])
    refused = await over_tls(gateway, ME, authority.issue("ada"), **{"Impersonate-User": "admin"})
    assert (refused.status, "cannot impersonate" in refused.json()["message"]) == (403, True)


async def test_a_certificate_signs_in_the_user_of_its_common_name(
    gateway: RunningGateway, authority: Authority
) -> None:
    me = await over_tls(
        gateway, ME, authority.issue("ada", "guests", "system:masters", "edge:platform-admins")
    )
    assert me.status == 200
    assert me.json()["user"] == "ada"
    assert sorted(me.json()["groups"]) == ["guests", "ops"]
    assert (await over_tls(gateway, USERS, authority.issue("admin"))).status == 200
    assert (await over_tls(gateway, USERS, authority.issue("ada"))).status == 403


async def test_kubernetes_sees_the_user_and_no_group_of_the_system(
    gateway: RunningGateway, authority: Authority
) -> None:
    certificate = authority.issue("ada", "guests", "system:masters", "edge:platform-admins")
    host, port = gateway.server.addresses[-1]
    question = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context(certificate))) as session,
        session.post(
            f"https://{host}:{port}/apis/authentication.k8s.io/v1/selfsubjectreviews", json=question
        ) as response,
    ):
        said = json.loads(await response.read())["status"]["userInfo"]
    assert said["username"] == "ada"
    assert sorted(said["groups"]) == ["edge:group:guests", "edge:group:ops", "system:authenticated"]


@pytest.mark.parametrize("name", ["nobody", "system:admin", "edge:platform-admins"])
async def test_a_certificate_of_no_user_is_401(
    gateway: RunningGateway, authority: Authority, name: str
) -> None:
    answer = await over_tls(gateway, ME, authority.issue(name))
    assert (answer.status, answer.json()["edge"]["code"]) == (401, "CertificateRefused")


async def test_a_user_that_is_disabled_is_refused_with_his_certificate_too(
    gateway: RunningGateway, authority: Authority, kube: Client
) -> None:
    await make_user(kube, "eve")
    await gateway.knows("eve")
    certificate = authority.issue("eve")
    assert (await over_tls(gateway, ME, certificate)).status == 200
    await kube.merge(User, Key("", "eve"), {"status": {"state": "Disabled"}}, sub="status")
    await gateway.knows("eve", state="Disabled")
    assert (await over_tls(gateway, ME, certificate)).status == 401
    await kube.delete(User, "eve")


async def test_a_certificate_of_another_authority_does_not_get_in(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger").issue("admin")
    with pytest.raises(aiohttp.ClientError):
        await over_tls(gateway, ME, stranger)


async def test_a_token_counts_before_the_certificate(gateway: RunningGateway, authority: Authority) -> None:
    certificate = authority.issue("admin")
    token = await gateway.token("ada")
    answer = await over_tls(gateway, ME, certificate, Authorization=f"Bearer {token}")
    assert answer.json()["user"] == "ada"
    assert (await over_tls(gateway, ME, certificate, Authorization="Bearer forged")).status == 401
    assert (await over_tls(gateway, ME)).status == 401  # and without either nobody gets in


async def test_another_sites_page_cannot_use_the_browsers_certificate(
    gateway: RunningGateway, authority: Authority
) -> None:
    certificate = authority.issue("admin")
    answer = await over_tls(gateway, USERS, certificate, "POST", Origin="https://evil.example.com")
    assert (answer.status, answer.json()["edge"]["code"]) == (403, "OriginNotAllowed")
    own = f"https://127.0.0.1:{gateway.server.addresses[-1][1]}"
    assert (await over_tls(gateway, USERS, certificate, Origin=own)).status == 200


async def test_an_authority_that_is_taken_away_counts_no_more_and_a_new_one_does(
    gateway: RunningGateway, authority: Authority, tmp_path: Path
) -> None:
    old, other = authority.issue("ada"), Authority(tmp_path, "other")
    host, port = gateway.server.addresses[-1]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context(old))) as kept:
        assert (await kept.get(f"https://{host}:{port}{ME}")).status == 200
        authority.ca.write_bytes(other.ca.read_bytes())
        await gateway.server.tls.load()
        assert (await kept.get(f"https://{host}:{port}{ME}")).status == 401  # on the open connection as well
    with pytest.raises(aiohttp.ClientError):
        await over_tls(gateway, ME, old)
    assert (await over_tls(gateway, ME, other.issue("ada"))).status == 200


async def test_a_new_certificate_is_served_without_a_restart(
    gateway_cluster: LightCluster, kube: Client
) -> None:
    async with RunningGateway(gateway_cluster.connection) as gateway:
        before = await served_certificate(gateway)
        data = {name: base64.b64encode(b"").decode() for name in ("tls.crt", "tls.key")}
        await kube.merge(Secret, Key("edge-system", "edge-apiserver-serving"), {"data": data})
        await gateway.server.tls.load()  # what it does every minute
        assert await served_certificate(gateway) != before


async def test_over_tls_browsers_are_told_to_stay_there_and_older_versions_are_refused(
    gateway: RunningGateway,
) -> None:
    assert "max-age=31536000" in (await over_tls(gateway, "/healthz")).headers["Strict-Transport-Security"]
    old = context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    host, port = gateway.server.addresses[-1]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=old)) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"https://{host}:{port}/healthz")
