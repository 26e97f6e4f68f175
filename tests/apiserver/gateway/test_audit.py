"""A record before each change and its outcome after, on a real API server (O6; design §10, §4)."""

import asyncio
import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.support.acting import as_user, let_act
from tests.support.gateway import (
    PASSWORD,
    PATIENCE_S,
    USERS,
    Answer,
    RunningGateway,
    make_user,
    somebody,
)
from tests.support.person import Person
from tests.support.trails import lines_of
from tests.support.workspaces import Tenant, known

from edge.audit.chain import BODY
from edge.audit.events import kubernetes_event
from edge.audit.folder import Folder
from edge.audit.kept import FolderReading
from edge.audit.query import Entry
from edge.audit.record import Record, read_record
from edge.audit.verify import Report, verify
from edge.audit.writer import Writer
from edge_kube.client import Client
from edge_kube.core import ConfigMap
from edge_kube.errors import NotFound
from edge_kube.harness import LightCluster

AUDIT = "/oapis/audit.theriseunion.io/v1alpha1"
MAPS = "/api/v1/namespaces/default/configmaps"
PATIENT = {"audit.acknowledgeWithin": "30s", "audit.enoughFree": "0"}


def settings(folder: Path, **more: str) -> dict[str, str]:
    return {"audit.folder": str(folder), "audit.refuseAtPercent": "100", **PATIENT, **more}


@pytest_asyncio.fixture
async def audited(gateway_cluster: LightCluster, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with RunningGateway(gateway_cluster.connection, settings(tmp_path / "trail")) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trail"


def records(folder: Path) -> list[Record]:
    found = [read_record(line[BODY:]) for path in folder.glob("*.log") for line in lines_of(path)]
    return sorted(found, key=lambda record: record.time)


async def written(gateway: RunningGateway) -> None:
    """Until what was noted of answers that are out is on the disk: no answer waits for that."""
    assert gateway.server.auditor is not None
    async with asyncio.timeout(PATIENCE_S):
        while gateway.server.auditor.trail.counts.waiting:  # noqa: ASYNC110 - a thread writes it
            await asyncio.sleep(0.005)


async def asked(gateway: RunningGateway, token: str, **query: str) -> list[dict[str, Any]]:
    await written(gateway)
    answer = await gateway.get(f"{AUDIT}/records", token=token, params=query)
    assert answer.status == 200, answer.body
    return answer.json()["items"]


async def change(
    gateway: RunningGateway, method: str, path: str, token: str, body: Any = None, **options: Any
) -> Answer:
    """Ask again while rights are not proven, as happens on a busy machine."""
    async with asyncio.timeout(60):
        while True:
            answer = await gateway.ask(method, path, token=token, json=body, **options)
            if answer.status != 503 or b"AuditUnavailable" in answer.body:
                return answer


def configmap(name: str, colour: str = "blue") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"colour": colour}}


def fresh_name() -> str:
    return f"c-{secrets.token_hex(4)}"


async def test_an_object_that_kubectl_sends_as_protobuf_is_recorded_by_its_name(
    audited: RunningGateway,
) -> None:
    token, name = await audited.token(), fresh_name()
    await audited.kubectl(token, "create", "configmap", name, "-n", "default", "--from-literal=colour=blue")
    (entry,) = await asked(audited, token, resource="configmaps", name=name, verb="create")
    assert entry["result"] == "success"


async def test_a_change_has_an_intent_and_an_outcome(audited: RunningGateway, folder: Path) -> None:
    token, name = await audited.token(), fresh_name()
    made = await change(audited, "POST", MAPS, token, configmap(name), headers={"User-Agent": "test"})
    assert made.status == 201
    again = await change(audited, "POST", MAPS, token, configmap(name))
    assert again.status == 409
    assert (await change(audited, "DELETE", f"{MAPS}/{name}", token)).status == 200
    found = await asked(audited, token, name=name)
    assert [(one["req"]["verb"], one["code"], one["result"]) for one in found] == [
        ("delete", 200, "success"), ("create", 409, "failure"), ("create", 201, "success"),
    ]  # fmt: skip
    first = found[-1]
    assert first["req"] == {
        "verb": "create", "version": "v1", "resource": "configmaps", "namespace": "default", "name": name,
    }  # fmt: skip
    assert (first["actor"]["user"], first["scope"]) == ("admin", "namespace/default")
    assert first["grant"] == {
        "scope": "platform",
        "binding": "admin-platform-admin",
        "role": "platform-admin",
    }
    assert first["from"] == {"ip": "127.0.0.1", "agent": "test"}
    assert first["rv"] == made.json()["metadata"]["resourceVersion"]
    assert "data.colour" in first["changed"]
    assert first["request"] == made.headers["X-Request-Id"]
    assert found[1]["reason"] == "AlreadyExists"
    of_it = [record for record in records(folder) if record.id == first["id"]]
    assert [record.phase for record in of_it] == ["intent", "outcome"]


