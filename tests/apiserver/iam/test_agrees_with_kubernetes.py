"""The same rules in our engine and in a real kube-apiserver's RBAC: every answer must agree (I2; S18).

Both sides hold the same rules: ClusterRoles bound everywhere are platform roles here, RoleBindings are
bindings at namespaces. Only native API groups are used, and there is no exception in either direction.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from edge.iam.index import Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.types import PolicyRule
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.harness.kube import Kube
from edge_kube.meta import Manifest, ObjectMeta

RBAC = "rbac.authorization.k8s.io"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
NAMESPACES = ("agree-a", "agree-b", "agree-c")
THE_LAST = {"": "agree-last", NAMESPACES[-1]: "agree-last-there"}
"""Who is bound last, of each kind of binding."""
USERS = [f"agree-user-{n}" for n in range(8)]
GROUPS = ("red", "green", "blue")
VERBS = ("get", "list", "watch", "create", "delete", "deletecollection", "impersonate", "odd")
API_GROUPS = ("", "apps", "example.io")
RESOURCES = ("pods", "pods/log", "pods/exec", "deployments", "deployments/scale", "widgets", "scale")
NAMES = ("", "", "one", "two", "three")
PATHS = ("/metrics", "/logs", "/logs/kubelet", "/version", "/x/y/z")
AT_ONCE = 24

Question = tuple[str, str, str, str, str, str]
"""user, namespace ("" everywhere, or "url"), verb, group, resource or path, name."""


def some(rnd: random.Random, at_most: int, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(rnd.sample(values, rnd.randint(1, at_most)))


def random_rule(rnd: random.Random) -> PolicyRule:
    return PolicyRule(
        verbs=some(rnd, 3, (*VERBS[:7], "*")) if rnd.random() < 0.9 else ("*",),
        api_groups=some(rnd, 2, (*API_GROUPS, "*")),
        resources=some(rnd, 3, (*RESOURCES[:6], "*/log", "*/scale", "pods/*", "*")),
        resource_names=some(rnd, 2, NAMES[2:]) if rnd.random() < 0.3 else (),
    )


def random_url_rule(rnd: random.Random) -> PolicyRule:
    return PolicyRule(
        verbs=some(rnd, 2, ("get", "post", "*")),
        non_resource_urls=some(rnd, 2, ("/metrics", "/logs*", "/logs/*", "/x/*", "/version")),
    )


class Both:
    """Two systems that are told the same."""

    def __init__(self, rnd: random.Random) -> None:
        self.index = Index()
        self.manifests: list[Manifest] = []
        self.groups = {user: some(rnd, 2, GROUPS) for user in USERS}
        for namespace in NAMESPACES:
            self.index.put_scope(f"n/host/{namespace}")
        for n in range(10):
            rules = tuple(random_rule(rnd) for _ in range(rnd.randint(1, 3)))
            self._role(f"agree-{n}", (*rules, random_url_rule(rnd)))
        for n in range(16):
            role, where = f"agree-{rnd.randrange(10)}", rnd.choice(("", *NAMESPACES, *NAMESPACES))
            kind, name = rnd.choice([("User", rnd.choice(USERS)), ("Group", rnd.choice(GROUPS))])
            self._bind(f"agree-{n}", role, where, kind, name)
        self._role("agree-last", (PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",)),))
        for where in ("", NAMESPACES[-1]):
            self._bind(THE_LAST[where], "agree-last", where, "User", THE_LAST[where])

    def _role(self, name: str, rules: tuple[PolicyRule, ...]) -> None:
        self.manifests.append(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": name},
                "rules": [msgspec.to_builtins(rule) for rule in rules],
            }
        )
        for scope in ("platform", "namespace"):
            self.index.put_role(RoleFacts(f"{scope}-{name}", scope, "", rules, (), None))

    def _bind(self, name: str, role: str, namespace: str, kind: str, who: str) -> None:
        meta = {"name": name} | ({"namespace": namespace} if namespace else {})
        self.manifests.append(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
                "metadata": meta,
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": RBAC, "kind": kind, "name": who}],
            }
        )
        scope = f"n/host/{namespace}" if namespace else "p"
        ours = f"{'namespace' if namespace else 'platform'}-{role}"
        self.index.put_binding(Binding(name, ours, scope, (f"{kind}:{who}",)))

    def question(self, rnd: random.Random) -> Question:
        user = rnd.choice(USERS)
        if rnd.random() < 0.15:
            return user, "url", rnd.choice(("get", "post", "put")), "", rnd.choice(PATHS), ""
        where = rnd.choice(("", *NAMESPACES, *NAMESPACES))
        return (
            user,
            where,
            rnd.choice(VERBS),
            rnd.choice(API_GROUPS),
            rnd.choice(RESOURCES),
            rnd.choice(NAMES),
        )

    def ours(self, question: Question) -> bool:
        user, where, verb, group, resource, name = question
        who = (user, self.groups.get(user, ()))
        if where == "url":
            return self.index.check_url(who, verb, resource)
        return self.index.check(who, f"n/host/{where}" if where else "p", verb, group, resource, name)

    def review(self, question: Question) -> bytes:
        user, where, verb, group, resource, name = question
        spec: dict[str, Any] = {"user": user, "groups": list(self.groups.get(user, ()))}
        if where == "url":
            spec["nonResourceAttributes"] = {"verb": verb, "path": resource}
        else:
            plain, _, sub = resource.partition("/")
            attributes: Mapping[str, str] = {
                "verb": verb, "group": group, "resource": plain, "subresource": sub, "name": name,
                "namespace": where,
            }  # fmt: skip
            spec["resourceAttributes"] = attributes
        kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return msgspec.json.encode(kind)


async def theirs(client: Client, body: bytes) -> bool:
    async with await client.raw("POST", REVIEWS, data=body) as response:
        assert response.status == 201
        return bool(msgspec.json.decode(await response.read())["status"].get("allowed", False))


async def in_force(client: Client, body: bytes) -> None:
    """The API server learns of each kind by a watch of its own; when the last one is there, all are."""
    async with asyncio.timeout(60):
        while not await theirs(client, body):  # noqa: ASYNC110 - it changes there
            await asyncio.sleep(0.1)


async def compare(kube: Kube, seed: int, count: int) -> None:
    rnd = random.Random(seed)
    both = Both(rnd)
    for namespace in NAMESPACES:
        await kube.client.apply(Namespace(metadata=ObjectMeta(name=namespace)), manager="test")
    try:
        for manifest in both.manifests:
            await kube.client.apply(manifest, manager="test")
        for where, user in THE_LAST.items():
            await in_force(kube.client, both.review((user, where, "get", "", "pods", "")))
        allowed = 0
        for _ in range(0, count, AT_ONCE):
            asked = [both.question(rnd) for _ in range(AT_ONCE)]
            said = await asyncio.gather(*(theirs(kube.client, both.review(one)) for one in asked))
            for question, answer in zip(asked, said, strict=True):
                assert both.ours(question) == answer, question
                allowed += answer
        assert count // 20 < allowed < count * 19 // 20, "the questions must tell yes from no"
    finally:
        for kind in ("clusterroles", "clusterrolebindings"):
            for manifest in both.manifests:
                if manifest["kind"].lower() + "s" == kind:
                    name = manifest["metadata"]["name"]
                    async with await kube.client.raw("DELETE", f"/apis/{RBAC}/v1/{kind}/{name}"):
                        pass


async def test_our_engine_and_kubernetes_rbac_give_the_same_answers(kube: Kube) -> None:
    await compare(kube, seed=1, count=2400)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 20))
async def test_a_hundred_thousand_answers_agree_with_kubernetes_rbac(kube: Kube, seed: int) -> None:
    await compare(kube, seed=seed, count=10_080)
