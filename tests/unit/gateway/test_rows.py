"""Columns, values and windows of tables, without a server (G1–G3; console §5.3)."""

import random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.lists.kinds import known
from edge.apiserver.lists.shape import positions, row
from edge.apiserver.rows.columns import RowColumn, choose, column_id, columns_of
from edge.apiserver.rows.jsonpath import BadPath, compile_path
from edge.apiserver.rows.project import Item, clean, project
from edge.apiserver.rows.selectors import read_fields, read_labels
from edge.apiserver.rows.status import status_of
from edge.apiserver.rows.window import WindowQuery, pick, read_order, read_search
from edge_kube.crd import Column
from edge_sdk.problem import Problem

COLUMNS = (
    RowColumn("name", "name"),
    RowColumn("size", "number", ".spec.size"),
    RowColumn("memory", "quantity", ".spec.memory"),
    RowColumn("seen", "time", ".status.seen"),
    RowColumn("zone", "text", ".spec.zone"),
    RowColumn("age", "age", ".metadata.creationTimestamp"),
)
QUANTITIES = ("500m", "2", "1Ki", "1Gi", "900M", "0")


def thing(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec}


def names(items: list[Item]) -> list[str]:
    return [item.name for item in items]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".status.phase", ["Ready"]),
        ("{.status.phase}", ["Ready"]),
        (r".metadata.labels['theriseunion\.io/workspace']", ["press"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".spec.names[*]", ["a", "b"]),
        (".spec.names[-1]", ["b"]),
        (".spec.none.at.all", []),
        (".spec.names.phase", []),
    ],
)
def test_paths_of_printer_columns_lead_where_kubectl_goes(path: str, found: list[Any]) -> None:
    obj = {
        "metadata": {"labels": {"theriseunion.io/workspace": "press"}},
        "spec": {"names": ["a", "b"]},
        "status": {"phase": "Ready", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert compile_path(path)(obj) == found


def test_a_path_that_is_not_understood_says_from_where_on() -> None:
    with pytest.raises(BadPath, match=r"from \"\[\?\(@"):
        compile_path(".items[?(@.size>3)].name")


def test_the_consoles_columns_come_first_and_a_crds_column_does_not_hide_one() -> None:
    printed = (
        Column("Status", ".status.word"),
        Column("Scope-Value", ".spec.value", priority=1),
        Column("Age", ".metadata.creationTimestamp", type="date"),
    )
    columns = columns_of("scope.theriseunion.io", "clusters", printed=printed)
    ids = [column.id for column in columns]
    assert ids[:3] == ["name", "status", "nodes"]
    assert ids[-4:] == ["scopeValue", "age", "cluster", "labels"]
    assert next(column for column in columns if column.id == "status").type == "status"
    assert next(column for column in columns if column.id == "scopeValue").wide


@pytest.mark.parametrize(
    ("name", "id_"), [("Scope-Value", "scopeValue"), ("READY", "ready"), ("ReviewTime", "reviewTime")]
)
def test_ids_are_the_printer_names_in_camel_case(name: str, id_: str) -> None:
    assert column_id(name) == id_


def test_an_unknown_column_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(Problem, match="accepted: name, size, memory, seen, zone, age") as refused:
        choose(COLUMNS, "name,colour")
    assert (refused.value.code, refused.value.status) == ("unknown-column", 400)


def test_every_kind_that_is_known_by_heart_has_columns_that_can_be_read() -> None:
    for about in (("iam.theriseunion.io", "users"), ("", "nodes"), ("ext.theriseunion.io", "components")):
        kind = known(*about)
        assert kind is not None
        assert len(kind.fetched(thing("x")).cells) == len(kind.columns)


def test_nothing_secret_comes_into_a_row() -> None:
    obj = {
        "metadata": {
            "name": "s",
            "managedFields": [{"manager": "TOPSECRET"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "TOPSECRET"},
        },
        "type": "Opaque",
        "data": {"password": "TOPSECRET"},
    }
    columns = (
        *columns_of("", "secrets"),
        RowColumn("data", "text", ".data.password"),
        RowColumn("managers", "text", ".metadata.managedFields[*].manager"),
        RowColumn(
            "applied", "text", r".metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration"
        ),
    )
    item = project(clean("", "secrets", obj), columns)
    assert "TOPSECRET" not in str(item)
    assert "Opaque" in item.cells


@pytest.mark.parametrize(
    ("obj", "state", "next_code"),
    [
        ({"status": {"phase": "Ready"}}, "Ready", ""),
        ({"status": {"phase": "Provisioning"}}, "Progressing", ""),
        ({"status": {"reviewPhase": "submitted", "phase": "Ready"}}, "AwaitingApproval", "AskReviewer"),
        ({"status": {"state": "Disabled"}}, "Blocked", "SeeRule"),
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, "Deleting", "SeeFinalizers"),
        ({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "Ready", ""),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, "Offline", "CheckConnection"),
        ({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "Degraded", "SeeFailingPart"),
        (
            {
                "metadata": {"generation": 3},
                "status": {"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "False"}]},
            },
            "Progressing",
            "",
        ),
        (
            {
                "spec": {"unschedulable": True},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            },
            "Maintenance",
            "EndMaintenance",
        ),
        (
            {
                "status": {
                    "phase": "Running",
                    "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
                }
            },
            "Failed",
            "SeeCause",
        ),
        ({"spec": {"replicas": 3}, "status": {"readyReplicas": 1}}, "Progressing", ""),
        ({"status": {"phase": "Wobbling"}}, "Unknown", "SeeEvents"),
        ({}, "Unknown", "SeeEvents"),
    ],
)
def test_conditions_and_phases_become_one_state_for_people(
    obj: dict[str, Any], state: str, next_code: str
) -> None:
    found = status_of(obj)
    assert (found[0], found[4]) == (state, next_code)


def test_a_state_says_why_and_since_when() -> None:
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "NodesMissing",
        "message": "2 of 3 nodes answer",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    obj = {"status": {"phase": "Degraded", "conditions": [condition]}}
    assert status_of(obj) == ["Degraded", "NodesMissing", "2 of 3 nodes answer", 1767225600, "SeeFailingPart"]


def test_a_row_has_its_values_in_the_order_that_was_asked_for() -> None:
    item = project(thing("a", size=3, zone="east"), COLUMNS)
    chosen = choose(COLUMNS, "zone,name,size")
    assert row(item, positions(chosen, COLUMNS), "gu") == {
        "k": "uid-a",
        "n": ["a", "", ""],
        "v": ["east", 3],
        "a": "gu",
    }


def test_numbers_sort_as_numbers_quantities_as_quantities_and_the_oldest_has_the_greatest_age() -> None:
    sizes = [project(thing(f"n{size}", size=size, memory=f"{size}Mi"), COLUMNS) for size in (9, 10, 100)]
    order = read_order("-size", COLUMNS)
    assert names(pick(sizes, WindowQuery(order=order), COLUMNS).rows) == ["n100", "n10", "n9"]
    mixed = [project(thing(f"q{text}", memory=text), COLUMNS) for text in QUANTITIES]
    order = read_order("memory", COLUMNS)
    assert names(pick(mixed, WindowQuery(order=order), COLUMNS).rows) == [
        "q0",
        "q500m",
        "q2",
        "q1Ki",
        "q900M",
        "q1Gi",
    ]
    born = {"old": "2026-01-01T00:00:00Z", "new": "2026-01-02T00:00:00+01:00"}
    aged = [
        project({"metadata": {"name": name, "creationTimestamp": at}}, COLUMNS) for name, at in born.items()
    ]
    assert names(pick(aged, WindowQuery(order=read_order("-age", COLUMNS)), COLUMNS).rows) == ["old", "new"]


NOTHING_IN: dict[str, list[Any]] = {
    "text": ["", None],
    "ref": ["", None],
    "number": [None, "many"],
    "percent": [None],
    "quantity": [None, "much"],
    "time": [None, "yesterday"],
    "bool": [None, "maybe"],
    "labels": [None, {}],
    "image": [None, []],
}
SOMETHING_IN: dict[str, list[Any]] = {
    "text": ["B", "a"],
    "ref": ["B", "a"],
    "number": [10, "9", -1, 2.5],
    "percent": ["10%", "9%"],
    "quantity": ["1Gi", "500Mi", "2"],
    "time": ["2026-01-02T00:00:00Z", "2025-12-31T00:00:00Z"],
    "bool": [True, False],
    "labels": [{"b": "1"}, {"a": "2"}],
    "image": [["b"], ["a"]],
}


@pytest.mark.parametrize("type_", SOMETHING_IN)
@pytest.mark.parametrize("sign", ["", "-"])
def test_what_has_no_value_comes_last_whatever_the_column_and_the_direction(type_: str, sign: str) -> None:
    path = ".spec.value[*]" if type_ == "image" else ".spec.value"
    columns = (COLUMNS[0], RowColumn("value", cast("Any", type_), path))
    values = [*NOTHING_IN[type_], *SOMETHING_IN[type_], *NOTHING_IN[type_]]
    items = [project(thing(f"n{at}", value=value), columns) for at, value in enumerate(values)]
    query = WindowQuery(order=read_order(f"{sign}value", columns))
    found = names(pick(items, query, columns).rows)
    some = {f"n{at}" for at, value in enumerate(values) if value in SOMETHING_IN[type_]}
    assert set(found[: len(some)]) == some
    other = WindowQuery(order=read_order("value" if sign else "-value", columns))
    assert found[: len(some)] == names(pick(items, other, columns).rows)[: len(some)][::-1]
    assert found[len(some) :] == sorted(set(found) - some)


def test_search_finds_names_display_names_and_label_values_in_any_case_and_script() -> None:
    obj: dict[str, Any] = {
        "metadata": {"name": "east-1", "labels": {"tier": "Gold"}},
        "spec": {"displayName": {"zh": "上海一号厂", "en": "Plant One"}},
    }
    item = project(obj, COLUMNS)
    for text in ("EAST", "gold", "plant", "海一"):
        assert pick([item], WindowQuery(q=read_search(text)), COLUMNS).total == 1
    for text in ("tier", "west", "gold plant"):
        assert pick([item], WindowQuery(q=read_search(text)), COLUMNS).total == 0


def test_fields_that_columns_show_can_be_selected_by() -> None:
    items = [
        project(thing(name, zone=zone), COLUMNS) for name, zone in (("a", "east"), ("b", "west"), ("c", ""))
    ]
    for selector, found in (
        ("spec.zone=east", ["a"]),
        ("spec.zone!=east", ["b", "c"]),
        ("metadata.name=b,spec.zone=west", ["b"]),
        ("spec.zone=", ["c"]),
    ):
        query = WindowQuery(fields=read_fields(selector, COLUMNS))
        assert names(pick(items, query, COLUMNS).rows) == found
    with pytest.raises(Problem, match=r"metadata\.name=VALUE") as refused:
        read_fields("spec.password=x", COLUMNS)
    assert refused.value.code == "bad-selector"


class Naive:
    """The same by the plainest means, to compare with."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items

    def sorted_by(self, position: int, *, descending: bool) -> list[str]:
        def value(item: Item) -> Any:
            return item.cells[position]

        some = sorted(
            (one for one in self.items if value(one) is not None), key=lambda one: (one.name, one.uid)
        )
        none = sorted((one for one in self.items if value(one) is None), key=lambda one: (one.name, one.uid))
        for end in range(len(some), 1, -1):  # bubble sort: stable, and nothing to get wrong
            for at in range(end - 1):
                left, right = value(some[at]), value(some[at + 1])
                if left < right if descending else left > right:
                    some[at], some[at + 1] = some[at + 1], some[at]
        return [item.uid for item in (*some, *none)]


THINGS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.none() | st.integers(-3, 3), st.sampled_from(["east", "west"])),
    max_size=12,
)


@given(THINGS, st.booleans(), st.integers(0, 12), st.integers(1, 5), st.integers())
def test_a_window_is_what_plain_sorting_and_cutting_gives(
    things: list[tuple[str, int | None, str]], descending: bool, offset: int, limit: int, seed: int
) -> None:
    items: list[Item] = []
    for number, (name, size, zone) in enumerate(things):
        obj = {"metadata": {"name": name, "uid": f"{number:03}"}, "spec": {"size": size, "zone": zone}}
        items.append(project(obj, COLUMNS))
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    order = read_order("-size" if descending else "size", COLUMNS)
    query = WindowQuery(order=order, offset=offset, limit=limit, facets=("zone",))
    window = pick(shuffled, query, COLUMNS)
    expected = Naive(items).sorted_by(1, descending=descending)
    assert [item.uid for item in window.rows] == expected[offset : offset + limit]
    assert window.total == len(items)
    zones = [zone for _, _, zone in things]
    assert window.facets == {"zone": {zone: zones.count(zone) for zone in window.facets["zone"]}}
    assert sum(window.facets["zone"].values()) == len(items)


def test_a_label_selector_counts_before_the_cut() -> None:
    items = [
        project({"metadata": {"name": f"n{number}", "labels": {"odd": str(number % 2)}}}, COLUMNS)
        for number in range(10)
    ]
    window = pick(items, WindowQuery(labels=read_labels("odd=1"), limit=2), COLUMNS)
    assert (names(window.rows), window.total) == (["n1", "n3"], 5)