async def test_who_acts_as_somebody_is_the_actor_and_the_other_is_named(
    audited: RunningGateway, folder: Path, kube: Client
) -> None:
    """A change, a read, a refusal of what the other may not do and one of the `--as` itself."""
    helper, other = await somebody(audited, kube), await somebody(audited, kube, admin=True)
    await let_act(audited, kube, helper, other, "ada")
    token, name = await audited.token(helper), fresh_name()
    made = await change(audited, "POST", MAPS, token, configmap(name), headers=as_user(other))
    assert made.status == 201
    assert (await audited.get(f"{MAPS}/{name}", token=token, headers=as_user(other))).status == 200
    denied = await change(audited, "GET", f"{MAPS}/{name}", token, headers=as_user("ada"))
    assert denied.status == 403
    assert (await audited.get(MAPS, token=token, headers=as_user("admin"))).status == 403
    admin = await audited.token()
    (created,) = await asked(audited, admin, impersonated=other, verb="create")
    assert created["actor"]["user"] == helper
    assert created["actor"]["impersonated"] == other
    assert (created["req"]["name"], created["grant"]["binding"]) == (name, f"{other}-platform-admin")
    (read,) = await asked(audited, admin, impersonated=other, verb="get")
    assert (read["phase"], read["actor"]["user"]) == ("read", helper)
    (refused,) = await asked(audited, admin, impersonated="ada")
    assert (refused["phase"], refused["actor"]["user"], refused["code"]) == ("refused", helper, 403)
    (tried,) = await asked(audited, admin, user=helper, verb="impersonate")
    assert (tried["req"]["name"], tried["phase"]) == ("admin", "refused")
    assert "impersonated" not in tried["actor"]
    assert {one["id"] for one in await asked(audited, admin, user=helper)} >= {
        one["id"] for one in (created, read, refused, tried)
    }
    event = kubernetes_event(msgspec.convert(created, Entry))
    assert (event["user"]["username"], event["impersonatedUser"]) == (helper, {"username": other})
    await written(audited)
    code, out, _ = await Person(audited, folder.parent, admin).types(
        "audit", "query", "--impersonated", other
    )
    assert (code, f"{helper} as {other}  create configmaps {name}" in out) == (0, True), out


async def test_the_intent_is_on_the_disk_before_the_api_server_hears_of_it(
    audited: RunningGateway, folder: Path, kube: Client
) -> None:
    token, name = await audited.token(), fresh_name()
    trail = audited.server.auditor.trail  # type: ignore[union-attr]
    begin = trail.begin
    there: list[bool] = []

    async def begin_and_look(record: Record) -> None:
        await begin(record)
        if record.req.name == name:
            durable = [one for one in records(folder) if one.id == record.id]
            there.append(bool(durable))
            with pytest.raises(NotFound):
                await kube.get(ConfigMap, name, "default")

    trail.begin = begin_and_look  # type: ignore[method-assign]
    assert (await change(audited, "POST", MAPS, token, configmap(name))).status == 201
    assert there == [True]


async def test_no_secret_value_is_ever_in_the_files(audited: RunningGateway, folder: Path) -> None:
    token, name = await audited.token(), fresh_name()
    password = f"Secr3t-{secrets.token_hex(8)}"
    body = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"key": password},
    }  # fmt: skip
    base = "/api/v1/namespaces/default/secrets"
    assert (await change(audited, "POST", base, token, body)).status == 201
    patch = {"headers": {"Content-Type": "application/merge-patch+json"}}
    changed = {"stringData": {"other": password}}
    assert (await change(audited, "PATCH", f"{base}/{name}", token, changed, **patch)).status == 200
    assert (await audited.get(f"{base}/{name}", token=token)).status == 200
    user = {
        "apiVersion": "iam.theriseunion.io/v1alpha1", "kind": "User", "metadata": {"name": name},
        "spec": {"password": password, "encryptedPassword": password},
    }  # fmt: skip
    await change(audited, "POST", USERS, token, user)
    wrong = await audited.sign_in("admin", password)
    assert wrong.status == 401
    assert (await audited.sign_in(password, "x")).status == 401
    found = await asked(audited, token, name=name, resource="secrets")
    assert [one["req"]["verb"] for one in found] == ["get", "patch", "create"]
    assert {one["phase"] for one in found} == {"outcome"}
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for value in (password, token, PASSWORD):
        assert value.encode() not in written


