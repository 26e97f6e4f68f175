"""What a watch of a part tells, in whatever order objects and rights change (I15; design §8.3)."""

import json
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.lists.listing import read_query
from edge.apiserver.lists.partwatch import PartWatch
from edge.apiserver.mirrors.store import Collection, Served, Stored
from edge.apiserver.paths import read_target
from edge_kube.meta import Key

TARGET = read_target("/x?watch=1")
NAMES = ("a", "b")


class Watched:
    """A watch by somebody who may see the objects of these names, and a client that takes what it is told."""

    def __init__(self, *may_see: str) -> None:
        self.collection = Collection(Served("", "v1", "namespaces", "Namespace"))
        self.collection.keep_only((), "1")
        self.may_see = set(may_see)
        self.version = 1
        self.client: dict[str, int] = {}
        self.told: list[tuple[str, str, int]] = []
        self.watch = PartWatch(self.collection, read_query(TARGET), lambda: self.sees, self.sees)
        self.collection.followers.add(self.watch._follow)
        self.take(self.watch._begin(TARGET))

    def sees(self, item: Stored) -> bool:
        return item.key.name in self.may_see

    def put(self, name: str) -> None:
        self.version += 1
        metadata = {"name": name, "resourceVersion": str(self.version)}
        self.collection.put(json.dumps({"metadata": metadata}).encode())

    def drop(self, name: str) -> None:
        self.version += 1
        self.collection.drop(Key("", name), str(self.version))

    def rights(self, name: str) -> None:
        """Given when it was not there, taken when it was."""
        self.may_see ^= {name}
        self.watch.look_again()

    def tell(self) -> None:
        self.take(self.watch._next())

    def take(self, lines: Iterable[bytes]) -> None:
        for event in map(json.loads, lines):
            metadata = event["object"]["metadata"]
            name, version = metadata["name"], int(metadata["resourceVersion"])
            self.told.append((event["type"], name, version))
            if event["type"] == "DELETED":
                del self.client[name]
            else:
                assert (event["type"] == "ADDED") is (name not in self.client)
                assert version > self.client.get(name, 0), "nobody is led back in time"
                self.client[name] = version

    @property
    def in_sight(self) -> dict[str, int]:
        return {one.key.name: int(one.resource_version) for one in self.collection if self.sees(one)}


def test_an_object_is_told_whether_its_right_comes_before_or_after_it() -> None:
    one = Watched()
    one.put("a")
    one.tell()
    assert one.told == []
    one.rights("a")
    one.tell()
    one.rights("b")
    one.put("b")
    one.tell()
    assert one.told == [("ADDED", "a", 2), ("ADDED", "b", 3)]


def test_changes_and_a_right_that_come_together_are_told_as_what_has_become_of_them() -> None:
    """The changes wait when the right comes: of what came into sight by it nothing older is told after it."""
    one = Watched()
    one.put("a")
    one.put("a")
    one.rights("a")
    one.tell()
    assert one.told == [("ADDED", "a", 3)]
    one.put("a")
    one.tell()
    assert one.told[1:] == [("MODIFIED", "a", 4)]


@given(
    st.lists(
        st.tuples(st.sampled_from(("put", "drop", "rights", "tell")), st.sampled_from(NAMES)), max_size=30
    )
)
def test_the_client_holds_what_it_may_see_and_is_never_led_back(steps: list[tuple[str, str]]) -> None:
    one = Watched("a")
    for what, name in steps:
        if what == "tell":
            one.tell()
            assert one.client == one.in_sight
        else:
            getattr(one, what)(name)
    one.tell()
    assert one.client == one.in_sight
