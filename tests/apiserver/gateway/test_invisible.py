"""What somebody may not see leaves no trace in any answer, not even that it exists (S10; I15).

The same questions are asked before another tenant's things exist and after. But for versions and times, which
move with any change of the cluster, the answers must be the same: then nothing in them can tell.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.support.gateway import IAM, USERS, RunningGateway
from tests.support.workspaces import WORKSPACES, Tenant, known

from edge_kube.client import Client

ROWS = "/oapis/console.theriseunion.io/v1alpha1/rows"
TENANT = "/oapis/tenant/v1alpha1"
AUDIT = "/oapis/audit.theriseunion.io/v1alpha1/records"
MERGE = {"Content-Type": "application/merge-patch+json"}
CHANGES_BY_ITSELF = re.compile(
    r'"(resourceVersion|rv|continue|cursor|requestId|serverTime|lastSeen|sessionExpires|etag|version)":"?[^",}]*"?'
    r"|\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)|\b[0-9a-f]{16,64}\b"
)


class Asked(NamedTuple):
    method: str
    path: str
    options: dict[str, Any]


def get(path: str, **headers: str) -> Asked:
    return Asked("GET", path, {"headers": headers} if headers else {})


def lists(theirs: Tenant) -> Iterator[Asked]:
    """Lists, counts, pages, order, search, selectors and tables of every kind that is listed here."""
    name, namespace = theirs.workspace, theirs.namespaces[0]
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    for kind in ("workspaces", "namespaces", "nodegroups", "clusters", "nodes"):
        for query in (
            "", "limit=1", "page=1&limit=1", "page=2&limit=1", "sortBy=creationTime&ascending=false",
            f"q={name}", f"q={namespace}", f"fieldSelector=metadata.name%3D{name}",
            f"fieldSelector=metadata.name!%3D{name}", f"labelSelector=theriseunion.io/workspace%3D{name}",
            "labelSelector=theriseunion.io/workspace",
        ):  # fmt: skip
            yield get(f"{TENANT}/{kind}?{query}")
        for query in ("columns=name", f"q={name}", f"q={namespace}", "limit=1", "sortBy=age", "facets=state"):
            yield get(f"{ROWS}/tenant/v1alpha1/{kind}?{query}")
    for path in ("/api/v1/namespaces", "/api/v1/configmaps", "/api/v1/secrets", "/api/v1/pods"):
        yield get(path)
        yield get(path, Accept=table)
        yield get(f"/clusters/host{path}?limit=1")
    for group, kind in (
        ("iam", "users"),
        ("iam", "iamrolebindings"),
        ("iam", "iamroles"),
        ("app", "applications"),
    ):
        yield get(f"/oapis/{group}/v1alpha1/{kind}?q={theirs.user}")
        yield get(f"{ROWS}/{group}/v1alpha1/{kind}?q={theirs.user}")
    yield get(f"{ROWS}/core/v1/configmaps?q={name}")
    yield get(f"{ROWS}/core/v1/configmaps?scope=workspace/{name}")


def by_name(theirs: Tenant) -> Iterator[Asked]:
    """Single objects by their names: reading, changing, what hangs on them. The text of a refusal counts."""
    namespace = theirs.namespaces[0]
    for path in (
        f"{WORKSPACES}/{theirs.workspace}", f"{TENANT}/workspaces/{theirs.workspace}",
        f"{TENANT}/workspaces/{theirs.workspace}/namespaces", f"{TENANT}/namespaces/{namespace}",
        f"{USERS}/{theirs.user}", f"{USERS}/{theirs.user}/sessions", f"{USERS}/{theirs.user}/kubeconfigs",
        f"{IAM}/iamrolebindings/{theirs.binding}", f"/api/v1/namespaces/{namespace}",
        f"/api/v1/namespaces/{namespace}/configmaps", f"/api/v1/namespaces/{namespace}/configmaps/kept",
        f"/api/v1/namespaces/{namespace}/pods/kept/log", f"/clusters/host/api/v1/namespaces/{namespace}",
    ):  # fmt: skip
        yield get(path)
        yield Asked("PATCH", path, {"headers": MERGE, "data": '{"metadata":{"labels":{"a":"b"}}}'})
        yield Asked("DELETE", path, {})
        yield Asked("PUT", path, {"json": {"metadata": {"name": path.rpartition("/")[2]}}})
    yield Asked("PUT", f"{USERS}/{theirs.user}/password", {"json": {"newPassword": "Qwer!1234-new"}})
    yield Asked("POST", WORKSPACES, {"json": {"metadata": {"name": theirs.workspace}}})
    yield Asked("POST", "/api/v1/namespaces", {"json": {"metadata": {"name": namespace}}})


def about_rights(theirs: Tenant) -> Iterator[Asked]:
    action = {"verb": "list", "group": "", "resource": "pods"}
    subject = {"kind": "User", "name": theirs.user}
    for scope in (f"workspace/{theirs.workspace}", f"namespace/{theirs.namespaces[0]}"):
        for what in ("explain", "who-can", "can-i"):
            body = {"scope": scope, "action": action}
            yield Asked("POST", f"{IAM}/access/{what}", {"json": body})
            yield Asked("POST", f"{IAM}/access/{what}", {"json": body | {"subject": subject}})
        yield get(f"{IAM}/me/access?scope={scope}")
        yield get(f"{AUDIT}?scope={scope}")
    yield get(f"{IAM}/me/scopes")
    yield get(f"{IAM}/access/grants")
    yield get(f"{AUDIT}?user={theirs.user}")


async def answers(gateway: RunningGateway, token: str, theirs: Tenant) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in (*lists(theirs), *by_name(theirs), *about_rights(theirs)):
        answer = await gateway.ask(one.method, one.path, token=token, **one.options)
        said = CHANGES_BY_ITSELF.sub("", answer.body.decode())
        counts = {name: answer.headers.get(name) for name in ("X-Total-Count", "Link", "Warning")}
        found[f"{one.method} {one.path} {json.dumps(one.options)}"] = f"{answer.status} {counts} {said}"
    return found


@pytest.mark.parametrize("who", ["a tenant", "somebody without any right"])
async def test_S10_no_answer_changes_by_what_somebody_else_has(
    gateway: RunningGateway, kube: Client, tenant: Tenant, who: str
) -> None:
    token = await gateway.token(tenant.user if who == "a tenant" else "ada")
    theirs = Tenant(kube)
    before = await answers(gateway, token, theirs)
    assert len(before) > 150
    await theirs.make()
    kept = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kept", "namespace": theirs.namespaces[0]},
    }
    await kube.create(kept, manager="test")
    await known(gateway, theirs)
    await gateway.until(f"{IAM}/iamrolebindings/{theirs.binding}", 200, token=await gateway.token())
    after = await answers(gateway, token, theirs)
    told = [f"{ask}\n  {before[ask]}\n  {after[ask]}" for ask in before if before[ask] != after[ask]]
    assert told == [], "\n".join(told)


async def test_S10_the_owner_sees_by_the_same_questions_that_something_is_there(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    """Else the questions above would ask for nothing that can be seen."""
    other = Tenant(kube)
    await other.make()
    strange = await answers(gateway, await known(gateway, other), tenant)
    own = await answers(gateway, await gateway.token(tenant.user), tenant)
    told = [ask for ask in own if own[ask] != strange[ask]]
    assert len(told) > 60


async def test_S10_a_watch_brings_nothing_of_others_and_no_sign_of_them(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    token, theirs = await gateway.token(tenant.user), Tenant(kube)
    async with (
        asyncio.timeout(120),
        gateway.session.get(
            f"{gateway.url}{TENANT}/namespaces?watch=1&allowWatchBookmarks=true",
            headers={"Authorization": f"Bearer {token}"},
        ) as watch,
    ):
        assert watch.status == 200
        await theirs.make()
        own = {"metadata": {"labels": {"colour": "blue"}}}
        await gateway.ask(
            "PATCH", f"/api/v1/namespaces/{theirs.namespaces[0]}", token=await gateway.token(),
            headers=MERGE, data=json.dumps(own),
        )  # fmt: skip
        answer = await gateway.ask(
            "PATCH", f"/api/v1/namespaces/{tenant.namespaces[0]}", token=await gateway.token(),
            headers=MERGE, data=json.dumps(own),
        )  # fmt: skip
        assert answer.status == 200
        seen: list[dict[str, Any]] = []
        async for line in watch.content:
            event = json.loads(line)
            seen.append(event)
            if event["object"]["metadata"].get("labels", {}).get("colour") == "blue":
                break
        else:
            pytest.fail(f"the watch ended before its event came: {seen}")
    assert {one["object"]["metadata"].get("name", "") for one in seen if one["type"] != "BOOKMARK"} <= set(
        tenant.namespaces
    )
    assert not [one for one in seen if theirs.workspace in str(one)]


async def test_S10_metrics_name_nobody_and_nothing(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    """They need no token, so they hold counts by kind alone."""
    token = await gateway.token(tenant.user)
    for path in (f"{WORKSPACES}/{tenant.workspace}", f"/api/v1/namespaces/{tenant.namespaces[0]}/secrets"):
        await gateway.get(path, token=token)
    told = (await gateway.get("/metrics")).body.decode()
    for name in (tenant.workspace, tenant.user, *tenant.namespaces, tenant.binding):
        assert name not in told