async def test_a_shell_is_recorded_with_its_program_and_without_arguments(
    audited: RunningGateway, folder: Path
) -> None:
    token, name = await audited.token(), fresh_name()
    path = f"/api/v1/namespaces/default/pods/{name}/exec?command=/bin/mysql&command=-pS3cr3t&stdin=true"
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
    }  # fmt: skip
    answer = await change(audited, "GET", path, token, headers=upgrade)
    assert answer.status == 404, "there is no such pod"
    (entry,) = await asked(audited, token, resource="pods/exec", name=name)
    assert (entry["req"]["verb"], entry["req"]["command"], entry["code"]) == ("create", "mysql", 404)
    assert b"S3cr3t" not in b"".join(path.read_bytes() for path in folder.glob("*.log"))


async def test_a_command_line_in_one_argument_is_recorded_without_arguments(
    audited: RunningGateway, folder: Path
) -> None:
    token, name = await audited.token(), fresh_name()
    path = f"/api/v1/namespaces/default/pods/{name}/exec?command=/bin/mysql%20-p/S3cr3t"
    assert (await change(audited, "POST", path, token)).status in (400, 404)
    (entry,) = await asked(audited, token, resource="pods/exec", name=name)
    assert entry["req"]["command"] == "mysql"
    assert b"S3cr3t" not in b"".join(path.read_bytes() for path in folder.glob("*.log"))


async def test_a_dry_run_is_told_apart_however_it_was_asked_for(audited: RunningGateway) -> None:
    token, name = await audited.token(), fresh_name()
    assert (await change(audited, "POST", MAPS, token, configmap(name))).status == 201
    await audited.kubectl(token, "delete", "configmap", name, "-n", "default", "--dry-run=server")
    assert (await change(audited, "DELETE", f"{MAPS}/{name}?dryRun=All", token)).status == 200
    tried = await asked(audited, token, name=name, verb="delete")
    assert [one["req"].get("dryRun") for one in tried] == [True, True]


async def test_what_the_api_server_named_is_recorded_by_that_name(audited: RunningGateway) -> None:
    token, name = await audited.token(), f"{fresh_name()}-"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": name}}
    kind = {"headers": {"Accept": "application/vnd.kubernetes.protobuf"}}
    assert (await change(audited, "POST", MAPS, token, body, **kind)).status == 201
    (entry,) = [
        one
        for one in await asked(audited, token, resource="configmaps", verb="create")
        if one["req"].get("name", "").startswith(name)
    ]
    assert entry["result"] == "success"


async def test_sign_ins_are_recorded_and_unknown_names_are_not_written_down(
    audited: RunningGateway, folder: Path
) -> None:
    token = await audited.token()
    await audited.sign_in("admin", "wrong")
    await audited.sign_in("nobody-of-that-name", "wrong")
    found = [(one.actor.user, one.code, one.reason) for one in records(folder) if one.req.verb == "sign-in"]
    assert found == [("admin", 200, ""), ("admin", 401, "WrongPassword"), ("", 401, "UnknownUser")]
    assert len(await asked(audited, token, verb="sign-in", user="admin")) == 2


async def test_what_is_not_allowed_is_recorded_as_refused(audited: RunningGateway, folder: Path) -> None:
    token = await audited.token("ada")
    assert (await change(audited, "POST", MAPS, token, configmap("x"))).status == 403
    found = await asked(audited, token, code="403")
    assert (found[0]["phase"], found[0]["actor"]["user"], found[0]["result"]) == ("refused", "ada", "failure")


