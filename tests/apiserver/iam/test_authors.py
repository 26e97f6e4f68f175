"""Admission asks who the author is, on a real API server and with plain kubectl's verbs (I2, I15; S6, S8).

The authors may write every object natively, so what stops them is admission alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
from tests.support.admitted import Admitted
from tests.support.patience import PROOF_S

from edge.iam import beats
from edge.iam.freshness import STALE_S
from edge.iam.instances import CREATOR_ANNOTATION
from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleRef,
    RoleTemplate,
    RoleTemplateSpec,
    ScopePattern,
    ScopePatternSpec,
    Subject,
    User,
    UserSpec,
)
from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.errors import ApiError, Forbidden
from edge_kube.harness.kube import Kube
from edge_kube.meta import Key, ObjectMeta
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL, WORKSPACE_LABEL

RBAC = "rbac.authorization.k8s.io"
MINE = {IAM_SCOPE_LABEL: "workspace", IAM_SCOPE_VALUE_LABEL: "press"}
ALL = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))


def binding(
    name: str, role: str, *users: str, labels: Mapping[str, str] = MINE, groups: tuple[str, ...] = ()
) -> IAMRoleBinding:
    subjects = [Subject(kind="User", name=user) for user in users]
    subjects += [Subject(kind="Group", name=group) for group in groups]
    return IAMRoleBinding(
        metadata=ObjectMeta(name=name, labels=labels),
        spec=IAMRoleBindingSpec(
            role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name=role), subjects=tuple(subjects)
        ),
    )


@pytest_asyncio.fixture
async def guarded(kube: Kube) -> AsyncIterator[Kube]:
    """Rooms with admission that knows authors. ann administers the workspace press, eve nothing."""
    admitted = await Admitted.begin(kube)
    for name in ("ann", "eve", "bob"):
        await kube.create(User(metadata=ObjectMeta(name=name), spec=UserSpec()))
    for name in ("press", "paint"):
        await kube.create(Workspace(metadata=ObjectMeta(name=name)))
    await kube.create(binding("press-admin", "workspace-admin", "ann"))
    await admitted.may_write("ann", "eve")
    await kube.caught_up()
    yield kube


def as_user(kube: Kube, name: str, *groups: str) -> Client:
    return kube.client.impersonate(name, groups)


async def test_who_administers_a_workspace_gives_rights_there_and_nowhere_else(guarded: Kube) -> None:
    ann = as_user(guarded, "ann")
    await ann.create(binding("bob-views", "workspace-viewer", "bob"), manager="test")
    await ann.apply(binding("bob-views", "workspace-admin", "bob"), manager="test")
    for scope, value in (("workspace", "paint"), ("cluster", "host"), ("platform", "global")):
        role = f"{scope}-admin"
        labels = {IAM_SCOPE_LABEL: scope, IAM_SCOPE_VALUE_LABEL: value}
        with pytest.raises(Forbidden, match=f"it gives the role {role} at {scope}.* does not hold there"):
            await ann.create(binding("up", role, "ann", labels=labels), manager="test")


async def test_nobody_climbs_by_role_template_label_group_or_user(guarded: Kube) -> None:
    """S6, also by patch, by server-side apply, by dry run and as a second field manager."""
    eve = as_user(guarded, "eve")
    await guarded.create(binding("crew", "workspace-admin", groups=("crew",)))
    await guarded.caught_up()
    refused = "is refused: .*does not hold"
    with pytest.raises(Forbidden, match=refused):
        await eve.create(binding("mine", "workspace-viewer", "eve"), manager="test")
    with pytest.raises(Forbidden, match="there is no role later yet"):
        await eve.create(binding("mine", "later", "eve"), manager="test")
    own = IAMRole(metadata=ObjectMeta(name="own", labels=MINE), spec=IAMRoleSpec(rules=(ALL,)))
    joins = {IAM_SCOPE_LABEL: "workspace", "iam.theriseunion.io/aggregate-to-viewer": ""}
    slipped = RoleTemplate(
        metadata=ObjectMeta(name="slipped-in", labels=joins), spec=RoleTemplateSpec(rules=(ALL,))
    )
    for one in (own, slipped):
        with pytest.raises(Forbidden, match=refused):
            await eve.create(one, manager="test")
    with pytest.raises(Forbidden, match=refused):
        await eve.merge(User, Key("", "eve"), {"spec": {"groups": ["crew"]}})
    with pytest.raises(Forbidden, match=refused):
        await eve.merge(User, Key("", "ann"), {"spec": {"encryptedPassword": "a new one"}})
    patch = {"spec": {"subjects": [{"kind": "User", "name": "eve"}]}}
    with pytest.raises(Forbidden, match=refused):
        await eve.merge(IAMRoleBinding, Key("", "press-admin"), patch)
    with pytest.raises(Forbidden, match=refused):
        await eve.apply(binding("press-admin", "workspace-admin", "eve"), manager="another", dry_run=True)


async def test_a_namespace_joins_and_leaves_only_with_a_right_on_both_sides(guarded: Kube) -> None:
    ann, eve = as_user(guarded, "ann"), as_user(guarded, "eve")
    mine = Namespace(metadata=ObjectMeta(name="press-x", labels={WORKSPACE_LABEL: "press"}))
    with pytest.raises(Forbidden, match="moves rights at workspace/press"):
        await eve.create(mine, manager="test")
    made = await ann.create(mine, manager="test")
    assert made.metadata.annotations[CREATOR_ANNOTATION] == "ann"
    to_paint, to_press = ({"metadata": {"labels": {WORKSPACE_LABEL: name}}} for name in ("paint", "press"))
    for author in (ann, eve):
        with pytest.raises(Forbidden, match="moves rights at workspace/p"):
            await author.merge(Namespace, Key("", "press-x"), to_paint)
    with pytest.raises(Forbidden, match="belongs to no tenant"):
        await ann.merge(Namespace, Key("", "kube-public"), to_press)
    await eve.merge(Namespace, Key("", "press-x"), {"metadata": {"labels": {"colour": "red"}}})
    await eve.create(Namespace(metadata=ObjectMeta(name="eves-own")), manager="test")
    with pytest.raises(Forbidden, match="falls to the administrators of the one that it joins"):
        await ann.merge(Namespace, Key("", "eves-own"), to_press)


async def test_who_makes_a_workspace_becomes_its_admin_and_cannot_name_another(guarded: Kube) -> None:
    eve = as_user(guarded, "eve")
    annotations = {CREATOR_ANNOTATION: "ann"}
    made = await eve.create(
        Workspace(metadata=ObjectMeta(name="eves", annotations=annotations)), manager="test"
    )
    assert made.metadata.annotations[CREATOR_ANNOTATION] == "eve"
    changed = await eve.merge(
        Workspace, Key("", "eves"), {"metadata": {"annotations": {CREATOR_ANNOTATION: "bob"}}}
    )
    assert changed.metadata.annotations[CREATOR_ANNOTATION] == "eve"
    with pytest.raises(Forbidden, match="it gives the role workspace-admin at workspace/press"):
        await eve.merge(Workspace, Key("", "press"), {"spec": {"manager": "eve"}})


async def test_who_may_escalate_natively_is_trusted_as_kubernetes_trusts_them(guarded: Kube) -> None:
    """A pipeline that is cluster-admin in the host installs roles and bindings as before."""
    pipeline = as_user(guarded, "pipeline")
    about = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "edge-test-pipeline"},
    }
    ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"apiGroup": RBAC, "kind": "User", "name": "pipeline"}
    await guarded.apply({**about, "roleRef": ref, "subjects": [subject]})
    async with asyncio.timeout(60):
        while True:  # the API server's RBAC hears of the binding by a watch of its own
            try:
                await pipeline.create(binding("by-pipeline", "workspace-admin", "bob"), manager="test")
                break
            except Forbidden:
                await asyncio.sleep(0.05)
    role = IAMRole(metadata=ObjectMeta(name="by-pipeline", labels=MINE), spec=IAMRoleSpec(rules=(ALL,)))
    await pipeline.create(role, manager="test")


async def test_I6_a_change_is_not_judged_by_rights_that_are_not_known_to_hold_still(
    guarded: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither admitted nor forbidden: 503, and the next try may be another."""
    manager = guarded.manager
    assert manager is not None
    ann = as_user(guarded, "ann")
    informer = manager.cache.informer(IAMRoleBinding)
    put = informer.put
    monkeypatch.setattr(beats, "WITHIN_S", PROOF_S)
    informer.put = lambda obj: None  # type: ignore[method-assign]  # its watch brings nothing any more
    await asyncio.sleep(STALE_S)  # until no earlier proof serves
    try:
        with pytest.raises(ApiError, match="may have changed since they were last heard of") as refused:
            await ann.create(binding("bob-views", "workspace-viewer", "bob"), manager="test")
        assert refused.value.status == 503
    finally:
        informer.put = put  # type: ignore[method-assign]
    await ann.create(binding("bob-views", "workspace-viewer", "bob"), manager="test")


