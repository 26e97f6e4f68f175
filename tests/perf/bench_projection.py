"""Bindings as native RBAC in the host (I3): 10,000 at once, one change, and what an idle controller asks.

    python tests/perf/bench_projection.py [USERS BINDINGS]

The room runs with the limits that the controller has. The population has ten namespaces a workspace, so a
third of the bindings shows in ten places each. CPU is this process's own.
"""

import asyncio
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.figures import at, figure
from tests.support.members import Members
from tests.support.population import populate
from tests.support.projected import SCOPES, Projected, binding, may

from edge.controller.main import HOST_LIMITS
from edge.iam.index import Index
from edge.iam.scope import kind_of_scope, name_of_scope
from edge.iam.types import IAMRole, IAMRoleBinding, IAMRoleSpec, User, UserSpec
from edge.projection.ground import Ground, HostGround
from edge.projection.plan import plan_unit
from edge.projection.room import MEMBER_WATCHES
from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.harness import Kube, LightCluster
from edge_kube.meta import ObjectMeta, Resource
from edge_kube.metrics import Metrics
from edge_kube.transport import Limits
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL, WORKSPACE_LABEL
from edge_sdk.sites import HostSite

FAST = Limits(in_flight=64, rate_per_s=1e6, burst=1e6)
CHANGES, IDLE_S = 50, 60.0


def objects(index: Index) -> list[list[Resource]]:
    """The population as objects of the platform, in the order in which they are made."""
    spaces: list[Resource] = []
    for key in index.scopes.all("n"):
        above = name_of_scope(index.scopes.chain(key)[1])
        meta = ObjectMeta(name=f"n-{name_of_scope(key)}", labels={WORKSPACE_LABEL: f"w-{above}"})
        spaces.append(Namespace(metadata=meta))
    places: list[Resource] = [
        Workspace(metadata=ObjectMeta(name=f"w-{name_of_scope(key)}")) for key in index.scopes.all("w")
    ]
    people: list[Resource] = [
        User(metadata=ObjectMeta(name=name), spec=UserSpec(groups=groups))
        for name, groups in index.users.items()
    ]
    roles: list[Resource] = []
    for role in index.book.roles.values():
        labels = {IAM_SCOPE_LABEL: role.facts.scope}
        if role.facts.scope == "platform":
            labels[IAM_SCOPE_VALUE_LABEL] = "global"
        meta = ObjectMeta(name=role.facts.name, labels=labels)
        roles.append(IAMRole(metadata=meta, spec=IAMRoleSpec(rules=role.facts.rules)))
    return [places, [*spaces, *people, *roles], [_bound(one) for one in index.bindings.values()]]


def _bound(one: object) -> IAMRoleBinding:
    name, role, scope, subjects, *_ = one  # type: ignore[misc]
    kind, where = kind_of_scope(scope), name_of_scope(scope)
    value = where if kind == "platform" else f"{scope[0]}-{where}"
    shown = [one.removeprefix("User:").replace("Group:", "group:") for one in subjects]
    return binding(name, role, kind, value, *shown)


async def write(client: Client, all_of_them: list[Resource]) -> None:
    left = iter(all_of_them)

    async def some() -> None:
        for one in left:
            await client.create(one, manager="bench")

    await asyncio.gather(*(some() for _ in range(16)))


def is_settled(projected: Projected, ground: Ground) -> bool:
    """Whether no unit of the host has anything left to write or to delete."""
    rights = projected.rights
    for unit in tuple(rights.units_in("host")):
        steps = plan_unit(
            unit, rights.wanted(unit), rights.sources(unit), ground.role, ground.bindings_of(unit)
        )
        if any(steps):
            return False
    return True


async def settled(projected: Projected, ground: Ground) -> None:
    """Counts first: to plan every unit costs more than the controller should be held up by."""
    rights = projected.rights
    wanted = sum(len(rights.wanted(unit).bindings) for unit in tuple(rights.units_in("host")))
    while sum(1 for _ in ground.bindings()) < wanted or not is_settled(projected, ground):  # noqa: ASYNC110
        await asyncio.sleep(1)


async def changes(projected: Projected, client: Client) -> None:
    """From writing a binding, or its deletion, until the API server's own answer is another."""
    took_s: list[float] = []
    await projected.user("late")
    for n in range(CHANGES):
        bound = binding(f"late-{n}", "namespace-0", "namespace", f"n-{n}", "late")
        verb, resource = _asked(projected)
        for wanted in (True, False):
            start = time.perf_counter()
            if wanted:
                await client.create(bound, manager="bench")
            else:
                await client.delete(IAMRoleBinding, bound.metadata.name)
            while await may(client, "late", verb, resource, f"n-{n}") is not wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            took_s.append(time.perf_counter() - start)
    took_s.sort()
    figure("one change, until kube-apiserver answers so, P50", at(took_s, 0.5), "s")
    figure("one change, until kube-apiserver answers so, worst", took_s[-1], "s", "<= 2")


def _asked(projected: Projected) -> tuple[str, str]:
    rules = projected.rights.book.roles["namespace-0"].facts.rules
    rule = next(one for one in rules if one.api_groups == ("",) and "/" not in one.resources[0])
    return rule.verbs[0], rule.resources[0]


def requests(metrics: Metrics, *, watches: bool = False) -> float:
    """Requests so far; with watches only those, which the server ends after some minutes each."""
    samples = [one for family in metrics.client_requests.collect() for one in family.samples]
    some = [one for one in samples if one.name.endswith("_total")]
    return sum(one.value for one in some if (one.labels["method"] == "WATCH") is watches)


async def bench(cluster: LightCluster, users: int, bindings: int) -> None:
    index, metrics = Index(), Metrics()
    populate(index, users, bindings, random.Random(1))
    async with (
        cluster.client(limits=FAST) as writer,
        cluster.client(limits=HOST_LIMITS, metrics=metrics) as client,
        Members(MEMBER_WATCHES) as members,
    ):
        kube = Kube(cluster, client)
        await kube.install(User, IAMRole, IAMRoleBinding, *SCOPES)
        for some in objects(index):
            await write(writer, some)
        projected = Projected(kube, members)
        start, cpu = time.perf_counter(), time.process_time()
        await projected.start()
        assert kube.manager is not None
        cache = kube.manager.cache
        ground = HostGround(HostSite(cache, client), cache)
        await settled(projected, ground)
        found = sum(1 for _ in ground.bindings())
        figure(f"{len(index.bindings):,} bindings projected", time.perf_counter() - start, "s", "<= 120")
        figure("the same, requests", requests(metrics), "")
        figure("the same, CPU of the controller", time.process_time() - cpu, "s")
        figure("the same, RoleBindings and ClusterRoleBindings", found, "")
        await changes(projected, writer)
        await settled(projected, ground)
        await asyncio.sleep(5)
        before, cpu = requests(metrics), time.process_time()
        again = requests(metrics, watches=True)
        await asyncio.sleep(IDLE_S)
        figure("requests a minute when nothing changes", requests(metrics) - before, "", "0")
        figure("watches opened anew in that minute", requests(metrics, watches=True) - again, "")
        figure("CPU a minute when nothing changes", time.process_time() - cpu, "s")
        await kube.kill()


def main() -> None:
    users, bindings = (int(one) for one in (sys.argv[1:3] or ("1000", "10000")))
    with LightCluster() as cluster:
        asyncio.run(bench(cluster, users, bindings))


if __name__ == "__main__":
    main()
