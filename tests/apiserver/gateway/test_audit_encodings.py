"""No value of a secret enters the record, in whatever form it was sent, on a real API server (O6, S5)."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
import yaml
from tests.apiserver.gateway.test_audit import AUDIT, fresh_name, records, settings, written
from tests.support.gateway import Answer, RunningGateway

from edge.audit.events import kubernetes_event
from edge.audit.query import Entry
from edge_kube.harness import LightCluster

SECRETS = "/api/v1/namespaces/default/secrets"
MAPS = "/api/v1/namespaces/default/configmaps"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest_asyncio.fixture
async def audited(gateway_cluster: LightCluster, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    flags = settings(tmp_path / "trail", **{"audit.reads": "all"})
    async with RunningGateway(gateway_cluster.connection, flags) as running:
        yield running


def part(number: int, content: bytes) -> bytes:
    """A field with a length, of a protobuf message."""
    size, length = len(content), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2]) + bytes([*length, size]) + content


def as_protobuf(name: str, value: str) -> bytes:
    pair = part(1, b"p") + part(2, value.encode())
    secret = part(1, part(1, name.encode())) + part(4, pair)
    kind = part(1, b"v1") + part(2, b"Secret")
    return b"k8s\0" + part(1, kind) + part(2, secret)


def requests(name: str, value: str) -> list[tuple[str, str, str, bytes]]:
    """(method, path, content type, body)."""
    one, coded = f"{SECRETS}/{name}", base64.b64encode(value.encode()).decode()
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}}
    whole = {**head, "stringData": {"p": value}}
    container = {"name": "c", "image": "i", "env": [{"name": "API_TOKEN", "value": value}]}

    def patch(*entries: dict[str, object]) -> bytes:
        return json.dumps(entries).encode()

    return [
        ("POST", SECRETS, "application/json", json.dumps(whole).encode()),
        ("PUT", one, "application/json", json.dumps({**head, "data": {"p": coded}}).encode()),
        ("PATCH", one, JSON_PATCH, patch({"op": "add", "path": "/stringData", "value": {"p": value}})),
        ("PATCH", one, JSON_PATCH, patch({"op": "replace", "path": "/data/p", "value": coded})),
        ("PATCH", one, JSON_PATCH, patch({"op": "replace", "path": "", "value": whole})),
        ("PATCH", one, JSON_PATCH, patch({"op": "test", "path": "/data/p", "value": coded})),
        ("PATCH", one, MERGE, json.dumps({"stringData": {"p": value}}).encode()),
        ("PATCH", one, STRATEGIC, json.dumps({"data": {"p": coded}, "$retainKeys": ["data"]}).encode()),
        ("PATCH", f"{one}?fieldManager=t&force=true", APPLY, yaml.safe_dump(whole).encode()),
        ("PATCH", f"{one}?fieldManager=t&force=true", APPLY, json.dumps(whole).encode()),
        ("POST", SECRETS, "application/yaml", yaml.safe_dump(whole).encode()),
        ("POST", SECRETS, PROTOBUF, as_protobuf(f"{name}-p", value)),
        # The API server repeats what it does not like.
        ("POST", SECRETS, "application/json", json.dumps({**head, "data": {"p": f"{value}!"}}).encode()),
        ("PATCH", f"{MAPS}/{name}", MERGE, json.dumps({"data": {"password": value}}).encode()),
        (
            "PATCH", f"/apis/apps/v1/namespaces/default/deployments/{name}/status", STRATEGIC,
            json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}}).encode(),
        ),
        (
            "PATCH", f"/oapis/iam.theriseunion.io/v1alpha1/users/{name}/status", MERGE,
            json.dumps({"status": {"token": value}}).encode(),
        ),
        ("DELETE", f"{MAPS}/{name}?token={value}", "application/json", b""),
        ("POST", f"{MAPS}?access_token={value}", "application/json", json.dumps(head).encode()),
        ("GET", f"/api/v1/namespaces/default/services/{name}/proxy/?token={value}", "", b""),
        ("GET", f"{MAPS}?labelSelector=x%3D{value}", "", b""),
    ]  # fmt: skip


async def sent(gateway: RunningGateway, token: str, asked: tuple[str, str, str, bytes]) -> Answer:
    method, path, kind, body = asked
    headers = {"Content-Type": kind} if kind else {}
    async with asyncio.timeout(60):  # asked again while rights are not proven, as on a busy machine
        while True:
            answer = await gateway.ask(method, path, token=token, data=body or None, headers=headers)
            if answer.status != 503:
                return answer


async def test_no_form_of_a_request_brings_a_secret_into_the_record(
    audited: RunningGateway, tmp_path: Path
) -> None:
    token, name, value = await audited.token(), fresh_name(), f"hunter2-{secrets.token_hex(8)}"
    coded = base64.b64encode(value.encode()).decode().rstrip("=")[:-1]
    asked = requests(name, value)
    ids: list[str] = []
    for one in asked:
        answer = await sent(audited, token, one)
        ids.append(answer.headers.get("X-Request-Id", ""))
    created = await audited.get(f"{SECRETS}/{name}-p", token=token)
    assert created.status == 200, "the one that was sent as protobuf was made"
    await written(audited)
    page = (await audited.get(f"{AUDIT}/records", token=token, params={"limit": "500"})).json()
    seen = {entry["request"]: entry for entry in page["items"] if entry.get("request")}
    assert [one[:2] for one, id_ in zip(asked, ids, strict=True) if id_ not in seen] == []
    events = json.dumps([kubernetes_event(msgspec.convert(entry, Entry)) for entry in page["items"]])
    kept = b"".join(path.read_bytes() for path in (tmp_path / "trail").rglob("*") if path.is_file())
    for text in (kept.decode(errors="replace"), json.dumps(page), events):
        for hidden in (value, coded, token):
            assert hidden not in text
    by_name = [one for one in records(tmp_path / "trail") if one.req.name == name and one.changed]
    assert {path for one in by_name for path in one.changed} >= {"stringData.p", "data.p", "data.password"}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_the_same_change_has_the_same_hash_whatever_the_secret_is(
    audited: RunningGateway, tmp_path: Path, method: str
) -> None:
    """A hash that followed the secret would let a short one be guessed back."""
    token, name = await audited.token(), fresh_name()
    for value in ("one", "two"):
        body = {"kind": "Secret", "stringData": {"p": value}}
        await sent(audited, token, (method, f"{SECRETS}/{name}", MERGE, json.dumps(body).encode()))
    await written(audited)
    found = {one.body_sha256 for one in records(tmp_path / "trail") if one.req.name == name} - {""}
    assert len(found) == 1
