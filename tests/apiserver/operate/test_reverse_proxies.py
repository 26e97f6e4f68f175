"""ReverseProxy objects on a real API server: refused early, or told in the status what became (G5)."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.support.admitted import Admitted, bound, labels, user

from edge.iam.types import GROUP, IAMRole, IAMRoleSpec, PolicyRule
from edge.operate.room import room
from edge.operate.types import ReverseProxy
from edge_kube.errors import KubeError
from edge_kube.harness import Kube
from edge_kube.meta import Key, ObjectMeta


def proxy(name: str, path: str = "/shop/*", host: str = "shop", **more: Any) -> ReverseProxy:
    upstream = {"host": host, "port": 80, "scheme": "http", **more.pop("upstream", {})}
    spec = {"matcher": {"path": path}, "upstream": upstream, "directives": more}
    return msgspec.convert({"metadata": {"name": name, "namespace": "default"}, "spec": spec}, ReverseProxy)


def in_state(state: str) -> Callable[[ReverseProxy], bool]:
    def holds(it: ReverseProxy) -> bool:
        return it.status.state == state

    return holds


async def test_G5_the_older_of_two_is_active_and_the_younger_is_told_whom_it_waits_for(kube: Kube) -> None:
    await kube.start(room())
    first = await kube.create(proxy("first"))
    await kube.eventually(ReverseProxy, "first", in_state("Active"), namespace="default")
    await kube.create(proxy("second"))
    beaten = await kube.eventually(ReverseProxy, "second", in_state("Conflict"), namespace="default")
    assert "default/first" in beaten.status.message
    assert beaten.status.last_update_time
    assert (await kube.get(ReverseProxy, "first", "default")).status.state == "Active"
    await kube.delete(ReverseProxy, first.metadata.name, "default")
    await kube.eventually(ReverseProxy, "second", in_state("Active"), namespace="default")


async def test_G5_an_object_older_than_the_rules_is_told_why_it_is_not_served(kube: Kube) -> None:
    await kube.start(room())  # without admission, as objects of an older release came in
    await kube.create(proxy("bad", "/api/*"))
    told = await kube.eventually(ReverseProxy, "bad", in_state("Invalid"), namespace="default")
    assert "spec.matcher.path" in told.status.message
    assert "the gateway's own" in told.status.message
    await kube.create(proxy("hasty", "/hasty/*", upstream={"scheme": "https", "insecureSkipVerify": True}))
    warned = await kube.eventually(ReverseProxy, "hasty", in_state("Active"), namespace="default")
    assert "is not checked" in warned.status.message


@pytest.mark.parametrize(
    ("broken", "field", "says"),
    [
        (proxy("x", "/oauth/*"), "spec.matcher.path", "the gateway's own"),
        (proxy("x", "/oapis/iam.theriseunion.io/*"), "spec.matcher.path", "served by the platform"),
        (proxy("x", host="0x7f.1"), "spec.upstream.host", "192.0.2.1"),
        (proxy("x", host="169.254.169.254"), "spec.upstream.host", "credentials of machines"),
        (proxy("x", headerUp=["Impersonate-User root"]), "spec.directives.headerUp[0]", "by the gateway"),
        (proxy("x", rewrite=[{"from": "(?=a)", "to": "/"}]), "spec.directives.rewrite[0]", "RE2"),
        (proxy("x", upstream={"caBundle": "nothing"}), "spec.upstream.caBundle", "certificate"),
    ],
)  # fmt: skip
async def test_G5_what_could_never_work_is_refused_with_field_and_reason(
    kube: Kube, broken: ReverseProxy, field: str, says: str
) -> None:
    await kube.start(room(), webhooks=True)
    with pytest.raises(KubeError) as refused:
        await kube.create(broken)
    assert field in str(refused.value)
    assert says in str(refused.value)


async def test_S17_only_who_holds_the_right_leads_the_gateway_out_of_a_namespace(kube: Kube) -> None:
    admitted = await Admitted.begin(kube, more=room)
    eve, ann = await admitted.person("eve"), await admitted.person("ann")
    await admitted.may_write(eve, ann)
    rule = PolicyRule(verbs=("create",), api_groups=(GROUP,), resources=("reverseproxies/external",))
    meta = ObjectMeta(name="outward", labels=labels("platform", ""))
    await kube.create(IAMRole(metadata=meta, spec=IAMRoleSpec(rules=(rule,))))
    await kube.create(bound("ann-outward", "outward", "platform", "global", user("ann")))
    await admitted.knows(ann, "p", "create", "reverseproxies/external", GROUP)
    as_eve, as_ann = admitted.as_user(eve), admitted.as_user(ann)
    for number, host in enumerate(
        ("shop", "shop.default", "shop.default.svc", "shop.default.svc.cluster.local")
    ):
        await as_eve.create(proxy(f"own{number}", f"/own{number}/*", host), manager="test")
    for host in ("kubernetes.kube-system.svc", "example.com", "10.0.0.1", "shop.default.svc.example.com"):
        with pytest.raises(KubeError, match="create on reverseproxies/external at platform"):
            await as_eve.create(proxy("out", "/out/*", host), manager="test")
    with pytest.raises(KubeError, match="part of the platform's API"):
        await as_eve.create(proxy("api", "/oapis/x.example.com/*"), manager="test")
    await as_ann.create(proxy("out", "/out/*", "example.com"), manager="test")
    await as_ann.create(proxy("api", "/oapis/x.example.com/*"), manager="test")
    key = Key("default", "out")
    with pytest.raises(KubeError, match="reverseproxies/external"):
        await as_eve.merge(ReverseProxy, key, {"spec": {"directives": {"stripPathPrefix": "/out"}}})
    with pytest.raises(KubeError, match="keeps its path"):
        await as_eve.merge(ReverseProxy, Key("default", "own0"), {"spec": {"matcher": {"path": "/taken/*"}}})
    await as_eve.merge(ReverseProxy, key, {"metadata": {"labels": {"seen": "yes"}}})