async def test_only_who_may_on_the_platform_registers_scope_types(guarded: Kube) -> None:
    """A pattern is in a namespace, but says for all of them where requests are decided (I9)."""
    spec = ScopePatternSpec(pattern="/api/v1/namespaces/{_}/secrets/{secret}", scope_type="secret")
    made = ScopePattern(metadata=ObjectMeta(name="mine", namespace="default"), spec=spec)
    for author in ("ann", "eve"):
        with pytest.raises(Forbidden, match="registers a scope type for the whole platform"):
            await as_user(guarded, author).create(made, manager="test")
    labels = {IAM_SCOPE_LABEL: "platform", IAM_SCOPE_VALUE_LABEL: "global"}
    rule = PolicyRule(verbs=("create",), api_groups=(GROUP,), resources=("scopepatterns",))
    role = IAMRole(metadata=ObjectMeta(name="registrars", labels=labels), spec=IAMRoleSpec(rules=(rule,)))
    await guarded.create(role)
    await guarded.create(binding("registrars", "registrars", "eve", labels=labels))
    async with asyncio.timeout(60):
        while True:  # admission hears of the binding by a watch of its own
            try:
                await as_user(guarded, "eve").create(made, manager="test")
                break
            except Forbidden:
                await asyncio.sleep(0.05)
    changed = {"spec": {"pattern": "/api/v1/namespaces/{_}/configmaps/{secret}"}}
    with pytest.raises(Forbidden, match="needs update on scopepatterns there"):
        await as_user(guarded, "eve").merge(ScopePattern, Key("default", "mine"), changed)
