"""Who may run something in a pod: exec, attach, port-forward and proxy × method × protocol × role (S4).

A pod's shell is worth more than all its objects, so `get` never opens one, whatever the method is
(kubernetes/kubernetes 78741, 134577; PR 136550). What is allowed reaches the API server as asked.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from tests.support.acting import grant
from tests.support.gateway import RunningGateway, make_user
from tests.support.rawhttp import exchange, request, statuses

from edge.iam.types import IAMRole, IAMRoleBinding, PolicyRule, User
from edge_kube.client import Client
from edge_kube.harness import LightCluster

SUBS = ("exec", "attach", "portforward", "proxy")
ALL = tuple(f"{kind}/{sub}" for kind in ("pods",) for sub in SUBS)
RULES = {
    "reader": PolicyRule(verbs=("get", "list", "watch"), api_groups=("",), resources=("pods", *ALL)),
    "starter": PolicyRule(verbs=("create",), api_groups=("",), resources=ALL),
    "both": PolicyRule(verbs=("create", "get"), api_groups=("",), resources=ALL),
    "writer": PolicyRule(verbs=("update", "patch", "delete"), api_groups=("",), resources=ALL),
    "podonly": PolicyRule(verbs=("*",), api_groups=("",), resources=("pods",)),
    "nobody": PolicyRule(verbs=("*",), api_groups=("apps",), resources=("*",)),
}
"""Role → its only rule, at the platform."""
PROTOCOLS = {
    "plain": (),
    "spdy": ("Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io"),
    "websocket": (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: v5.channel.k8s.io",
    ),
}
MAY = {"GET": {"both", "admin"}, "POST": {"both", "starter", "admin"}}
"""Method → who may. A GET needs `get` beside `create`."""


@pytest_asyncio.fixture
async def tokens(gateway: RunningGateway, kube: Client) -> AsyncIterator[dict[str, str]]:
    made: dict[str, str] = {"admin": await gateway.token()}
    granted: list[str] = []
    for name, rule in RULES.items():
        user = f"shell-{name}"
        await make_user(kube, user)
        await gateway.knows(user)
        granted.append(await grant(gateway, kube, user, rule))
        made[name] = await gateway.token(user)
    yield made
    for one in granted:
        await kube.delete(IAMRoleBinding, one)
        await kube.delete(IAMRole, one)
    for name in RULES:
        await kube.delete(User, f"shell-{name}")


async def test_S4_a_shell_needs_create_whatever_the_method_and_the_protocol(
    gateway: RunningGateway, tokens: dict[str, str], gateway_cluster: LightCluster
) -> None:
    """Who passes is answered by the API server, by whatever: there is no such pod."""
    for sub in SUBS:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"):
            for protocol, headers in PROTOCOLS.items():
                if protocol != "plain" and method not in ("GET", "POST"):
                    continue
                for base in ("", "/clusters/host"):
                    path = f"{base}/api/v1/namespaces/default/pods/none/{sub}?command=sh"
                    found = await asyncio.gather(
                        *(_asked(gateway, method, path, token, headers) for token in tokens.values())
                    )
                    for role, is_refused in zip(tokens, found, strict=True):
                        may = MAY["GET" if method in ("GET", "HEAD") else "POST"]
                        assert is_refused == (role not in may), (role, method, protocol, path)


async def _asked(
    gateway: RunningGateway, method: str, path: str, token: str, headers: tuple[str, ...]
) -> bool:
    """Whether it was the gateway that refused; never a 2xx or a 101, since there is no pod."""
    more = list(headers)
    if not any(one.startswith("Connection") for one in more):
        more.append("Connection: close")
    answer = await exchange(gateway.port, request(method, path, token, more), within_s=60)
    (status,) = statuses(answer)
    assert status >= 400, answer
    # Native RBAC, which knows nothing of these roles here, refuses as well: its answers have an Audit-Id.
    return status == 403 and b"audit-id:" not in answer.lower()


async def test_S4_a_nodes_proxy_is_no_way_to_its_kubelet_for_who_may_only_read(
    gateway: RunningGateway, tokens: dict[str, str]
) -> None:
    for sub in ("exec", "run", "attach", "portForward", "cri/exec", "logs", "pods"):
        for role in RULES:
            for method in ("GET", "POST"):
                path = f"/api/v1/nodes/n/proxy/{sub}/default/p/c?command=sh"
                answer = await gateway.ask(method, path, token=tokens[role])
                assert answer.status == 403, (path, role)
                assert 'resource "nodes/proxy"' in answer.json()["message"]
