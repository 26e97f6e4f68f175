"""The Kubernetes API through the gateway (G1, R13, S2): real kubectl, in the caller's name, never in ours."""

import asyncio
import json
import secrets

import pytest
from tests.support.gateway import PATIENCE_S, USERS, KubectlFailed, RunningGateway, make_user
from tests.support.projected import becomes

from edge.iam.types import IAMRoleBinding, User
from edge_kube.client import Client
from edge_kube.core import ConfigMap, Namespace
from edge_kube.harness import LightCluster
from edge_kube.meta import ObjectMeta

COLOUR = ("-o", "jsonpath={.data.colour} ")
CONFIGMAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: default}\ndata: {colour: %s}\n"


async def test_kubectl_gets_applies_watches_and_deletes(gateway: RunningGateway) -> None:
    token = await gateway.token()
    name = f"c-{secrets.token_hex(3)}"
    assert "created" in await gateway.kubectl(token, "apply", "-f", "-", stdin=CONFIGMAP % (name, "blue"))
    assert "unchanged" in await gateway.kubectl(token, "apply", "-f", "-", stdin=CONFIGMAP % (name, "blue"))
    watching = await gateway.start_kubectl(token, "get", "configmap", name, "-w", *COLOUR)
    assert watching.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert await watching.stdout.readuntil(b" ") == b"blue "
            server_side = ("apply", "--server-side", "--force-conflicts", "-f", "-")
            await gateway.kubectl(token, *server_side, stdin=CONFIGMAP % (name, "green"))
            assert await watching.stdout.readuntil(b" ") == b"green "
    finally:
        watching.kill()
        await watching.communicate()
    assert "deleted" in await gateway.kubectl(token, "delete", "configmap", name)
    with pytest.raises(KubectlFailed, match="not found"):
        await gateway.kubectl(token, "get", "configmap", name)


PERSON = """
apiVersion: iam.theriseunion.io/v1alpha1
kind: User
metadata: {name: %s, labels: {%s}}
spec: {email: ada@example.com}
"""


async def test_a_masked_object_that_is_applied_twice_is_unchanged_and_what_is_left_out_goes(
    gateway: RunningGateway, kube: Client
) -> None:
    """P4: kubectl finds its note of what it applied last, without which it warns and changes."""
    token, name = await gateway.token(), f"applied-{secrets.token_hex(3)}"
    apply = ("apply", "-f", "-")
    assert "created" in await gateway.kubectl(token, *apply, stdin=PERSON % (name, "team: blue"))
    again = await gateway.kubectl(token, *apply, stdin=PERSON % (name, "team: blue"), check=False)
    assert again.strip().endswith("unchanged")
    await gateway.kubectl(token, *apply, stdin=PERSON % (name, ""))
    assert dict((await kube.get(User, name)).metadata.labels) == {}
    await kube.delete(User, name)


async def test_requests_arrive_in_the_callers_name(gateway: RunningGateway) -> None:
    who = json.loads(await gateway.kubectl(await gateway.token(), "auth", "whoami", "-o", "json"))
    assert who["status"]["userInfo"]["username"] == "admin"
    assert set(who["status"]["userInfo"]["groups"]) == {"edge:platform-admins", "system:authenticated"}


async def test_native_rbac_decides_once_more_about_the_caller(
    gateway: RunningGateway, gateway_cluster: LightCluster, kube: Client
) -> None:
    token = await gateway.token()
    about, admins = ("somebody", "list", "configmaps"), ("edge:platform-admins",)
    gateway_cluster.kubectl("delete", "clusterrolebinding", "edge-platform-admins")
    try:
        await becomes(kube, False, *about, groups=admins)
        with pytest.raises(KubectlFailed, match='User "admin" cannot list'):
            await gateway.kubectl(token, "get", "configmaps", "-A")
        refused = await gateway.get("/api/v1/secrets", token=token)
        assert (refused.status, refused.json()["reason"]) == (403, "Forbidden")
    finally:
        gateway_cluster.kubectl(
            *("create", "clusterrolebinding", "edge-platform-admins"),
            *("--clusterrole=cluster-admin", "--group=edge:platform-admins"),
        )
        await becomes(kube, True, *about, groups=admins)


async def test_who_has_no_right_is_refused_everything_but_what_there_is(gateway: RunningGateway) -> None:
    token = await gateway.token("ada")
    for path in (
        *(USERS, "/api/v1/namespaces", "/metrics/cadvisor", "/clusters/x/api/v1/pods"),
        *("/oapis/tenant/v1alpha1/clusters", "/clusters/host/apis/apps/v1/deployments"),
    ):
        answer = await gateway.get(path, token=token)
        assert (answer.status, answer.json()["reason"]) in ((403, "Forbidden"), (404, "NotFound")), path
        assert answer.status == 404 or 'User "ada" cannot' in answer.json()["message"]
    for path in ("/apis", "/api", "/version", "/openapi/v2"):
        assert (await gateway.get(path, token=token)).status == 200, "kubectl asks which kinds there are"


