"""What plugin and room authors rely on: public names, errors with a way out, shapes the runtime accepts."""

import edge_sdk
from edge_kube.controller import Loop as RuntimeLoop
from edge_kube.core import ConfigMap
from edge_kube.manager import Room as RuntimeRoom
from edge_kube.reconcile import DONE, Reader, Request, Result, Writer
from edge_kube.webhook import Webhook as RuntimeWebhook
from edge_sdk.problem import Invalid, Problem, TooMuch, Violation
from edge_sdk.room import Loop, Room, Webhook
from edge_sdk.scopes import is_wider


class Nothing:
    def __init__(self, cache: Reader, client: Writer) -> None: ...

    async def reconcile(self, request: Request) -> Result:
        return DONE


def test_a_room_of_the_sdk_is_what_the_runtime_runs() -> None:
    loop = Loop(ConfigMap, Nothing)
    room: RuntimeRoom = Room(name="tenancy", loops=(loop,), webhooks=(Webhook(ConfigMap),))
    as_loop: RuntimeLoop = loop
    as_webhook: RuntimeWebhook = Webhook(ConfigMap)
    assert (room.name, as_loop.label, as_webhook.failure_policy) == ("tenancy", "configmap", "Fail")
    assert room.status_manager == "edge-tenancy-status"


def test_the_public_names_exist() -> None:
    assert sorted(edge_sdk.__all__) == list(edge_sdk.__all__)
    assert all(hasattr(edge_sdk, name) for name in edge_sdk.__all__)


def test_a_problem_says_what_why_and_what_to_do_also_to_kubectl() -> None:
    problem = Problem(
        "bad-taint", what='spec.taints[0] is "x"', why="a taint is key:Effect", do="End it with :NoSchedule."
    )
    status = problem.to_status()
    assert status["message"] == 'spec.taints[0] is "x". a taint is key:Effect. End it with :NoSchedule.'
    assert (status["code"], status["kind"], status["details"]["code"]) == (400, "Status", "bad-taint")


def test_all_violations_are_listed_with_their_fields() -> None:
    found = [
        Violation("spec.a", 1, "too small", "2 or more"),
        Violation("spec.b", "x", "unknown", ("y", "z")),
    ]
    problem = Invalid("bad-cluster", found, what="Cluster a is refused")
    assert "spec.a: 1 is refused: too small; accepted: 2 or more" in str(problem)
    assert 'spec.b: "x" is refused: unknown; accepted: y, z' in str(problem)
    assert [cause["field"] for cause in problem.details()["causes"]] == ["spec.a", "spec.b"]
    assert problem.status == 422


def test_too_much_says_when_to_come_back() -> None:
    assert TooMuch("slow-down", what="Too many", retry_after_s=3).details()["retryAfterSeconds"] == 3


def test_scopes_have_an_order() -> None:
    assert is_wider("platform", "namespace")
    assert not is_wider("namespace", "namespace")
