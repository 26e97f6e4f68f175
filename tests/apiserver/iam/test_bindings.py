"""Bindings made before their scope, and after it is gone, on a real API server (I1, I2, S7)."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.admitted import Admitted, bound, user

from edge.iam.facts import SCOPE_UID_LABEL
from edge.iam.index import Index
from edge.iam.room import room as iam
from edge.iam.types import IAMRole, IAMRoleBinding, User
from edge.iam.watching import Watching
from edge.rooms import SCOPES
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.harness import Kube
from edge_kube.meta import Condition, ObjectMeta, Resource


class Looking:
    """The room, and the engine as it judges by the same objects."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.index = Index()
        self.tail = secrets.token_hex(3)

    async def start(self) -> None:
        manager = await self.kube.start(iam(scopes=SCOPES))
        self.index = Index()
        Watching(manager.cache, self.index, {cls: kind for kind, cls in SCOPES.items()})
        await manager.cache.wait_synced(60)
        for role in ("workspace-viewer", "namespace-viewer"):
            await self.kube.eventually(IAMRole, role, within_s=60)

    def may(self, scope: str) -> bool:
        return self.index.check("ann", scope, "list", "resources.theriseunion.io", "pods")

    async def knows(self, scope: str, wanted: bool) -> None:
        async with asyncio.timeout(60):
            while self.may(scope) is not wanted:  # noqa: ASYNC110 - it changes elsewhere
                await asyncio.sleep(0.02)

    async def told(self, name: str, reason: str) -> Condition:
        found = await self.kube.eventually(
            IAMRoleBinding, name, lambda one: [each.reason for each in one.status.conditions] == [reason]
        )
        return found.status.conditions[0]


@pytest_asyncio.fixture
async def looking(kube: Kube) -> AsyncIterator[Looking]:
    made = Looking(kube)
    await made.start()
    await kube.create(User(metadata=ObjectMeta(name="ann")))
    yield made


async def older_than_all_that_comes() -> None:
    """Ages are whole seconds."""
    await asyncio.sleep(1.1 - time.time() % 1)


@pytest.mark.parametrize(("kind", "cls"), [("workspace", Workspace), ("namespace", Namespace)])
async def test_a_binding_made_before_its_scope_comes_into_force_with_it(
    looking: Looking, kind: str, cls: type[Resource]
) -> None:
    kube, name = looking.kube, f"early-{looking.tail}"
    await kube.create(bound(name, f"{kind}-viewer", kind, name, user("ann")))
    said = await looking.told(name, "ScopeNotFound")
    assert (said.type, said.status) == ("Accepted", "False")
    assert f"there is no {kind} {name} yet" in said.message
    await older_than_all_that_comes()
    scope = await kube.create(cls(metadata=ObjectMeta(name=name)))
    assert (await looking.told(name, "InForce")).status == "True"
    await looking.knows(f"{kind[0]}/host/{name}", True)
    binding = await kube.get(IAMRoleBinding, name)
    assert binding.metadata.labels[SCOPE_UID_LABEL] == scope.metadata.uid


async def test_a_scope_that_came_while_no_controller_ran_is_found_by_the_next_one(looking: Looking) -> None:
    kube, name = looking.kube, f"late-{looking.tail}"
    await kube.create(bound(name, "workspace-viewer", "workspace", name, user("ann")))
    await looking.told(name, "ScopeNotFound")
    await kube.kill()
    await older_than_all_that_comes()
    await kube.create(Workspace(metadata=ObjectMeta(name=name)))
    await looking.start()
    await looking.told(name, "InForce")
    await looking.knows(f"w/host/{name}", True)


async def test_S7_a_scope_made_anew_gets_nothing_of_what_was_bound_to_the_old_one(looking: Looking) -> None:
    kube, name = looking.kube, f"anew-{looking.tail}"
    await kube.create(Workspace(metadata=ObjectMeta(name=name)))
    await kube.create(bound(name, "workspace-viewer", "workspace", name, user("ann")))
    await looking.told(name, "InForce")
    await kube.delete(Workspace, name)
    assert (await looking.told(name, "ScopeGone")).status == "False"
    await older_than_all_that_comes()
    await kube.create(Workspace(metadata=ObjectMeta(name=name)))
    said = await looking.told(name, "ScopeReplaced")
    assert "make it anew" in said.message
    assert not looking.may(f"w/host/{name}")


async def test_a_binding_in_a_cluster_that_nobody_has_joined_says_so(looking: Looking) -> None:
    name = f"away-{looking.tail}"
    made = bound(name, "namespace-viewer", "namespace", "press", user("ann"))
    labels = {**made.metadata.labels, "iam.theriseunion.io/scope-cluster": name}
    made = IAMRoleBinding(metadata=ObjectMeta(name=name, labels=labels), spec=made.spec)
    await looking.kube.create(made)
    said = await looking.told(name, "ScopeNotFound")
    assert f"namespace press in cluster {name}" in said.message


async def test_S7_admission_notes_for_which_object_a_binding_is_made(kube: Kube) -> None:
    """So that what is made in the last moment of a scope does not wait for the next one of its name."""
    await Admitted.begin(kube)
    scope = await kube.create(Workspace(metadata=ObjectMeta(name="last")))
    name, note = "at-the-last", {"metadata": {"labels": {SCOPE_UID_LABEL: None}}}
    async with asyncio.timeout(60):  # the index hears of the workspace by its watch
        while True:
            made = await kube.create(bound(name, "workspace-viewer", "workspace", "last", user("ann")))
            if SCOPE_UID_LABEL in made.metadata.labels:
                break
            await kube.client.delete(IAMRoleBinding, name)
    assert made.metadata.labels[SCOPE_UID_LABEL] == scope.metadata.uid
    kept = await kube.patch(IAMRoleBinding, name, note)
    assert kept.metadata.labels[SCOPE_UID_LABEL] == scope.metadata.uid
    early = await kube.create(bound("early", "workspace-viewer", "workspace", "none-yet", user("ann")))
    assert SCOPE_UID_LABEL not in early.metadata.labels
