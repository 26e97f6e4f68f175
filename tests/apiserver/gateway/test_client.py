"""The generated Python client against a real gateway (G2; issue 5 §2)."""

import asyncio
import secrets

import pytest
from tests.support.gateway import CLIENT, PASSWORD, PATIENCE_S, RunningGateway, make_user
from tests.support.workspaces import Tenant

from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.meta import ObjectMeta
from edge_sdk.client import EdgeClient, errors
from edge_sdk.client.models.iam import Category, CategorySpec
from edge_sdk.client.models.shared import AskedAction, ExplainBody, TokenRequest


async def test_a_program_signs_in_asks_and_reads_every_page(gateway: RunningGateway, tenant: Tenant) -> None:
    async with EdgeClient(gateway.url) as anybody:
        token = await anybody.calls.get_token(
            TokenRequest(grant_type="password", username=tenant.user, password=PASSWORD, **CLIENT)
        )
        assert await anybody.calls.get_healthz() == "ok\n"
    async with EdgeClient(gateway.url, token.access_token) as edge:
        assert (await edge.calls.get_me()).user == tenant.user
        question = ExplainBody(
            scope=f"namespace/{tenant.namespaces[0]}", action=AskedAction(verb="list", resource="pods")
        )
        assert (await edge.calls.explain_access(question)).allowed
        access = await edge.calls.get_my_access(scope=["platform", f"workspace/{tenant.workspace}"])
        assert len(access.items) == 2
    async with EdgeClient(gateway.url, await gateway.token()) as admin:
        users = [one.metadata.name async for one in admin.kinds.users.pages(limit=1)]
        assert {"admin", tenant.user} <= set(users)
        assert len(users) == len(set(users)) == (await admin.kinds.users.list()).total_items


async def test_objects_are_made_changed_applied_watched_and_deleted(gateway: RunningGateway) -> None:
    name = f"c-{secrets.token_hex(3)}"
    async with EdgeClient(gateway.url, await gateway.token()) as edge:
        kind = edge.kinds.categories
        before = (await kind.list()).metadata.resource_version

        async def seen() -> list[tuple[str, str]]:
            found: list[tuple[str, str]] = []
            async for change in kind.watch(resource_version=before):
                if change.object.metadata.name == name:
                    found.append((change.type, change.object.spec.icon))
                if found and found[-1][0] == "DELETED":
                    return found
            return found

        watching = asyncio.create_task(seen())
        made = Category(metadata=ObjectMeta(name=name), spec=CategorySpec(icon="one"))
        tried = await kind.create(made, dry_run=True)
        assert tried.metadata.name == name
        created = await kind.create(made)
        assert created.metadata.uid
        assert (await kind.patch(name, {"spec": {"icon": "two"}})).spec.icon == "two"
        applied = Category(metadata=ObjectMeta(name=name), spec=CategorySpec(icon="three"))
        with pytest.raises(errors.Conflict):
            await kind.apply(applied, manager="test-client")
        assert (await kind.apply(applied, manager="test-client", force=True)).spec.icon == "three"
        await kind.delete(name)
        async with asyncio.timeout(PATIENCE_S):
            assert await watching == [
                ("ADDED", "one"), ("MODIFIED", "two"), ("MODIFIED", "three"), ("DELETED", "three"),
            ]  # fmt: skip


async def test_errors_are_exceptions_that_carry_status_code_and_next_step(
    gateway: RunningGateway, kube: Client
) -> None:
    async with EdgeClient(gateway.url, await gateway.token("ada")) as edge:
        with pytest.raises(errors.Forbidden) as refused:
            await edge.kinds.users.get("admin")
        assert (refused.value.http_status, refused.value.code) == (403, "Forbidden")
        assert refused.value.request_id
        assert refused.value.details.do
        with pytest.raises(errors.BadRequest) as bad:
            await edge.calls.list_my_scopes(limit=-1)
        assert "limit" in str(bad.value)
    async with EdgeClient(gateway.url, await gateway.token()) as edge:
        with pytest.raises(errors.BadRequest) as unknown:
            await edge.calls.list_rows("iam.theriseunion.io", "v1alpha1", "users", columns="colour")
        assert unknown.value.code == "UnknownColumn"
        assert "lastLogin" in unknown.value.edge.params["known"]
        with pytest.raises(errors.NotFound):
            await edge.kinds.users.get("nobody-at-all")
        with pytest.raises(errors.Invalid) as invalid:
            await edge.kinds.users.create({"apiVersion": "iam.theriseunion.io/v1alpha1", "kind": "User",
                                           "metadata": {"name": "Not A Name"}})  # fmt: skip
        assert invalid.value.http_status == 422
    async with EdgeClient(gateway.url, "no-token") as edge:
        with pytest.raises(errors.NotSignedIn):
            await edge.calls.get_me()
    async with EdgeClient("http://127.0.0.1:1") as edge:
        with pytest.raises(errors.Unreachable):
            await edge.calls.get_version()


async def test_a_refused_token_is_renewed_once_for_all_who_wait(gateway: RunningGateway) -> None:
    asked: list[str] = []

    async def source(refused: str) -> str:
        asked.append(refused)
        return "expired" if not refused else await gateway.token()

    async with EdgeClient(gateway.url, source) as edge:
        found = await asyncio.gather(*(edge.calls.get_me() for _ in range(5)))
        assert {one.user for one in found} == {"admin"}
        assert asked == ["", "expired"]


async def test_too_many_requests_are_waited_for(gateway_cluster: LightCluster, kube: Client) -> None:
    limits = {"rateLimit.qps": "5", "rateLimit.burst": "5", "rateLimit.maxDelay": "0s"}
    async with RunningGateway(gateway_cluster.connection, limits) as gateway:
        token = await gateway.token()
        async with EdgeClient(gateway.url, token, tries=1) as hasty:
            with pytest.raises(errors.TooMany) as refused:
                await asyncio.gather(*(hasty.calls.get_me() for _ in range(60)))
            assert refused.value.edge.retry_after_seconds >= 1
        async with EdgeClient(gateway.url, token, tries=20) as patient:
            assert len(await asyncio.gather(*(patient.calls.get_me() for _ in range(12)))) == 12


async def test_a_user_made_with_a_typed_object_can_be_read_back(
    gateway: RunningGateway, kube: Client
) -> None:
    name = f"typed-{secrets.token_hex(3)}"
    await make_user(kube, name, groups=("ops",))
    await gateway.knows(name)
    async with EdgeClient(gateway.url, await gateway.token()) as edge:
        assert (await edge.kinds.users.get(name)).spec.groups == ("ops",)
