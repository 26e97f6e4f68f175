"""Which kubeconfigs are in force, by what a replica has heard so far (I3, I6)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edge.apiserver.callers.kubeconfigs import Kubeconfigs
from edge.iam.kubeconfigs import SECRET_PREFIX, Issued, record_of
from edge.iam.tokens import Claims
from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.meta import Key
from edge_sdk.clock import SystemClock
from edge_sdk.problem import NotAuthenticated, Problem, Unavailable

NOW = 1_800_000_000.0
LATER = NOW + 60
CLAIMS = Claims("ada", "u1", "mark", "0123456789abcdef" * 2, NOW, NOW + 3600, "host")
NAMESPACE = "edge-system"
KEY = Key(NAMESPACE, SECRET_PREFIX + CLAIMS.token_id)


def put(kubeconfigs: Kubeconfigs, claims: Claims = CLAIMS, version: int = 1, **changed: Any) -> None:
    manifest = record_of(Issued(claims), NAMESPACE) | changed
    manifest["metadata"] = {**manifest["metadata"], "resourceVersion": str(version), "uid": "s1"}
    kubeconfigs.mirror.collection.put(msgspec.json.encode(manifest))


@pytest.fixture
def looked() -> list[str]:
    return []


@pytest.fixture
def kubeconfigs(looked: list[str], monkeypatch: pytest.MonkeyPatch) -> Kubeconfigs:
    """Of a replica that has listed the records, none so far, and hears from the API server."""
    client = Client(Connection("http://127.0.0.1:1"))
    made = Kubeconfigs(client, NAMESPACE, looked.append, clock=SystemClock(), relist_s=300)
    made.mirror.collection.keep_only(set(), "1")
    monkeypatch.setattr(made.mirror, "silence_s", lambda: 0.0)
    return made


def test_it_counts_while_its_record_is_there(kubeconfigs: Kubeconfigs, looked: list[str]) -> None:
    put(kubeconfigs)
    kubeconfigs.check(CLAIMS, LATER)
    assert looked == []
    kubeconfigs.mirror.collection.drop(KEY)
    assert looked == ["ada"], "streams that it opened are looked at"
    with pytest.raises(NotAuthenticated) as refused:
        kubeconfigs.check(CLAIMS, LATER)
    assert refused.value.code == "token-revoked"


def test_a_new_one_is_not_called_revoked_by_a_replica_that_has_not_heard_of_it(
    kubeconfigs: Kubeconfigs,
) -> None:
    with pytest.raises(Unavailable):
        kubeconfigs.check(CLAIMS, NOW + 1)
    with pytest.raises(NotAuthenticated):
        kubeconfigs.check(CLAIMS, LATER)
    put(kubeconfigs)
    kubeconfigs.check(CLAIMS, NOW + 1)
    kubeconfigs.mirror.collection.drop(KEY)
    with pytest.raises(NotAuthenticated):
        kubeconfigs.check(CLAIMS, NOW + 1)  # heard of, and gone


@pytest.mark.parametrize(
    "other",
    [
        replace(CLAIMS, user="eve"),
        replace(CLAIMS, uid="u2"),
        replace(CLAIMS, cluster="east"),
        replace(CLAIMS, token_id="f" * 32),
    ],
)
def test_the_record_of_one_is_none_of_another(kubeconfigs: Kubeconfigs, other: Claims) -> None:
    put(kubeconfigs)
    with pytest.raises(NotAuthenticated):
        kubeconfigs.check(other, LATER)


@pytest.mark.parametrize(
    "changed", [{"data": {}}, {"data": {"user": "AA=="}}, {"type": "Opaque"}, {"data": {"user": 1}}]
)
def test_a_record_that_turns_unreadable_lets_nobody_in(
    kubeconfigs: Kubeconfigs, looked: list[str], changed: dict[str, Any]
) -> None:
    put(kubeconfigs)
    put(kubeconfigs, version=2, **changed)
    with pytest.raises(NotAuthenticated):
        kubeconfigs.check(CLAIMS, LATER)
    assert (looked, kubeconfigs.of("ada")) == (["ada"], [])


@pytest.mark.parametrize("silence", [lambda: 301.0, lambda: float("inf")])
def test_a_replica_that_is_cut_off_decides_nothing(
    kubeconfigs: Kubeconfigs, monkeypatch: pytest.MonkeyPatch, silence: Callable[[], float]
) -> None:
    put(kubeconfigs)
    monkeypatch.setattr(kubeconfigs.mirror, "silence_s", silence)
    with pytest.raises(Unavailable):
        kubeconfigs.check(CLAIMS, LATER)


def test_before_the_first_list_nothing_is_revoked_and_nothing_let_in(looked: list[str]) -> None:
    client = Client(Connection("http://127.0.0.1:1"))
    made = Kubeconfigs(client, NAMESPACE, looked.append, clock=SystemClock(), relist_s=300)
    put(made)
    with pytest.raises(Problem) as refused:
        made.check(CLAIMS, LATER)
    assert refused.value.status == 503


def test_a_users_are_listed_newest_first(kubeconfigs: Kubeconfigs) -> None:
    for at, user in enumerate(("ada", "eve", "ada")):
        put(kubeconfigs, replace(CLAIMS, user=user, token_id=f"{at:032x}", issued_s=NOW + at))
    assert [one.claims.token_id[-1] for one in kubeconfigs.of("ada")] == ["2", "0"]
