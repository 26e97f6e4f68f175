"""The plan of a Component as a table, and the status it gives (K2, K4, K5, R14, X70)."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.components.effective import Release, hash_label
from edge.components.failures import CLASSES, Failure
from edge.components.graph import Dependencies
from edge.components.plan import Seen, Trouble, plan_component
from edge.components.recovery import Revision
from edge.components.status import record, rfc3339, status_of
from edge.components.step import Step, retry_token
from edge.components.types import Component, ComponentSpec, ComponentStatus, LastGood, ResolvedChart
from edge_kube.meta import Condition, Key, ObjectMeta

OLD, NEW = "a" * 64, "b" * 64
MARK = "edge-system.web"
NOW = 1_800_000_000.0


def _component(status: ComponentStatus | None = None, *, deleted: bool = False, **spec: Any) -> Component:
    return Component(
        metadata=ObjectMeta(
            name="web",
            namespace="edge-system",
            generation=3,
            deletion_timestamp="2026-01-01T00:00:00Z" if deleted else "",
        ),
        spec=msgspec.convert(spec, ComponentSpec),
        status=status or ComponentStatus(),
    )


def _history(*revisions: tuple[str, str], mark: str = MARK) -> Sequence[Revision]:
    return [
        Revision(number=number, status=state, mark=mark, hash=hash_label(hash_), modified_at_s=int(NOW) - 10)
        for number, (state, hash_) in enumerate(revisions, start=1)
    ]


def _seen(*revisions: tuple[str, str], **more: Any) -> Seen:
    fields: dict[str, Any] = {
        "release": Release(cluster="", namespace="edge-system", name="web"),
        "mark": MARK,
        "now_s": NOW,
        "desired": NEW,
        "chart": ResolvedChart(name="web", version="1.0.0", digest="d"),
        "history": _history(*revisions),
        **more,
    }
    return Seen(**fields)


def _failed(count: int, *, again_at_s: float = NOW - 1, **more: Any) -> ComponentStatus:
    fields: dict[str, Any] = {
        "observed_hash": OLD,
        "failed_hash": NEW,
        "retry_count": count,
        "retry_token": retry_token(_component()),
        "next_retry_time": rfc3339(again_at_s),
        "message": "It failed.",
        **more,
    }
    return ComponentStatus(**fields)


READY = ComponentStatus(
    observed_hash=NEW,
    release_name="web",
    conditions=(Condition(type="Ready", status="True", reason="Installed", observed_generation=3),),
)
WAITING = Dependencies(waiting_for=("edge-system/etcd",))

TABLE: list[tuple[str, Component, Seen, str, str]] = [
    ("nothing there", _component(), _seen(), "upgrade", "Installing"),
    (
        "nothing there, upstream not ready",
        _component(),
        _seen(dependencies=WAITING),
        "none",
        "WaitingForDependencies",
    ),
    (
        "upstream missing",
        _component(),
        _seen(dependencies=Dependencies(missing=(Key("a", "b"),))),
        "none",
        "DependencyMissing",
    ),
    (
        "cycle, though installed",
        _component(READY),
        _seen(
            ("deployed", OLD), dependencies=Dependencies(cycle=(Key("a", "x"), Key("a", "y"), Key("a", "x")))
        ),
        "none",
        "DependencyCycle",
    ),
    ("as asked", _component(READY), _seen(("deployed", NEW)), "none", "Installed"),
    (
        "as asked, upstream not ready",
        _component(READY),
        _seen(("deployed", NEW), dependencies=WAITING),
        "none",
        "Installed",
    ),
    ("other hash", _component(READY), _seen(("deployed", OLD)), "upgrade", "Upgrading"),
    (
        "other hash, upstream not ready",
        _component(READY),
        _seen(("deployed", OLD), dependencies=WAITING),
        "none",
        "WaitingForDependencies",
    ),
    ("uninstalled with history", _component(), _seen(("uninstalled", OLD)), "upgrade", "Installing"),
    (
        "failed before, too early",
        _component(_failed(1, again_at_s=NOW + 9)),
        _seen(("deployed", OLD)),
        "none",
        "RolledBack",
    ),
    ("failed before, time is up", _component(_failed(1)), _seen(("deployed", OLD)), "upgrade", "Upgrading"),
    ("failed too often", _component(_failed(5)), _seen(("deployed", OLD)), "none", "RolledBack"),
    (
        "failed too often, new spec",
        _component(_failed(5, retry_token="2:")),
        _seen(("deployed", OLD)),
        "upgrade",
        "Upgrading",
    ),
    (
        "another spec failed",
        _component(_failed(5, failed_hash="c" * 64)),
        _seen(("deployed", OLD)),
        "upgrade",
        "Upgrading",
    ),
    (
        "failed upgrade",
        _component(_failed(1)),
        _seen(("deployed", OLD), ("failed", NEW)),
        "rollback",
        "RollingBack",
    ),
    (
        "failed upgrade, nothing recorded",
        _component(READY),
        _seen(("deployed", OLD), ("failed", NEW)),
        "rollback",
        "RollingBack",
    ),
    (
        "failed upgrade, roll-back off",
        _component(_failed(1), rollback={"enabled": False}),
        _seen(("deployed", OLD), ("failed", NEW)),
        "upgrade",
        "Upgrading",
    ),
    (
        "failed upgrade, roll-back after two",
        _component(_failed(1), rollback={"after": 2}),
        _seen(("deployed", OLD), ("failed", NEW)),
        "upgrade",
        "Upgrading",
    ),
    ("failed install", _component(_failed(1)), _seen(("failed", NEW)), "upgrade", "Upgrading"),
    ("failed install, third time", _component(_failed(3)), _seen(("failed", NEW)), "uninstall", "Recovering"),
    ("killed install", _component(), _seen(("pending-install", NEW)), "uninstall", "Recovering"),
    (
        "killed upgrade",
        _component(READY),
        _seen(("deployed", OLD), ("pending-upgrade", NEW)),
        "rollback",
        "Recovering",
    ),
    (
        "somebody works on it",
        _component(),
        _seen(("pending-install", NEW), holder="other-pod"),
        "none",
        "ReleaseLocked",
    ),
    (
        "not ours",
        _component(),
        _seen(("deployed", ""), history=_history(("deployed", ""), mark="")),
        "none",
        "InstalledByHand",
    ),
    (
        "not ours, to be taken over",
        _component(adopt="Auto"),
        _seen(history=_history(("deployed", ""), mark=""), foreign_chart="web"),
        "upgrade",
        "Upgrading",
    ),
    (
        "not ours, another chart",
        _component(adopt="Auto"),
        _seen(history=_history(("deployed", ""), mark=""), foreign_chart="redis"),
        "none",
        "InstalledByHand",
    ),
    (
        "known by its status, marks lost",
        _component(READY),
        _seen(history=_history(("deployed", OLD), mark="")),
        "upgrade",
        "Upgrading",
    ),
    ("release of another Component", _component(), _seen(taken_by="a/b"), "none", "ReleaseNameTaken"),
    ("suspended", _component(READY, suspend=True), _seen(("deployed", OLD)), "none", "Suspended"),
    (
        "chart missing",
        _component(),
        _seen(desired="", trouble=Trouble(reason="ChartNotFound", message="It is not there.")),
        "none",
        "ChartNotFound",
    ),
    ("disabled", _component(READY, enabled=False), _seen(("deployed", NEW)), "uninstall", "Uninstalling"),
    (
        "disabled, needed",
        _component(READY, enabled=False),
        _seen(("deployed", NEW), dependents=(Key("a", "b"),)),
        "none",
        "HasDependents",
    ),
    ("disabled and gone", _component(READY, enabled=False), _seen(), "none", "Disabled"),
    (
        "disabled, not ours",
        _component(enabled=False),
        _seen(history=_history(("deployed", ""), mark="")),
        "none",
        "Disabled",
    ),
    ("deleted", _component(READY, deleted=True), _seen(("deployed", NEW)), "uninstall", "Uninstalling"),
    ("deleted and gone", _component(READY, deleted=True), _seen(), "finish", "Uninstalled"),
    (
        "deleted, suspended",
        _component(READY, deleted=True, suspend=True),
        _seen(("deployed", NEW)),
        "uninstall",
        "Uninstalling",
    ),
    (
        "deleted, killed uninstall",
        _component(READY, deleted=True),
        _seen(("uninstalling", NEW)),
        "uninstall",
        "Uninstalling",
    ),
    (
        "not ready yet",
        _component(),
        _seen(("deployed", NEW), unhealthy=("Deployment a/b: 0 of 1 ready",)),
        "none",
        "WorkloadsStarting",
    ),
    (
        "not ready any more",
        _component(ComponentStatus(last_good=LastGood(hash=NEW, revision=1))),
        _seen(("deployed", NEW), unhealthy=("Deployment a/b: 0 of 1 ready",)),
        "none",
        "WorkloadsNotReady",
    ),
    (
        "never got ready after the upgrade",
        _component(ComponentStatus(last_good=LastGood(hash=OLD, revision=1))),
        _seen(("superseded", OLD), ("deployed", NEW), unhealthy=("x",), timeout_s=5),
        "rollback",
        "RollingBack",
    ),
    (
        "never got ready after the install",
        _component(),
        _seen(("deployed", NEW), unhealthy=("x",), timeout_s=5),
        "none",
        "WorkloadsNotReady",
    ),
]


@pytest.mark.parametrize(
    ("component", "seen", "verb", "reason"), [pytest.param(*r[1:], id=r[0]) for r in TABLE]
)
def test_each_situation_has_one_next_step(component: Component, seen: Seen, verb: str, reason: str) -> None:
    step = plan_component(component, seen)
    assert (step.verb, step.reason) == (verb, reason)
    assert step.message.endswith(".") or not step.message
    status = status_of(component, seen, step, None)
    assert {c.type for c in status.conditions} >= {
        "Ready",
        "Progressing",
        "Degraded",
        "Stalled",
        "DependenciesReady",
    }


def test_equal_hash_and_healthy_release_never_asks_for_helm() -> None:
    """K2, for every policy and setting that does not take part in the hash."""
    specs: list[dict[str, Any]] = [{}, {"adopt": "Auto"}, {"maxRetries": 1}, {"driftPolicy": "Off"}]
    for spec in specs:
        assert plan_component(_component(READY, **spec), _seen(("deployed", NEW))).verb == "none"


def _failure(kind: str, at_s: float = NOW, hash_: str = NEW) -> Failure:
    return Failure(
        kind=kind, message="m.", verb="upgrade", hash=hash_, at_s=at_s, token=retry_token(_component())
    )


def test_a_failure_is_counted_once_with_its_time_and_the_next() -> None:
    status = record(_component(READY), _failure("HookFailed"), 10.0)
    assert (status.retry_count, status.failed_hash, status.observed_hash) == (1, NEW, NEW)
    assert status.last_failure_time == rfc3339(NOW)
    assert status.next_retry_time == rfc3339(NOW + 10)
    assert record(_component(status), _failure("HookFailed"), 10.0) == status
    second = record(_component(status), _failure("HookFailed", NOW + 60), 10.0)
    assert (second.retry_count, second.next_retry_time) == (2, rfc3339(NOW + 80))
    other = record(_component(second), _failure("HookFailed", NOW + 99, OLD), 10.0)
    assert other.retry_count == 1


@pytest.mark.parametrize("kind", sorted(CLASSES))
def test_each_error_class_says_whether_it_is_tried_again(kind: str) -> None:
    status = record(_component(), _failure(kind), 10.0)
    step = plan_component(_component(status), _seen(now_s=NOW + 1))
    assert step.verb == "none"
    assert step.stalled == (not CLASSES[kind].retries)
    assert bool(status.retry_count) == CLASSES[kind].counts
    later = plan_component(_component(status), _seen(now_s=NOW + 1000))
    assert later.verb == ("upgrade" if CLASSES[kind].retries else "none")


def test_success_clears_the_counters_and_remembers_the_good_revision() -> None:
    component = _component(_failed(2))
    seen = _seen(("superseded", OLD), ("deployed", NEW))
    status = status_of(component, seen, plan_component(component, seen), None)
    assert (status.failed_hash, status.retry_count, status.observed_hash) == ("", 0, NEW)
    assert status.last_good == LastGood(hash=NEW, revision=2, chart_version="1.0.0")


def test_after_a_rollback_the_status_says_what_runs() -> None:
    component = _component(_failed(1, again_at_s=NOW + 5))
    seen = _seen(("superseded", OLD), ("failed", NEW), ("deployed", OLD))
    status = status_of(component, seen, plan_component(component, seen), None)
    assert (status.observed_hash, status.release_version, status.phase) == (OLD, 3, "Failed")


_states = st.sampled_from(
    [
        "deployed",
        "superseded",
        "failed",
        "pending-install",
        "pending-upgrade",
        "pending-rollback",
        "uninstalling",
    ]
)


@given(st.lists(st.tuples(_states, st.sampled_from([OLD, NEW])), max_size=4), st.booleans(), st.booleans())
def test_carrying_plans_out_ends_with_nothing_to_do(
    revisions: list[tuple[str, str]], enabled: bool, deleted: bool
) -> None:
    """Whatever is found: a few steps of a Helm that works lead to the asked state."""
    history: list[Revision] = list(_history(*revisions))
    component = _component(enabled=enabled, deleted=deleted)
    for _ in range(6):
        seen = _seen(history=tuple(history))
        step = plan_component(component, seen)
        history = _carried_out(history, step)
        component = msgspec.structs.replace(component, status=status_of(component, seen, step, None))
        if step.verb in ("none", "finish"):
            break
    step = plan_component(component, _seen(history=tuple(history)))
    assert step.verb == ("finish" if deleted else "none")
    assert step.reason == ("Uninstalled" if deleted else "Installed" if enabled else "Disabled")


def _carried_out(history: list[Revision], step: Step) -> list[Revision]:
    number = len(history) + 1
    if step.verb == "uninstall":
        return []
    if step.verb in ("upgrade", "rollback"):
        source = next((r.hash for r in history if r.number == step.revision), hash_label(NEW))
        older = [
            msgspec.structs.replace(r, status="superseded") if r.status == "deployed" else r for r in history
        ]
        return [*older, Revision(number=number, status="deployed", mark=MARK, hash=source)]
    return history
