"""Lists from memory: selectors, search, order and pages (G3, G10)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.lists.kinds import known
from edge.apiserver.lists.listing import Sealed, answer, read_query
from edge.apiserver.mirrors.store import CHANGES_KEPT, Collection, Served
from edge.apiserver.paths import read_target
from edge.apiserver.rows.cursors import Cursors
from edge.apiserver.rows.selectors import read_labels
from edge_kube.meta import Key
from edge_sdk.problem import Expired, Problem

SERVED = Served("iam.theriseunion.io", "v1alpha1", "users", "User")


def raw(name: str, version: int = 1, labels: dict[str, str] | None = None, shown: str = "") -> bytes:
    return json.dumps(
        {
            "metadata": {
                "name": name,
                "resourceVersion": str(version),
                "labels": labels or {},
                "creationTimestamp": f"2026-01-0{1 + len(name) % 9}T00:00:00Z",
                "managedFields": [{"manager": "x"}],
            },
            "spec": {"displayName": shown, "encryptedPassword": "hash"},
        }
    ).encode()


def relist(made: Collection, *objects: bytes, version: str = "9") -> Collection:
    for one in objects:
        made.put(one)
    made.keep_only({Key("", json.loads(one)["metadata"]["name"]) for one in objects}, version)
    return made


def collection(*names: str) -> Collection:
    return relist(Collection(SERVED), *(raw(name, index + 1) for index, name in enumerate(names)))


ANN = Sealed(Cursors(b"key"), "ann")


def ask(made: Collection, query: str = "", sealed: Sealed = ANN) -> dict[str, Any]:
    kind = known("iam.theriseunion.io", "users")
    return json.loads(answer(made, read_query(read_target(f"/x?{query}"), "", kind), None, sealed))


def names(found: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in found["items"]]


def test_a_list_is_a_kubernetes_list_without_secrets_and_noise() -> None:
    found = ask(collection("b", "a"))
    assert (found["kind"], found["apiVersion"]) == ("UserList", "iam.theriseunion.io/v1alpha1")
    assert names(found) == ["a", "b"]
    assert "hash" not in json.dumps(found)
    assert "managedFields" not in json.dumps(found)


def test_an_unchanged_list_is_the_same_bytes() -> None:
    made = collection("a")
    before = made.whole()
    made.put(raw("a", 1))
    assert made.whole() is before
    made.put(raw("a", 2))
    assert made.whole() is not before


@given(st.sets(st.text("abcdef", min_size=1, max_size=4), max_size=30), st.integers(min_value=1, max_value=7))
def test_pages_together_are_the_list(present: set[str], limit: int) -> None:
    made, seen, token = collection(*present), [], ""
    while True:
        page = ask(made, f"limit={limit}&continue={token}")
        seen += names(page)
        token = page["metadata"].get("continue", "")
        if not token:
            break
        assert page["metadata"]["remainingItemCount"] == len(present) - len(seen)
    assert seen == sorted(present)
    assert page["totalItems"] == len(present)


def test_a_page_goes_on_for_the_one_who_began_and_for_the_same_question_only() -> None:
    made = collection(*"abcd")
    token = ask(made, "limit=1")["metadata"]["continue"]
    assert names(ask(made, f"limit=2&continue={token}")) == ["b", "c"]
    for query, sealed in (
        (f"limit=1&continue={token}", Sealed(Cursors(b"key"), "bob")),
        (f"limit=1&continue={token}", Sealed(Cursors(b"other"), "ann")),
        (f"limit=1&q=a&continue={token}", ANN),
        (f"limit=1&continue={token[:-1]}", ANN),
        ("limit=1&continue=%21", ANN),
    ):
        with pytest.raises(Problem, match=r"continue.*accepted") as refused:
            ask(made, query, sealed)
        assert (refused.value.code, refused.value.status) == ("bad-cursor", 400)


def test_later_pages_are_of_the_moment_of_the_first() -> None:
    made = collection(*"abcdef")
    first = ask(made, "limit=2")
    made.put(raw("bb", 20))
    made.drop(Key("", "d"), "21")
    made.put(raw("e", 22, {"new": "yes"}))
    second = ask(made, f"limit=9&continue={first['metadata']['continue']}")
    assert names(second) == ["c", "d", "e", "f"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "new" not in json.dumps(second)
    assert names(ask(made)) == ["a", "b", "bb", "c", "e", "f"]


def test_a_moment_that_is_known_no_more_is_said_to_be_gone() -> None:
    made = collection(*"abc")
    token = ask(made, "limit=1")["metadata"]["continue"]
    for version in range(10, 10 + CHANGES_KEPT + 5):
        made.put(raw("a", version))
    with pytest.raises(Expired, match="begin anew") as gone:
        ask(made, f"limit=1&continue={token}")
    assert gone.value.status == 410


def test_a_sorted_page_whose_last_object_may_be_seen_no_more_is_gone_too() -> None:
    made = collection(*"abc")
    query = "sort=-name&limit=1"
    token = ask(made, query)["metadata"]["continue"]
    assert names(ask(made, f"{query}&continue={token}")) == ["b"]
    asked = read_query(read_target(f"/x?{query}&continue={token}"))
    with pytest.raises(Expired):
        answer(made, asked, lambda item: item.key.name != "c", ANN)


def test_sorting_by_a_column_and_selecting_by_its_field() -> None:
    made = relist(Collection(SERVED), *(mail(*one) for one in (("a", "z@x"), ("b", "y@x"), ("c", "z@x"))))
    assert names(ask(made, "sortBy=email")) == ["b", "a", "c"]
    assert names(ask(made, "sortBy=email&ascending=false")) == ["a", "c", "b"]
    assert names(ask(made, "sort=-email,-name")) == ["c", "a", "b"]
    assert names(ask(made, "fieldSelector=spec.email%3Dz%40x")) == ["a", "c"]
    assert names(ask(made, "fieldSelector=spec.email%3Dz%40x,metadata.name%3Dc")) == ["c"]
    assert ask(made, "fieldSelector=spec.email!%3Dz%40x")["totalItems"] == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sort=displayName", ["c", "a", "b", "d"]),
        ("sort=-displayName", ["b", "a", "c", "d"]),
        ("sortBy=displayName&ascending=false", ["b", "a", "c", "d"]),
        ("sort=-displayName,-name", ["b", "a", "c", "d"]),
        ("sort=-name", ["d", "c", "b", "a"]),
    ],
)
def test_what_has_no_value_comes_last_in_either_direction(query: str, found: list[str]) -> None:
    made = relist(
        Collection(SERVED),
        raw("a", 1, shown="edna"), raw("b", 2, shown="Zoe"), raw("c", 3, shown="Ada"), raw("d", 4),
    )  # fmt: skip
    assert names(ask(made, query)) == found


def mail(name: str, address: str) -> bytes:
    meta = {"name": name, "resourceVersion": "3"}
    return json.dumps({"metadata": meta, "spec": {"email": address}}).encode()


def test_pages_by_number_count_all_that_fits() -> None:
    made = collection(*"abcdefg")
    assert names(ask(made, "page=2&limit=3")) == ["d", "e", "f"]
    assert ask(made, "page=9&limit=3")["totalItems"] == 7


def test_sorting_and_search_use_name_and_display_name() -> None:
    made = relist(Collection(SERVED), raw("zoe", shown="Ada"), raw("bob", shown="张伟"))
    assert names(ask(made, "sortBy=displayName")) == ["zoe", "bob"]
    assert names(ask(made, "sort=-name")) == ["zoe", "bob"]
    assert names(ask(made, "q=%E5%BC%A0")) == ["bob"]
    assert names(ask(made, "name=ad")) == ["zoe"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("a=1", ["x"]),
        ("a==1", ["x"]),
        ("a!=1", ["y", "z"]),
        ("a", ["x", "y"]),
        ("!a", ["z"]),
        ("a in (1,2)", ["x", "y"]),
        ("a notin (1)", ["y", "z"]),
        ("a=1,b=2", ["x"]),
        ("a in (1, 2),b", ["x"]),
    ],
)
def test_label_selectors_mean_what_kubectl_means(selector: str, expected: list[str]) -> None:
    labels = {"x": {"a": "1", "b": "2"}, "y": {"a": "2"}, "z": {}}
    tests = read_labels(selector)
    assert [name for name, have in labels.items() if all(test(have) for test in tests)] == expected


@pytest.mark.parametrize(
    ("query", "names_it"),
    [
        ("labelSelector=a%20in%201", "labelSelector"),
        ("fieldSelector=spec.x%3D1", "fieldSelector"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        (f"limit={'9' * 5000}", "limit"),
        ("limit=%C2%B2", "limit"),
        ("page=1.5", "page"),
        ("sortBy=colour", "sortBy"),
        ("sort=-name,colour", "sort"),
        ("sort=name,name,name,name,name", "sort"),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_accepted(query: str, names_it: str) -> None:
    with pytest.raises(Problem, match=f"{names_it}.*accepted"):
        read_query(read_target(f"/x?{query}"))


def test_a_relist_drops_what_is_gone_and_tells_the_listener() -> None:
    told: list[tuple[str, bool, bool]] = []
    made = Collection(SERVED, lambda key, old, new: told.append((key.name, old is not None, new is not None)))
    relist(made, raw("a"), raw("b"))
    relist(made, raw("b"))
    assert told == [("a", False, True), ("b", False, True), ("a", True, False)]
    assert made.get(Key("", "a")) is None


def test_what_is_not_shown_is_not_counted_paged_or_continued() -> None:
    made = collection(*"abcdef")
    query = read_query(read_target("/x?limit=2"))
    found = json.loads(answer(made, query, lambda item: item.key.name in "bdf", ANN))
    assert (names(found), found["totalItems"]) == (["b", "d"], 3)
    assert found["metadata"]["remainingItemCount"] == 1
    plain = json.loads(answer(made, read_query(read_target("/x")), lambda item: item.key.name == "c"))
    assert (names(plain), plain["totalItems"]) == (["c"], 1)


def test_heartbeats_are_heard_and_never_listed() -> None:
    told: list[str] = []
    made = relist(
        Collection(SERVED, lambda key, _, __: told.append(key.name)), raw("a"), raw("edge-heartbeat")
    )
    assert told == ["a", "edge-heartbeat"]
    assert names(ask(made)) == ["a"]
    assert len(made) == 1


def test_what_happened_since_a_version_is_known_and_what_is_not_known_is_said() -> None:
    made = relist(Collection(SERVED), raw("a", 1), raw("b", 2), version="9")
    assert made.changes_since(9) == []
    assert made.changes_since(8) is None, "before the list nothing was remembered"
    made.put(raw("a", 11))
    made.drop(Key("", "b"), "12")
    later = made.changes_since(9)
    assert later is not None
    assert [(change.version, change.key.name, change.new is None) for change in later] == [
        (11, "a", False),
        (12, "b", True),
    ]
    assert made.changes_since(12) == []


def test_a_change_that_only_a_later_list_brought_makes_clients_list_again() -> None:
    """Its place among the others is not known, and a gap must not be silent."""
    made = relist(Collection(SERVED), raw("a", 1), version="9")
    made.put(raw("a", 20))
    made.put(raw("late", 15))
    assert made.changes_since(20) is None
    made.keep_only({Key("", "a"), Key("", "late")}, "20")
    assert made.changes_since(20) == []
    assert made.changes_since(19) is None


def test_the_version_of_a_list_never_goes_back() -> None:
    made = relist(Collection(SERVED), raw("b", 7), raw("a", 3), version="9")
    assert ask(made)["metadata"]["resourceVersion"] == "9"
    assert made.reached("12")
    assert not made.reached("11")
    made.put(raw("a", 13))
    assert ask(made)["metadata"]["resourceVersion"] == "13"


def test_only_so_many_changes_are_remembered() -> None:
    made = relist(Collection(SERVED), raw("a", 1), version="9")
    for version in range(10, 10 + CHANGES_KEPT + 5):
        made.put(raw("a", version))
    assert made.changes_since(9) is None
    known = made.changes_since(14)
    assert known is not None
    assert len(known) == CHANGES_KEPT
