"""Rights beyond single checks at 10,000 users and 100,000 bindings (I7, I15, I19): the part of a list that
somebody may see, the review of all grants, and what admission asks before a role or template changes.

    python tests/perf/bench_rights.py [USERS BINDINGS]

A stall is the longest that nobody else had a turn of the event loop, in CPU time of its thread: what other
programs took of the machine is not counted.
"""

import asyncio
import gc
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.figures import at, figure, timed
from tests.support.population import FULL, populate, rule

from edge.apiserver.lists.listing import answer, read_query
from edge.apiserver.mirrors.kinds import collection_of
from edge.apiserver.paths import Target
from edge.apiserver.rights.places import place_of
from edge.iam import questions
from edge.iam.aggregation import Recipe, Template
from edge.iam.escalation import role_lacks, template_lacks
from edge.iam.granting import REFUSED_MAX
from edge.iam.index import Binding, Index
from edge.iam.review import Review
from edge.iam.rolebook import RoleFacts
from edge.iam.turns import in_turns
from edge.iam.types import IAMRole, IAMRoleSpec, PolicyRule, RoleTemplate, RoleTemplateSpec
from edge.iam.visible import visible
from edge_kube.core import Namespace
from edge_kube.meta import ObjectMeta, kind_of
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

OBJECTS, SEEN = 10_000, 100
WIDE_ROLE, MANY_ROLES = 5_000, 4_000


def lists(index: Index) -> None:
    """10,000 namespaces as the gateway keeps and answers them; the caller is bound at 100 of them."""
    read = rule(("get", "list"), "", "namespaces")
    index.put_role(RoleFacts("namespace-reader", "namespace", "", (read,), (), None))
    kind = kind_of(Namespace)
    collection = collection_of(kind)
    for n in range(OBJECTS):
        name = f"site-{n:05d}"
        index.put_scope(f"n/host/{name}")
        labels = {"region": f"r{n % 20}", "theriseunion.io/made-by": "bench"}
        meta = {"name": name, "uid": f"uid-{n}", "resourceVersion": str(n + 1), "labels": labels}
        obj = {"metadata": meta, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        collection.put(json.dumps(obj).encode())
        if n % (OBJECTS // SEEN) == 0:
            index.put_binding(Binding(f"few-{n}", "namespace-reader", f"n/host/{name}", ("User:few",)))
    index.put_user("few", ())
    place = place_of(kind.group, kind.plural, index.scopes.homes)

    def ask(query: str) -> bytes:
        sight = visible(index, "few", "list", kind.group, kind.plural)
        pairs = tuple(tuple(part.split("=", 1)) for part in query.split("&") if part)
        asked = read_query(Target(("oapis",), pairs))  # type: ignore[arg-type]
        return answer(collection, asked, lambda item: sight.sees(place(item.key, item.labels), item.key.name))

    assert json.loads(ask(""))["totalItems"] == SEEN
    for query, name in (("", ""), ("q=site&sortBy=displayName&limit=20&page=2", ", searched, sorted, paged")):
        _, us = timed(ask, [(query,)] * 200, time.thread_time_ns)
        figure(f"list of 10,000 for who may see 100{name}, P99", at(us, 0.99) / 1000, "ms", "< 50")


class Stall:
    """The longest wait for a turn beside what runs inside, in milliseconds."""

    worst_ms = 0.0

    async def __aenter__(self) -> "Stall":
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self._task.cancel()

    async def _watch(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.worst_ms, last = max(self.worst_ms, (now - last) * 1000), now


async def review(index: Index) -> None:
    for who, name in (("user-0", "all"), ("user-7", "a user's own")):
        findings: Counter[str] = Counter()
        start = time.thread_time()
        async with Stall() as stall:
            async for one in in_turns(Review(index, questions.BindingSight(index, who)).all()):
                findings[one.kind] += 1
        took_s = time.thread_time() - start
        figure(f"review of 100,000 grants, {name}", took_s, "s")
        figure(f"review of 100,000 grants, {name}: longest stall", stall.worst_ms, "ms", "< 20")
        print(f"review, {name}: {dict(findings)}", file=sys.stderr)


async def admission(index: Index) -> None:
    """What is asked before a role of 5,000 rules, or a template in 4,000 roles, may change."""
    wide = [rule(FULL, f"group-{n % 50}.example", f"kind-{n}") for n in range(WIDE_ROLE)]
    labels = {IAM_SCOPE_LABEL: "namespace", IAM_SCOPE_VALUE_LABEL: "1"}
    role = IAMRole(
        metadata=ObjectMeta(name="namespace-1", labels=labels), spec=IAMRoleSpec(rules=tuple(wide))
    )
    shared = (rule(("get", "list"), "", "pods"),)
    index.put_template("shared", Template("shared", "namespace", {}, (), shared, ()))
    recipe = Recipe("namespace", ("shared",), None)
    for n in range(MANY_ROLES):
        index.put_role(RoleFacts(f"own-{n}", "namespace", f"n/host/{n}", (), (), recipe))
    changed = RoleTemplate(
        metadata=ObjectMeta(name="shared", labels={IAM_SCOPE_LABEL: "namespace"}),
        spec=RoleTemplateSpec(rules=(*shared, rule(("delete",), "", "pods"))),
    )
    for who, name in ((("user-0", ()), "an administrator"), (("user-7", ()), "a user")):
        for what, steps in (
            ("a role of 5,000 rules", role_lacks(index, who, role, None)),
            ("a template of 4,000 roles", template_lacks(index, who, changed, None)),
        ):
            start, refused = time.thread_time(), 0
            async with Stall() as stall:
                async for _ in in_turns(steps):
                    refused += 1
                    if refused == REFUSED_MAX:
                        break
            took_ms = (time.thread_time() - start) * 1000
            figure(f"{what}, asked for {name}", took_ms, "ms")
            figure(f"{what}, asked for {name}: longest stall", stall.worst_ms, "ms", "< 20")


def wide_event(index: Index) -> None:
    rules = tuple(
        PolicyRule(verbs=FULL, api_groups=("apps",), resources=(f"kind-{n}",)) for n in range(WIDE_ROLE)
    )
    _, us = timed(
        index.put_role, [(RoleFacts("namespace-2", "namespace", "", rules, (), None),)], time.thread_time_ns
    )
    figure("event: a role of 5,000 rules", us[0] / 1000, "ms", "< 20")
    many: Iterable[str] = (f"User:user-{n}" for n in range(10_000))
    _, us = timed(
        index.put_binding, [(Binding("b-wide", "namespace-3", "n/host/3", tuple(many)),)], time.thread_time_ns
    )
    figure("event: a binding of 10,000 subjects", us[0] / 1000, "ms", "< 20")


def main() -> None:
    users, bindings = (int(one) for one in (sys.argv[1:3] or ("10000", "100000")))
    index = Index()
    populate(index, users, bindings, random.Random(1))
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    asyncio.run(review(index))
    lists(index)
    wide_event(index)
    asyncio.run(admission(index))


if __name__ == "__main__":
    main()
