"""Boards of an overview: counts, tiles, what is wrong (console §5.6)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.overview.board import LETTERS, PROBLEMS_MAX, Board, Part, TroubleRef


def part(name: str, state: str, **more: Any) -> Part:
    return Part(TroubleRef("g", "v1", "things", name, "", f"uid-{name}"), state, **more)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("clusters", "nodes", "deployments")),
            st.integers(0, 9),
            st.sampled_from((None, *LETTERS)),
        )
    )
)
def test_what_is_counted_is_what_is_there_in_whatever_order_it_came(
    steps: list[tuple[str, int, str | None]],
) -> None:
    sections = ("clusters", "nodes", "deployments")
    board, there = Board(sections), dict[tuple[str, int], Part]()
    for section, number, state in steps:
        new = None if state is None else part(str(number), state)
        assert board.put(section, number, new) == (there.get((section, number)) != new)
        if new is None:
            there.pop((section, number), None)
        else:
            there[section, number] = new
    anew = Board(sections)
    for (section, number), one in there.items():
        anew.put(section, number, one)
    found = board.overview("platform")
    assert found == anew.overview("platform")
    assert found.clusters is not None
    assert found.clusters.total == len(found.tiles) == sum(one[0] == "clusters" for one in there)
    assert found.components is None, "what may not be listed is not told as none"


def test_the_worst_comes_first_then_the_newest_and_no_more_than_people_read() -> None:
    board = Board(("deployments",))
    for number in range(30):
        board.put("deployments", number, part(f"d-{number}", "Degraded", since=number))
    board.put("deployments", "f", part("failed", "Failed", since=1, next="SeeCause"))
    board.put("deployments", "r", part("fine", "Ready"))
    found = board.overview("platform")
    assert [one.ref.name for one in found.problems][:3] == ["failed", "d-29", "d-28"]
    assert (len(found.problems), found.problem_count) == (PROBLEMS_MAX, 31)
    assert found.problems[0].next == "SeeCause"


def test_nodes_of_members_are_counted_and_those_of_the_host_once() -> None:
    board = Board(("clusters", "nodes"))
    board.put("clusters", 1, part("here", "Ready", nodes=2, is_host=True))
    board.put("clusters", 2, part("east", "Offline", nodes=3, since=7))
    for name, state in (("a", "Ready"), ("b", "Degraded")):
        board.put("nodes", name, part(name, state))
    found = board.overview("platform")
    assert found.nodes is not None
    assert (found.nodes.total, found.nodes.by_state) == (5, {"Ready": 1, "Degraded": 1})
    tiles = [(one.name, one.state, one.nodes_ready, one.nodes, one.since) for one in found.tiles]
    assert tiles == [("east", "o", None, 3, 7), ("here", "r", 1, 2, None)]