async def test_without_a_token_only_the_public_routes_answer(gateway: RunningGateway) -> None:
    for path in (
        USERS,
        "/api/v1/namespaces",
        "/apis",
        "/version",
        "/nothing",
        "/",
        "/oapis",
        "/clusters/host/api",
    ):
        assert (await gateway.get(path)).status == 401, path
    for path in ("/healthz", "/livez", "/readyz", "/health", "/metrics", "/oapis/version", "/kapis/version"):
        assert (await gateway.get(path)).status == 200, path


async def test_a_binding_makes_and_unmakes_an_admin_at_once(gateway: RunningGateway, kube: Client) -> None:
    await make_user(kube, "boss", admin=True)
    await gateway.knows("boss", admin=True)
    token = await gateway.token("boss")
    await gateway.until(USERS, 200, token=token)
    await kube.delete(IAMRoleBinding, "boss-platform-admin")
    await gateway.until(USERS, 403, token=token)


async def test_identity_headers_of_the_client_change_nothing(gateway: RunningGateway, kube: Client) -> None:
    token = await gateway.token()
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    for headers in (
        {"Impersonate_Group": "system:masters"}, {"X-Remote-User": "root"},
        {"Connection": "keep-alive, Impersonate-User, Impersonate-Group"}, {"Impersonate_User": "root"},
    ):  # fmt: skip
        answer = await gateway.ask("POST", path, token=token, json=body, headers=headers)
        assert answer.status == 201, headers
        info = answer.json()["status"]["userInfo"]
        assert (info["username"], sorted(info["groups"])) == (
            "admin",
            ["edge:platform-admins", "system:authenticated"],
        )


async def test_a_users_groups_of_the_system_are_not_sent(gateway: RunningGateway, kube: Client) -> None:
    await make_user(kube, "crafty", admin=True, groups=("system:masters", "edge:platform-admins", "ops"))
    await gateway.knows("crafty", admin=True)
    who = await gateway.kubectl(await gateway.token("crafty"), "auth", "whoami", "-o", "json")
    assert set(json.loads(who)["status"]["userInfo"]["groups"]) == {
        "edge:group:ops", "edge:platform-admins", "system:authenticated",
    }  # fmt: skip


