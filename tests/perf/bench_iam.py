"""The permission engine at 10,000 users and 100,000 bindings (I6, I7). Prints JSON lines; see run.py.

    python tests/perf/bench_iam.py [USERS BINDINGS]

Each question is timed by itself with the clock included; checks/s is wall time over all of them.
"""

import gc
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from edge.iam.explain import Question, explain, who_can
from edge.iam.index import Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.types import PolicyRule
from edge.iam.visible import visible

FULL = ("get", "list", "watch", "create", "update", "patch", "delete")
VERBS = ("get", "list", "update", "delete")
KINDS = [
    ("", "pods"),
    ("", "services"),
    ("", "secrets"),
    ("apps", "deployments"),
    ("", "configmaps"),
    ("app.theriseunion.io", "applicationdeployments"),
    ("", "pods/log"),
    ("batch", "jobs"),
]
ROLES = 40
ASKED = 400_000

Ask = tuple[str, str, str, str, str]


def figure(bench: str, value: float, unit: str, target: str = "") -> None:
    print(json.dumps({"bench": bench, "value": round(value, 3), "unit": unit, "target": target}), flush=True)


def memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def timed(do: Callable[..., Any], items: Iterable[Sequence[Any]]) -> tuple[float, list[float]]:
    """Calls a second, and the sorted microseconds of each."""
    clock, found = time.perf_counter_ns, list[int]()
    start = clock()
    for item in items:
        before = clock()
        do(*item)
        found.append(clock() - before)
    elapsed_s = (clock() - start) / 1e9
    return len(found) / elapsed_s, [one / 1000 for one in sorted(found)]


def at(sorted_us: list[float], share: float) -> float:
    return sorted_us[min(len(sorted_us) - 1, int(len(sorted_us) * share))]


def rule(verbs: Sequence[str], group: str, resource: str) -> PolicyRule:
    return PolicyRule(verbs=tuple(verbs), api_groups=(group,), resources=(resource,))