async def test_without_a_durable_record_nothing_is_forwarded_or_signed_in(
    gateway_cluster: LightCluster, tmp_path: Path, kube: Client
) -> None:
    (tmp_path / "trail").write_text("a file is in the way, as a broken mount would be")
    async with RunningGateway(gateway_cluster.connection, settings(tmp_path / "trail")) as gateway:
        refused = await gateway.sign_in()
        assert (refused.status, refused.json()["edge"]["code"]) == (503, "AuditUnavailable")
        (tmp_path / "trail").unlink()
        async with asyncio.timeout(20):
            while (await gateway.sign_in()).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        token = await gateway.token()
        # Full: no more room can be made, and what there is, is kept for outcomes.
        writer, name = gateway.server.auditor.trail.writer, fresh_name()  # type: ignore[union-attr]
        assert isinstance(writer, Writer)
        writer._full = True
        writer._looked_s = float("inf")
        refused = await change(gateway, "POST", MAPS, token, configmap(name))
        assert (refused.status, refused.json()["edge"]["code"]) == (503, "AuditUnavailable")
        assert "Retry-After" in refused.headers
        assert "Nothing was changed" in refused.json()["message"]
        with pytest.raises(NotFound):
            await kube.get(ConfigMap, name, "default")
        assert (await gateway.get(f"{MAPS}", token=token)).status == 200, "reads go on"
        assert (await gateway.get("/api/v1/namespaces/default/secrets", token=token)).status == 503
        metrics = (await gateway.get("/metrics")).body.decode()
        assert 'edge_audit_refused_total{reason="disk-full"} 2.0' in metrics


async def test_a_slow_disk_refuses_in_time_and_the_record_says_so(
    gateway_cluster: LightCluster, tmp_path: Path
) -> None:
    folder = tmp_path / "trail"
    async with RunningGateway(gateway_cluster.connection, settings(folder)) as gateway:
        token, name = await gateway.token(), fresh_name()
        trail = gateway.server.auditor.trail  # type: ignore[union-attr]
        trail._within_s = 0.0
        refused = await change(gateway, "POST", MAPS, token, configmap(name))
        assert (refused.status, refused.json()["edge"]["code"]) == (503, "AuditUnavailable")
        trail._within_s = 10
        assert (await change(gateway, "POST", MAPS, token, configmap(fresh_name()))).status == 201
    mine = [record for record in records(folder) if record.req.name == name]
    assert [(record.phase, record.code) for record in mine] in ([], [("intent", 0), ("outcome", 503)])


