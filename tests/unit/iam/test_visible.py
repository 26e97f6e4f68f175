"""Filtered lists agree with a check of every object (I5, I15, S10)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.iam.index import Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.types import PolicyRule
from edge.iam.visible import visible

SCOPES = {"n/host/a": "w/host/w0", "n/host/b": "w/host/w0", "n/host/c": "w/host/w1", "n/far/a": "w/far/w0"}
PLACES = ["p", "c/host", "c/far", "w/host/w0", "w/host/w1", *SCOPES]
TYPES = {"p": "platform", "c": "cluster", "w": "workspace", "n": "namespace"}

rules = st.builds(
    PolicyRule,
    verbs=st.sampled_from([("get",), ("list",), ("*",)]),
    api_groups=st.sampled_from([("",), ("*",)]),
    resources=st.sampled_from([("pods",), ("*",), ("secrets",)]),
    resource_names=st.sampled_from([(), ("x",), ("y", "z")]),
)


@given(
    bound=st.lists(
        st.tuples(st.sampled_from(PLACES), rules, st.sampled_from(["User:ann", "Group:g", "User:bob"])),
        max_size=5,
    )
)
@settings(max_examples=150)
def test_what_is_visible_is_exactly_what_a_check_of_each_object_allows(
    bound: list[tuple[str, PolicyRule, str]],
) -> None:
    index = Index()
    index.put_user("ann", ("g",))
    for key in ("c/far", "w/host/w0", "w/host/w1", "w/far/w0"):
        index.put_scope(key)
    for namespace, workspace in SCOPES.items():
        index.put_scope(namespace, (workspace,))
    for n, (place, rule, subject) in enumerate(bound):
        index.put_role(RoleFacts(f"r{n}", TYPES[place[0]], "", (rule,), (), None))
        index.put_binding(Binding(f"b{n}", f"r{n}", place, (subject,)))
    sight = visible(index, "ann", "list", "", "pods")
    for scope in PLACES:
        for name in ("x", "y", "other"):
            assert sight.sees(scope, name) == index.check("ann", scope, "list", "", "pods", name), (
                scope,
                name,
            )
