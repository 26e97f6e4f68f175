"""The store: what readers and handlers see of any history (R1–R4)."""

from hypothesis import given
from hypothesis import strategies as st

from edge_kube.core import ConfigMap
from edge_kube.meta import Key, ObjectMeta, key_of
from edge_kube.store import Delta, Store


def page(name: str, version: int, uid: str = "u", **data: str) -> ConfigMap:
    meta = ObjectMeta(name=name, namespace="n", uid=f"{name}-{uid}", resource_version=str(version))
    return ConfigMap(metadata=meta, data=data)


def store() -> tuple[Store[ConfigMap], list[Delta[ConfigMap]]]:
    told: list[Delta[ConfigMap]] = []
    return Store(told.append, {"value": lambda each: each.data.values()}), told


def ops(told: list[Delta[ConfigMap]]) -> list[str]:
    return [delta.op for delta in told]


def test_what_a_list_lacks_is_told_as_deleted_with_its_last_state() -> None:
    made, told = store()
    made.replace([page("a", 1, x="1"), page("b", 2)], went_back=False)
    made.replace([page("b", 2)], went_back=False)
    assert ops(told) == ["added", "added", "deleted"]
    assert told[-1].old == page("a", 1, x="1")
    assert made.by("value", "1") == []


def test_an_equal_version_is_no_change_and_an_older_list_entry_is_not_taken() -> None:
    made, told = store()
    made.replace([page("a", 5)], went_back=False)
    made.put(page("a", 5))
    assert made.write_through(page("a", 7))
    made.replace([page("a", 6)], went_back=False)
    assert ops(told) == ["added", "modified"]
    assert made.get(Key("n", "a")) == page("a", 7)


def test_when_the_server_went_back_its_list_is_the_truth() -> None:
    made, _ = store()
    made.replace([page("a", 9, x="new")], went_back=False)
    made.replace([page("a", 9, x="restored")], went_back=True)
    assert [each.data for each in made.all()] == [{"x": "restored"}]
    made.replace([page("a", 3, x="older")], went_back=True)
    assert made.by("value", "older") == [page("a", 3, x="older")]


def test_another_uid_under_the_same_name_is_a_deletion_and_a_creation() -> None:
    made, told = store()
    made.put(page("a", 1, "first"))
    made.put(page("a", 2, "second"))
    assert ops(told) == ["added", "deleted", "added"]
    made.remove(page("a", 1, "first"))  # late news of the first one
    assert made.get(Key("n", "a")) is not None


def test_an_index_forgets_values_nobody_has_any_more() -> None:
    made, _ = store()
    made.put(page("a", 1, x="1"))
    made.put(page("a", 2, x="2"))
    assert (made.by("value", "1"), made.by("value", "2")) == ([], [page("a", 2, x="2")])
    made.remove(page("a", 2, x="2"))
    assert not made._indexes["value"]
    assert not made._by_namespace


HISTORY = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "list", "own write"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["first", "second"]),
        st.sampled_from(["1", "2"]),
    ),
    max_size=30,
)


@given(HISTORY)
def test_after_any_history_indexes_and_deltas_agree_with_the_store(
    history: list[tuple[str, str, str, str]],
) -> None:
    replica: dict[Key, ConfigMap] = {}

    def apply(delta: Delta[ConfigMap]) -> None:
        obj = delta.new or delta.old
        assert obj is not None
        assert delta.old is replica.get(key_of(obj))
        if delta.new is None:
            del replica[key_of(obj)]
        else:
            replica[key_of(obj)] = delta.new

    made: Store[ConfigMap] = Store(apply, {"value": lambda each: each.data.values()})
    for version, (act, name, uid, value) in enumerate(history, 1):
        obj = page(name, version, uid, x=value)
        if act == "put":
            made.put(obj)
        elif act == "remove":
            made.remove(obj)
        elif act == "own write":
            made.write_through(obj)
        else:
            made.replace([obj], went_back=False)
    stored = {key_of(each): each for each in made.all()}
    assert replica == stored
    for value in ("1", "2"):
        want = {key for key, each in stored.items() if value in each.data.values()}
        assert {key_of(each) for each in made.by("value", value)} == want
