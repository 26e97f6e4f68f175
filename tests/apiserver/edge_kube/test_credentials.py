"""Credentials that change under a running client (S5; design kube-runtime §4)."""

import dataclasses
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from edge_kube.client import Client
from edge_kube.config import Connection, load_kubeconfig
from edge_kube.core import Namespace
from edge_kube.errors import ConnectionFailed, Forbidden, Unauthorized
from edge_kube.harness import LightCluster
from edge_kube.transport import Call


async def token(client: Client, account: str, seconds: int = 3600) -> str:
    account_body = f'{{"apiVersion":"v1","kind":"ServiceAccount","metadata":{{"name":"{account}"}}}}'.encode()
    base = "/api/v1/namespaces/default/serviceaccounts"
    if await client.version_of(await client.kind_for("v1", "ServiceAccount"), account, "default") == "":
        await client.transport.request(Call("POST", base, body=account_body))
    body = msgspec.json.encode(
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
    )
    async with await client.raw("POST", f"{base}/{account}/token", data=body) as answer:
        return str((await answer.json(content_type=None))["status"]["token"])


async def test_a_rotated_token_file_is_used_after_the_old_token_is_refused(
    light_cluster: LightCluster, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(await token(client, "first"))
    admin = light_cluster.connection
    connection = Connection(server=admin.server, ca=admin.ca, token_file=str(file))
    async with Client(connection) as rotating:
        with pytest.raises(Forbidden, match="system:serviceaccount:default:first"):
            await rotating.list(Namespace)
        file.write_text("broken")
        rotating.transport._checked_at = time.monotonic() - 61  # a minute later the file is read again
        with pytest.raises(Unauthorized):
            await rotating.list(Namespace)
        file.write_text(await token(client, "second"))
        with pytest.raises(Forbidden, match="system:serviceaccount:default:second"):
            await rotating.list(Namespace)  # at once: the 401 made it look


async def test_a_rotated_client_certificate_is_used_by_new_connections(
    light_cluster: LightCluster, tmp_path: Path
) -> None:
    admin = light_cluster.connection
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def write(user: str, group: str) -> None:
        pair = light_cluster.authority.issue(user, groups=(group,))
        cert.write_bytes(pair.cert)
        key.write_bytes(pair.key)

    write("nobody", "nobodies")
    connection = Connection(server=admin.server, ca=admin.ca, cert_file=str(cert), key_file=str(key))
    async with Client(connection) as rotating:
        with pytest.raises(Forbidden, match="nobody"):
            await rotating.list(Namespace)
        write("admin", "system:masters")
        rotating.transport._checked_at = time.monotonic() - 61
        assert await rotating.list(Namespace)


async def test_a_stream_outlives_the_rotation_of_the_certificate(
    light_cluster: LightCluster, tmp_path: Path
) -> None:
    admin = light_cluster.connection
    ca = tmp_path / "ca.crt"
    ca.write_bytes(admin.ca)
    watch = Call("GET", "/api/v1/namespaces", params={"watch": "1"})
    async with (
        Client(dataclasses.replace(admin, ca=b"", ca_file=str(ca))) as rotating,
        rotating.transport.stream(watch) as stream,
    ):
        await stream.content.readany()
        ca.write_bytes(admin.ca + b"\n")
        rotating.transport._checked_at = time.monotonic() - 61
        assert await rotating.list(Namespace)
        assert not stream.closed


async def test_an_expired_client_certificate_is_refused_by_the_server(light_cluster: LightCluster) -> None:
    pair = light_cluster.authority.issue("late", groups=("system:masters",), valid=timedelta(seconds=-5))
    connection = dataclasses.replace(light_cluster.connection, cert=pair.cert, key=pair.key)
    async with Client(connection) as client:
        with pytest.raises((Unauthorized, ConnectionFailed)):
            await client.list(Namespace)


async def test_unreadable_credentials_are_an_error_of_the_first_request_only(
    light_cluster: LightCluster, client: Client, tmp_path: Path
) -> None:
    admin = light_cluster.connection
    file = tmp_path / "token"
    connection = Connection(server=admin.server, ca=admin.ca, token_file=str(file))
    async with Client(connection) as waiting:
        with pytest.raises(ConnectionFailed, match="credentials"):
            await waiting.list(Namespace)
        file.write_text(await token(client, "first"))
        with pytest.raises(Forbidden):
            await waiting.list(Namespace)


async def test_a_kubeconfig_of_another_user_works_from_its_content(light_cluster: LightCluster) -> None:
    config = light_cluster.kubeconfig_for("ada", ("system:masters",))
    async with Client(load_kubeconfig(config)) as client:
        assert await client.list(Namespace)
