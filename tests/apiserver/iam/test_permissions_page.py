"""docs/permissions.md, followed with its YAML alone: a team gets one workspace and no other (I2, I15)."""

import asyncio
import re
import time
from pathlib import Path

import yaml

from edge.iam.explain import Question, explain
from edge.iam.index import Index
from edge.iam.room import room as iam
from edge.iam.types import IAMRole, IAMRoleBinding, User, UserSpec
from edge.iam.watching import Watching
from edge.tenancy.room import room as tenancy
from edge.tenancy.types import Workspace
from edge_kube.cache import Cache
from edge_kube.core import Namespace
from edge_kube.harness.kube import Kube
from edge_kube.meta import ObjectMeta

PAGE = Path(__file__).parents[3] / "docs" / "permissions.md"


def counts(binding: IAMRoleBinding) -> bool:
    return any(one.reason == "InForce" for one in binding.status.conditions)


async def test_a_member_of_the_team_works_in_its_workspace_and_is_refused_next_door(kube: Kube) -> None:
    await kube.start(iam(), tenancy(), webhooks=True)
    await kube.eventually(IAMRole, "workspace-business-developer", lambda one: True, within_s=60)
    index, cache = Index(), Cache(kube.client)
    watching = Watching(cache, index, {Workspace: "workspace"})
    await cache.start()
    try:
        await cache.wait_synced(30)
        blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)
        for document in yaml.safe_load_all(blocks[0]):
            await kube.apply(document)
        await kube.create(User(metadata=ObjectMeta(name="dora"), spec=UserSpec(groups=("developers",))))
        await kube.create(Namespace(metadata=ObjectMeta(name="next-door")))
        await kube.eventually(Namespace, "dev-b", lambda one: True, within_s=20)
        await kube.eventually(IAMRoleBinding, "developers", counts, within_s=20)
        group = "app.theriseunion.io"
        ends_at = time.monotonic() + 10
        while not index.check("dora", "n/host/dev-b", "create", group, "applicationdeployments"):
            assert time.monotonic() < ends_at
            await asyncio.sleep(0.05)
        assert not index.check("dora", "n/host/next-door", "get", "", "pods")
        why = explain(index, "dora", "n/host/next-door", Question("get", "", "pods"))
        assert not why.allowed
        assert why.grant
        assert index.check("mia", "w/host/dev-team", "get", "scope.theriseunion.io", "workspaces") is False
        await kube.create(User(metadata=ObjectMeta(name="mia"), spec=UserSpec()))
        while not index.check("mia", "n/host/dev-a", "delete", "", "secrets"):
            assert time.monotonic() < ends_at + 10
            await asyncio.sleep(0.05)
        assert watching.silence_s() is not None
    finally:
        await cache.stop()
