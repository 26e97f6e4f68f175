"""The same questions to our engine, to kube-apiserver and to OpenFGA, in one run (I7; design §13).

    python tests/perf/bench_peers.py [USERS BINDINGS]

All hold the same population, a tenth of that of bench_iam, because it is written object by object. The peers
are asked over HTTP by 50 connections, our engine in process, each as in use. kube-apiserver holds the native
RBAC that our projection makes of the bindings, OpenFGA (SQLite) their rights as tuples.
"""

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.figures import at, figure, timed
from tests.support.httpload import Load, load
from tests.support.openfga import openfga, tuples
from tests.support.population import Ask, populate, questions

from edge.embedded import tools
from edge.embedded.steps import Progress, StepError
from edge.iam.index import Index
from edge.iam.projection import Projection, Unit
from edge.projection.objects import binding, cluster_role
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.harness import LightCluster
from edge_kube.meta import ObjectMeta, Resource
from edge_kube.transport import Limits

ASKED = 20_000
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
FAST = Limits(in_flight=64, rate_per_s=1e6, burst=1e6)


def tell(name: str, found: Load, ours: list[bool], theirs: list[bool]) -> None:
    figure(f"{name}, c=50", found.per_s, "1/s")
    figure(f"{name}, P50", at(found.ms, 0.5), "ms")
    figure(f"{name}, P99", at(found.ms, 0.99), "ms")
    wrong = sum(one != other for one, other in zip(ours, theirs, strict=True))
    figure(f"{name}, answers unlike ours", wrong, f"of {len(ours)}", "0")


def our_engine(index: Index, asked: list[Ask]) -> list[bool]:
    answers = [index.check(*one) for one in asked]
    rate, us = timed(index.check, asked * 10)
    figure(f"our engine in process, {len(index.bindings):,} bindings", rate, "1/s")
    figure("our engine in process, P99", at(us, 0.99), "us")
    return answers


# -- kube-apiserver ----------------------------------------------------------------------------------------


async def kubernetes(rights: Projection, asked: list[Ask], ours: list[bool]) -> None:
    with LightCluster() as cluster:
        async with cluster.client(limits=FAST) as client:
            start = time.perf_counter()
            count = await _write(client, list(_native(rights)))
            took_s = time.perf_counter() - start
        print(f"{count} RBAC objects written in {took_s:.0f} s", file=sys.stderr)
        await asyncio.sleep(2)  # the API server hears of them by its own watches
        bodies = [_review(one) for one in asked]
        context = cluster.connection.ssl_context()
        url = cluster.server + REVIEWS
        await load(url, bodies[:2000], context=context)
        found = await load(url, bodies, context=context)
    theirs = [bool(json.loads(found.bodies[n])["status"].get("allowed")) for n in range(len(asked))]
    tell("kube-apiserver, SubjectAccessReview", found, ours, theirs)


def _native(rights: Projection) -> list[Resource]:
    namespaces = rights.scopes.all("n")
    found: list[Resource] = [Namespace(metadata=ObjectMeta(name=one.rsplit("/", 1)[1])) for one in namespaces]
    roles: dict[str, Resource] = {}
    bindings: list[Resource] = []
    for scope in ("c/host", *namespaces):
        unit = Unit("host", scope)
        wanted = rights.wanted(unit)
        roles |= {name: cluster_role(name, rules) for name, rules in wanted.roles.items()}
        bindings += [binding(unit, key, bound) for key, bound in wanted.bindings.items()]
    return [*found, *roles.values(), *bindings]


async def _write(client: Client, objects: list[Resource]) -> int:
    left = iter(objects)

    async def some() -> None:
        for one in left:
            await client.create(one, manager="bench")

    await asyncio.gather(*(some() for _ in range(16)))
    return len(objects)


def _review(ask: Ask) -> bytes:
    who, scope, verb, group, resource = ask
    plain, _, sub = resource.partition("/")
    about = {"namespace": scope.rsplit("/", 1)[1], "verb": verb, "group": group, "resource": plain}
    spec = {
        "user": who,
        "groups": ["system:authenticated"],
        "resourceAttributes": about | {"subresource": sub},
    }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return json.dumps(body).encode()


# -- OpenFGA -----------------------------------------------------------------------------------------------


async def fga(index: Index, asked: list[Ask], ours: list[bool]) -> None:
    with tempfile.TemporaryDirectory() as folder, openfga(Path(folder), "sqlite") as server:
        all_of_it = tuples(index)
        start = time.perf_counter()
        await server.write(all_of_it)
        took_s = time.perf_counter() - start
        print(f"{len(all_of_it)} tuples written in {took_s:.0f} s", file=sys.stderr)
        bodies = [server.question(one) for one in asked]
        await load(server.check_url, bodies[:1000])
        found = await load(server.check_url, bodies)
    theirs = [bool(json.loads(found.bodies[n])["allowed"]) for n in range(len(asked))]
    tell("OpenFGA, Check", found, ours, theirs)


def main() -> None:
    users, bindings = (int(one) for one in (sys.argv[1:3] or ("1000", "10000")))
    rights = Projection()
    rnd = random.Random(1)
    of = populate(rights, users, bindings, rnd)
    asked = [
        one for one in questions(of, ASKED, rnd) if one[0] != "user-0"
    ]  # who may everything, natively too
    ours = our_engine(rights, asked)
    asyncio.run(kubernetes(rights, asked, ours))
    try:
        os.environ["EDGE_TOOLS"] = str(tools.ensure(Progress(quiet=True), ("openfga",)))
    except StepError as error:
        print(f"OpenFGA is left out: {error}", file=sys.stderr)
        return
    few = asked[: ASKED // 10]
    asyncio.run(fga(rights, few, ours[: len(few)]))


if __name__ == "__main__":
    main()