async def test_password_hashes_are_masked_in_every_form_of_the_native_api(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    native = "/apis/iam.theriseunion.io/v1alpha1/users"
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    proto = {"Accept": "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    one = "fieldSelector=metadata.name=admin"
    for path in (
        *(native, f"{native}/admin", USERS, f"{USERS}/admin", f"{native}?watch=1&timeoutSeconds=1"),
        # Kubernetes answers these with the object or the list, and not with events.
        *(f"{native}/admin?watch=1", f"{native}?watch=0&watch=1&{one}", f"{USERS}/admin?watch=1"),
    ):
        for headers in (
            {}, table, proto, {"Accept-Encoding": "gzip"}, {"Accept": "application/yaml"},
            {"Accept": "application/cbor,application/json"},
        ):  # fmt: skip
            answer = await gateway.get(path, token=token, headers=headers)
            assert b"$2b$" not in answer.body, path
            assert answer.status in (200, 406), (path, headers, answer.body)
    answer = await gateway.ask(
        "PATCH", f"{native}/admin", token=token, data=b'{"metadata":{"labels":{"seen":"yes"}}}',
        headers={"Content-Type": "application/merge-patch+json"},
    )  # fmt: skip
    assert answer.status == 200
    assert b"$2b$" not in answer.body


async def test_objects_of_the_platform_are_written_through_short_and_long_paths(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    body = {"apiVersion": "iam.theriseunion.io/v1alpha1", "kind": "Category", "metadata": {"name": "tools"},
            "spec": {"icon": "box"}}  # fmt: skip
    path = "/oapis/iam.theriseunion.io/v1alpha1/categories"
    assert (await gateway.ask("POST", path, token=token, json=body)).status == 201
    assert (await gateway.ask("POST", path, token=token, json=body)).json()["reason"] == "AlreadyExists"
    await gateway.until("/kapis/iam/v1alpha1/categories/tools", 200, token=token)
    patch = {"Content-Type": "application/merge-patch+json"}
    changed = await gateway.ask(
        "PATCH", f"{path}/tools", token=token, data=b'{"spec":{"icon":"saw"}}', headers=patch
    )
    assert changed.json()["spec"]["icon"] == "saw"
    assert (await gateway.ask("DELETE", f"{path}/tools", token=token)).status == 200
    await gateway.until(f"{path}/tools", 404, token=token)


async def test_lists_follow_the_cluster_within_a_moment(gateway: RunningGateway, kube: Client) -> None:
    token = await gateway.token()
    name = f"n-{secrets.token_hex(3)}"
    path = "/oapis/tenant/v1alpha1/namespaces"
    before = (await gateway.get(path, token=token)).json()
    await kube.create(Namespace(metadata=ObjectMeta(name=name)), manager="test")
    await gateway.until(f"{path}/{name}", 200, token=token)
    after = await gateway.get(path, token=token)
    assert after.json()["totalItems"] == before["totalItems"] + 1
    tag = {"If-None-Match": after.headers["ETag"]}
    assert (await gateway.get(path, token=token, headers=tag)).status == 304


async def test_a_large_answer_streams_through_unchanged(gateway: RunningGateway, kube: Client) -> None:
    data, place = {"blob": secrets.token_hex(400_000)}, f"large-{secrets.token_hex(3)}"
    await kube.create(Namespace(metadata=ObjectMeta(name=place)), manager="test")
    for n in range(3):
        await kube.create(
            ConfigMap(metadata=ObjectMeta(name=f"big-{n}", namespace=place), data=data), manager="test"
        )
    path = f"/api/v1/namespaces/{place}/configmaps"
    through = await gateway.get(path, token=await gateway.token())
    assert len(through.body) > 2_400_000
    assert {item["metadata"]["name"] for item in through.json()["items"]} == {"big-0", "big-1", "big-2"}
    for n in range(3):  # or every later list of the cluster is as large
        await kube.delete(ConfigMap, f"big-{n}", place)


async def test_a_path_that_is_nowhere_is_404_and_an_odd_method_405(gateway: RunningGateway) -> None:
    token = await gateway.token()
    assert (await gateway.get("/nothing/here", token=token)).status == 404
    assert (await gateway.get("/oapis/iam/v1alpha1/nothing", token=token)).status == 404
    assert (await gateway.get("/oapis", token=token)).status == 404
    assert (await gateway.ask("TRACE", "/api", token=token)).status == 405
    assert (await gateway.get("/oapis/iam/v1alpha1/users/admin/password", token=token)).status == 405


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/oauth/token", "POST"),
        ("PUT", "/kapis/oauth/token", "POST"),
        ("POST", "/oapis/version", "GET, HEAD"),
        ("DELETE", "/oauth/logout", "GET, HEAD, POST"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_path_without_a_token_asks_nobody_to_sign_in_for_another_method(
    gateway: RunningGateway, method: str, path: str, allowed: str
) -> None:
    """RFC 9110 §15.5.6: a 405 names the methods that there are."""
    answer = await gateway.ask(method, path)
    assert (answer.status, answer.json()["edge"]["code"]) == (405, "MethodNotAllowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/oauth/callback", "/oauth/nothing", "/kapis/oauth", "/.well-known/nothing"]
)
async def test_what_is_not_there_for_sign_in_is_404_without_a_token(
    gateway: RunningGateway, path: str
) -> None:
    answer = await gateway.get(path)
    assert (answer.status, answer.json()["edge"]["code"]) == (404, "NoSuchPath")
    assert "WWW-Authenticate" not in answer.headers


async def test_methods_of_the_gateways_own_paths_are_told(gateway: RunningGateway) -> None:
    token = await gateway.token()
    for method, path, allowed in (
        ("GET", "/oapis/iam/v1alpha1/users/admin/password", "POST, PUT"),
        ("PUT", "/oapis/iam.theriseunion.io/v1alpha1/me/sessions", "GET, HEAD, DELETE"),
        ("POST", "/kapis/console.theriseunion.io/v1alpha1/overview", "GET, HEAD"),
        ("TRACE", "/oapis/tenant/v1alpha1/nothing", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ):
        answer = await gateway.ask(method, path, token=token)
        assert (answer.status, answer.headers["Allow"]) == (405, allowed), path
        assert answer.json()["reason"] == "MethodNotAllowed"


@pytest.mark.parametrize(
    "path",
    [
        "/oapis/iam/v1alpha1/nothings",
        "/kapis/iam.theriseunion.io/v9/users",
        "/oapis/no.such.group/v1/things/one",
        "/oapis/console.theriseunion.io/v1alpha1/rows",
        "/oapis/core/v1/namespaces/default/unicorns",
        "/oapis/iam/v1alpha1/nothings?watch=1",
    ],
)
async def test_a_kind_that_is_not_there_is_refused_as_everything_else_is(
    gateway: RunningGateway, path: str
) -> None:
    """Every error of the resource API is a Status; Kubernetes itself answers with a line of text."""
    answer = await gateway.get(path, token=await gateway.token())
    found = answer.json()
    assert (answer.status, found["kind"], found["reason"]) == (404, "Status", "NotFound")