async def test_queries_are_scoped_to_what_the_caller_administers(
    audited: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    inside, outside = tenant.namespaces[0], fresh_name()
    admin = await audited.token()
    mine = await known(audited, tenant)
    for namespace in (inside, "default"):
        name = fresh_name()
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        assert (await change(audited, "POST", path, admin, body)).status == 201
        outside = name
    plain = await audited.token("ada")
    seen = await asked(audited, mine, limit="500")
    assert {one["req"].get("namespace", "") for one in seen if one["actor"].get("user") == "admin"} <= {
        inside
    }
    assert any(one["actor"]["user"] == "admin" for one in seen), (
        "the workspace's admin sees what is done in it"
    )
    assert {one["actor"]["user"] for one in await asked(audited, plain)} == {"ada"}
    hidden = (await asked(audited, admin, name=outside))[0]["id"]
    assert (await audited.get(f"{AUDIT}/records/{hidden}", token=admin)).status == 200
    assert (await audited.get(f"{AUDIT}/records/{hidden}", token=mine)).status == 404
    within = await asked(audited, admin, scope=f"workspace/{tenant.workspace}")
    assert {one["req"]["namespace"] for one in within} == {inside}


async def test_pages_follow_each_other_and_filters_narrow(audited: RunningGateway) -> None:
    token = await audited.token()
    mine = [fresh_name() for _ in range(5)]
    for name in mine:
        await change(audited, "POST", MAPS, token, configmap(name))
    pages: list[list[str]] = []
    cursor = ""
    await written(audited)
    while True:
        params = {"resource": "configmaps", "verb": "create", "limit": "2", "cursor": cursor}
        page = (await audited.get(f"{AUDIT}/records", token=token, params=params)).json()
        pages.append([one["req"]["name"] for one in page["items"]])
        cursor = page["cursor"]
        if not cursor:
            break
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [name for page in pages for name in page] == mine[::-1]
    when = (await asked(audited, token, name=mine[2]))[0]["time"]
    newer = await asked(audited, token, resource="configmaps", **{"from": str(when)})
    assert [one["req"]["name"] for one in newer] == mine[:1:-1]
    far = base64.urlsafe_b64encode(b"9" * 30 + b".x").decode()
    for bad in (
        {"from": "yesterday"}, {"result": "perhaps"}, {"code": "x"}, {"code": "9" * 5000}, {"cursor": "!"},
        {"cursor": far}, {"limit": "0"}, {"limit": "many"}, {"limit": "9" * 5000},
    ):  # fmt: skip
        assert (await audited.get(f"{AUDIT}/records", token=token, params=bad)).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nobody_changes_or_drops_a_record_through_the_gateway(
    audited: RunningGateway, method: str
) -> None:
    token = await audited.token()
    for path in (f"{AUDIT}/records", f"{AUDIT}/records/x", "/kapis/audit/v1alpha1/records/x"):
        answer = await change(audited, method, path, token, {})
        assert (answer.status, answer.json()["edge"]["code"]) == (405, "MethodNotAllowed")


async def test_the_trail_is_verified_and_a_change_of_the_file_is_told(
    audited: RunningGateway, folder: Path
) -> None:
    token = await audited.token()
    for _ in range(3):
        await change(audited, "POST", MAPS, token, configmap(fresh_name()))
    await written(audited)
    found = (await audited.get(f"{AUDIT}/verification", token=token)).json()
    assert found["whole"] is True
    assert found["records"] >= 6
    plain = await audited.token("ada")
    assert (await audited.get(f"{AUDIT}/verification", token=plain)).status == 403
    (segment,) = folder.glob("*.log")
    damaged = re.sub(rb'"user":"admin"', b'"user":"adman"', segment.read_bytes(), count=1)
    segment.write_bytes(damaged)
    found = (await audited.get(f"{AUDIT}/verification", token=token)).json()
    assert found["whole"] is False
    assert found["broken"]["why"] == "it was altered"


async def test_verification_may_take_longer_than_a_request(
    gateway: RunningGateway, gateway_cluster: LightCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, token = FolderReading.verify, await gateway.token()  # a sign-in has no more time than a request

    async def slowly(reading: FolderReading, anchors: Sequence[bytes] = ()) -> Report:
        await asyncio.sleep(2.5)
        return await really(reading, anchors)

    monkeypatch.setattr(FolderReading, "verify", slowly)
    more = {"server.requestTimeout": "2s", "audit.acknowledgeWithin": "2s"}
    async with RunningGateway(gateway_cluster.connection, settings(tmp_path / "trail", **more)) as hasty:
        answer = await hasty.get(f"{AUDIT}/verification", token=token)
    assert (answer.status, answer.json()["whole"]) == (200, True)


async def test_the_api_servers_own_record_has_the_same_id(audited: RunningGateway, folder: Path) -> None:
    token, name = await audited.token(), fresh_name()
    forged = {"Audit-ID": "00000000-0000-0000-0000-000000000000"}
    made = await change(audited, "POST", MAPS, token, configmap(name), headers=forged)
    (entry,) = await asked(audited, token, name=name)
    assert made.headers["Audit-Id"] == entry["id"]


async def test_after_a_stop_the_chain_is_closed_and_whole(
    gateway_cluster: LightCluster, tmp_path: Path
) -> None:
    for _ in range(2):
        async with RunningGateway(gateway_cluster.connection, settings(tmp_path / "trail")) as gateway:
            token = await gateway.token()
            for _ in range(3):
                await change(gateway, "POST", MAPS, token, configmap(fresh_name()))
    report = verify(Folder(tmp_path / "trail"))
    assert (report.broken, report.chains, report.unsigned, report.records) == (None, 2, 0, 14)


async def test_every_read_is_noted_when_that_is_asked_for(
    gateway_cluster: LightCluster, tmp_path: Path
) -> None:
    async with RunningGateway(
        gateway_cluster.connection, settings(tmp_path / "trail", **{"audit.reads": "all"})
    ) as gateway:
        token = await gateway.token()
        await gateway.get(USERS, token=token)
        await gateway.get(MAPS, token=token)
    found = {(one.phase, one.req.resource, one.code) for one in records(tmp_path / "trail")}
    assert {("read", "users", 200), ("read", "configmaps", 200)} <= found


async def test_a_new_password_is_recorded_without_it(
    audited: RunningGateway, kube: Client, folder: Path
) -> None:
    user = fresh_name()
    await make_user(kube, user)
    await audited.knows(user)
    token = await audited.token(user)
    body = {"currentPassword": PASSWORD, "newPassword": "An0ther-Passw0rd"}
    path = f"{USERS}/{user}/password"
    assert (await change(audited, "PUT", path, token, body)).status == 200
    (entry,) = [one for one in await asked(audited, await audited.token(), user=user) if "sub" in one["req"]]
    assert (entry["req"]["sub"], entry["req"]["name"], entry["code"]) == ("password", user, 200)
    assert sorted(entry["changed"]) == ["currentPassword", "newPassword"]
    assert "An0ther" not in json.dumps(entry)