def build(users: int, bindings: int, rnd: random.Random) -> tuple[Index, int]:
    """Roles of five rules; a third of the bindings at workspaces, a tenth for groups."""
    index = Index()
    for kind in ("workspace", "namespace"):
        for n in range(ROLES):
            rules = [rule(FULL if j % 2 else FULL[:3], *pair) for j, pair in enumerate(rnd.sample(KINDS, 5))]
            index.put_role(RoleFacts(f"{kind}-{n}", kind, "", tuple(rules), (f"ui-{n}.view",), None))
    everything = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))
    index.put_role(RoleFacts("admin", "platform", "", (everything,), (), None))
    regular = rule(("get", "list"), "scope.theriseunion.io", "workspaces")
    index.put_role(RoleFacts("regular", "platform", "", (regular,), (), None))
    workspaces, namespaces = max(10, users // 20), max(50, users // 2)
    for n in range(workspaces):
        index.put_scope(f"w/host/{n}")
    for n in range(namespaces):
        index.put_scope(f"n/host/{n}", (f"w/host/{n % workspaces}",))
    for n in range(users):
        index.put_user(f"user-{n}", (f"team-{n % 200}", f"dept-{n % 20}"))
    index.put_binding(Binding("all", "regular", "p", ("Group:system:authenticated",)))
    index.put_binding(Binding("root", "admin", "p", ("User:user-0",)))
    for n in range(bindings - 2):
        who = f"User:user-{rnd.randrange(users)}" if n % 10 else f"Group:team-{rnd.randrange(200)}"
        role = rnd.randrange(ROLES)
        if n % 3 == 0:
            binding = Binding(f"b-{n}", f"workspace-{role}", f"w/host/{rnd.randrange(workspaces)}", (who,))
        else:
            binding = Binding(f"b-{n}", f"namespace-{role}", f"n/host/{rnd.randrange(namespaces)}", (who,))
        index.put_binding(binding)
    return index, namespaces


def checks(index: Index, users: int, namespaces: int, rnd: random.Random) -> None:
    home = [[rnd.randrange(namespaces) for _ in range(4)] for _ in range(users)]

    def ask(user: int, namespace: int) -> Ask:
        return (f"user-{user}", f"n/host/{namespace}", rnd.choice(VERBS), *rnd.choice(KINDS))

    some = [ask(user, rnd.choice(home[user])) for user in (rnd.randrange(users) for _ in range(ASKED))]
    rate, us = timed(index.check, some)
    figure("check, masks filling", rate, "1/s")
    figure("check, masks filling, P99", at(us, 0.99), "us", "< 100")
    rate, us = timed(index.check, some)
    figure("check warm", rate, "1/s", ">= 200,000")
    figure("check warm, P50", at(us, 0.5), "us", "< 3")
    figure("check warm, P99", at(us, 0.99), "us", "< 20")

    def with_writes(number: int, question: Ask) -> bool:
        if number % 100 == 0:
            scope, who = f"n/host/{number % namespaces}", f"User:user-{number % users}"
            index.put_binding(Binding("b-mix", f"namespace-{number % ROLES}", scope, (who,)))
            index.sweep()
        return index.check(*question)

    rate, us = timed(with_writes, list(enumerate(some)))
    figure("check, a binding written per 100", rate, "1/s")
    figure("check, a binding written per 100, P99", at(us, 0.99), "us", "< 100")
    cold = [ask(rnd.randrange(users), rnd.randrange(namespaces)) for _ in range(ASKED // 8)]
    rate, us = timed(index.check, cold)
    figure("check, a scope never asked before", rate, "1/s")
    figure("check, a scope never asked before, P99", at(us, 0.99), "us", "< 100")
    figure("memory with all views", memory_mb(), "MB", "<= 300")


def events(index: Index) -> None:
    def once(bench: str, do: Callable[[], object]) -> None:
        _, us = timed(do, [()])
        figure(f"event: {bench}", us[0] / 1000, "ms", "< 20")

    once("a binding removed", lambda: index.drop_binding("b-5"))
    team = Binding("b-team", "workspace-1", "w/host/1", ("Group:team-1",))
    once("a binding of a group of 50", lambda: index.put_binding(team))
    bare = RoleFacts("regular", "platform", "", (), (), None)
    once("a role changed that all hold", lambda: index.put_role(bare))
    once("a namespace moved", lambda: index.put_scope("n/host/1", ("w/host/2",)))
    _, us = timed(index.sweep, [(200,)] * 200)
    figure("event: freeing a slice, worst", us[-1] / 1000, "ms", "< 20")
    extra = Binding("b-x", "namespace-1", "n/host/7", ("User:user-9",))

    def revoke(_: int) -> None:
        index.put_binding(extra)
        index.drop_binding("b-x")
        index.check("user-9", "n/host/7", "delete", "", "nodes")

    _, us = timed(revoke, [(0,)] * 2000)
    figure("grant, revoke, ask, P99", at(us, 0.99), "us")


def answers(index: Index, users: int, namespaces: int) -> None:
    people = [(f"user-{n % users}", f"n/host/{n % namespaces}") for n in range(1, 2001)]
    question = Question("get", "", "pods")
    _, us = timed(explain, [(index, who, scope, question) for who, scope in people])
    figure("explain, P99", at(us, 0.99) / 1000, "ms", "< 5")
    _, us = timed(who_can, [(index, scope, question) for _, scope in people])
    figure("who-can, P99", at(us, 0.99) / 1000, "ms", "< 50")
    _, us = timed(index.ui, people)
    figure("console rights, P99", at(us, 0.99) / 1000, "ms")
    index.put_user("few", ())
    for n in range(10):
        index.put_binding(Binding(f"few-{n}", "namespace-few", f"n/host/{n}", ("User:few",)))
    few = RoleFacts("namespace-few", "namespace", "", (rule(("list",), "", "pods"),), (), None)
    index.put_role(few)
    objects = [(f"n/host/{n % 1000}", f"pod-{n}") for n in range(10_000)]

    def filtered(_: int) -> int:
        sight = visible(index, "few", "list", "", "pods")
        return sum(sight.sees(*one) for one in objects)

    assert filtered(0) == 100
    _, us = timed(filtered, [(0,)] * 100)
    figure("list of 10,000 for who may see 100, P99", at(us, 0.99) / 1000, "ms", "< 50")


def main() -> None:
    users, bindings = (int(one) for one in (sys.argv[1:3] or ("10000", "100000")))
    rnd = random.Random(1)
    start = time.perf_counter()
    index, namespaces = build(users, bindings, rnd)
    figure(f"load {bindings} bindings", time.perf_counter() - start, "s", "<= 2")
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    checks(index, users, namespaces, rnd)
    events(index)
    answers(index, users, namespaces)


if __name__ == "__main__":
    main()
