"""The permission engine at 10,000 users and 100,000 bindings (I6, I7). Prints JSON lines; see run.py.

    python tests/perf/bench_iam.py [USERS BINDINGS]

Each question is timed by itself with the clock included; checks/s is over all of them. Rates, the load and
what takes milliseconds are in CPU time, so that other programs on the machine do not count.
"""

import gc
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.figures import at, figure, memory_mb, timed
from tests.support.population import KINDS, ROLES, VERBS, Ask, Population, populate, questions, rule

from edge.iam.explain import Question, explain, who_can
from edge.iam.index import Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.visible import visible

ASKED = 400_000


def checks(index: Index, of: Population, rnd: random.Random) -> None:
    users, namespaces, _ = of
    some = questions(of, ASKED, rnd)
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
    cold = [
        (
            f"user-{rnd.randrange(users)}", f"n/host/{rnd.randrange(namespaces)}",
            rnd.choice(VERBS), *rnd.choice(KINDS),
        )
        for _ in range(ASKED // 8)
    ]  # fmt: skip
    rate, us = timed(index.check, cold)
    figure("check, a scope never asked before", rate, "1/s")
    figure("check, a scope never asked before, P99", at(us, 0.99), "us", "< 100")
    figure("memory with all views", memory_mb(), "MB", "<= 300")


def events(index: Index) -> None:
    def once(bench: str, do: Callable[[], object]) -> None:
        _, us = timed(do, [()], time.thread_time_ns)
        figure(f"event: {bench}", us[0] / 1000, "ms", "< 20")

    once("a binding removed", lambda: index.drop_binding("b-5"))
    team = Binding("b-team", "workspace-1", "w/host/1", ("Group:team-1",))
    once("a binding of a group of 50", lambda: index.put_binding(team))
    bare = RoleFacts("regular", "platform", "", (), (), None)
    once("a role changed that all hold", lambda: index.put_role(bare))
    once("a namespace moved", lambda: index.put_scope("n/host/1", ("w/host/2",)))
    _, us = timed(index.sweep, [()] * 400, time.thread_time_ns)
    figure("event: freeing a slice, worst", us[-1] / 1000, "ms", "< 20")
    extra = Binding("b-x", "namespace-1", "n/host/7", ("User:user-9",))

    def revoke(_: int) -> None:
        index.put_binding(extra)
        index.drop_binding("b-x")
        index.check("user-9", "n/host/7", "delete", "", "nodes")

    _, us = timed(revoke, [(0,)] * 2000)
    figure("grant, revoke, ask, P99", at(us, 0.99), "us")


def answers(index: Index, of: Population) -> None:
    people = [(f"user-{n % of.users}", f"n/host/{n % of.namespaces}") for n in range(1, 2001)]
    question = Question("get", "", "pods")
    _, us = timed(explain, [(index, who, scope, question) for who, scope in people], time.thread_time_ns)
    figure("explain, P99", at(us, 0.99) / 1000, "ms", "< 5")
    _, us = timed(who_can, [(index, scope, question) for _, scope in people], time.thread_time_ns)
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
    _, us = timed(filtered, [(0,)] * 100, time.thread_time_ns)
    figure("list of 10,000 for who may see 100, P99", at(us, 0.99) / 1000, "ms", "< 50")


def main() -> None:
    users, bindings = (int(one) for one in (sys.argv[1:3] or ("10000", "100000")))
    rnd = random.Random(1)
    start = time.thread_time()
    index = Index()
    of = populate(index, users, bindings, rnd)
    figure(f"load {bindings} bindings", time.thread_time() - start, "s", "<= 2")
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    checks(index, of, rnd)
    events(index)
    answers(index, of)


if __name__ == "__main__":
    main()
