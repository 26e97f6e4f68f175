"""Node groups that cannot work are refused, naming field, value, reason and what is accepted (N1)."""

from typing import Any

import msgspec
import pytest

from edge.nodes.plan import grants_condition
from edge.nodes.types import NodeGroup
from edge.nodes.webhooks import check_node_group


def group(**spec: Any) -> NodeGroup:
    return msgspec.convert({"metadata": {"name": "g"}, "spec": spec}, NodeGroup)


@pytest.mark.parametrize(
    ("spec", "field", "accepted"),
    [
        ({"template": {"taints": ["a=b"]}}, "spec.template.taints[0]", "key[=value]:NoSchedule"),
        ({"template": {"taints": ["a=b:Never"]}}, "spec.template.taints[0]", "key[=value]:NoExecute"),
        ({"template": {"taints": ["a:NoSchedule", "a=1:NoSchedule"]}}, "spec.template.taints[1]", "one of"),
        ({"template": {"labels": {"a b": "c"}}}, "spec.template.labels[a b]", "letters"),
        ({"template": {"labels": {"a": "c d"}}}, "spec.template.labels[a]", "letters"),
        (
            {"template": {"labels": {"kubernetes.io/hostname": "x"}}},
            "spec.template.labels[kubernetes.io/hostname]",
            "another key",
        ),
        (
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
            "spec.selector.matchExpressions[0].operator",
            "DoesNotExist",
        ),
        (
            {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "spec.selector.matchExpressions[0].values",
            "a list",
        ),
        (
            {"selector": {"matchLabels": {"a": "b"}}, "template": {"labels": {"a": "b"}}},
            "spec.selector",
            "does not set",
        ),
    ],
)
def test_a_group_that_cannot_work_is_refused(spec: dict[str, Any], field: str, accepted: str) -> None:
    (violation,) = check_node_group(group(**spec), None)
    assert violation.field == field
    assert accepted in str(violation)
    assert violation.why


def test_a_group_of_the_contract_is_accepted() -> None:
    spec = {
        "selector": {"matchLabels": {"region": "beijing"}},
        "template": {
            "labels": {"tier": "edge"},
            "annotations": {"note": "any text: even this"},
            "taints": ["example.com/edge=true:NoSchedule", "slow:PreferNoSchedule"],
        },
    }
    assert check_node_group(group(**spec), None) == []
    assert check_node_group(group(), None) == []


def test_an_unchanged_spec_is_not_judged_anew() -> None:
    broken = group(template={"taints": ["a=b"]})
    assert check_node_group(broken, None) != []
    assert check_node_group(broken, broken) == []


def granted(text: str) -> NodeGroup:
    annotations = {"theriseunion.io/granted-workspaces": text}
    return msgspec.convert({"metadata": {"name": "g", "annotations": annotations}, "spec": {}}, NodeGroup)


@pytest.mark.parametrize("text", ["Dev", "dev,*", "a b", "dev,-x"])
def test_grants_that_name_no_workspace_are_refused(text: str) -> None:
    """I18."""
    (violation,) = check_node_group(granted(text), group())
    assert violation.field == "metadata.annotations[theriseunion.io/granted-workspaces]"
    assert "dev-team,qa" in str(violation)
    assert check_node_group(granted(text), granted(text)) == []


@pytest.mark.parametrize("text", ["", "*", "dev-team", "dev-team, qa,"])
def test_grants_to_workspaces_are_accepted(text: str) -> None:
    assert check_node_group(granted(text), None) == []


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("dev, gone", "False", "UnknownWorkspace"),
        ("dev", "True", "Granted"),
        ("", "True", "GrantedToNobody"),
    ],
)
def test_a_group_says_to_whom_it_is_granted_and_names_workspaces_that_are_not_there(
    text: str, status: str, reason: str
) -> None:
    found = grants_condition(granted(text), {"dev"})
    assert found is not None
    assert (found.status, found.reason) == (status, reason)
    assert ("gone" in found.message) is (reason == "UnknownWorkspace")
    assert grants_condition(granted("*"), {"dev"}) is None
    assert grants_condition(group(), {"dev"}) is None
