"""Rights at scopes that ScopePatterns register, as the index and the gateway's question see them (I9)."""

from msgspec import structs

from edge.iam.access import IndexAccess
from edge.iam.feed import Feed
from edge.iam.freshness import Freshness
from edge.iam.index import Index
from edge.iam.registration import plan_status
from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleRef,
    ScopePattern,
    ScopePatternSpec,
    Subject,
    User,
    UserSpec,
)
from edge_kube.core import Namespace
from edge_kube.meta import ObjectMeta
from edge_sdk.access import Action, Caller
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

READ = PolicyRule(verbs=("get",), api_groups=("farm",), resources=("fields",))
FIELDS, CROPS = "/apis/farm/v1/fields/{field}/*", "/apis/farm/v1/crops/{field}"


def pattern(name: str, text: str = FIELDS, scope_type: str = "field", generation: int = 1) -> ScopePattern:
    return ScopePattern(
        metadata=ObjectMeta(name=name, namespace="farm", generation=generation),
        spec=ScopePatternSpec(pattern=text, scope_type=scope_type),
    )


def judged(one: ScopePattern) -> ScopePattern:
    """As it is once the controller has seen it alone."""
    return structs.replace(one, status=plan_status(one, [one]))


class Farm:
    """ann may read the field north; ned everything in the namespace yard."""

    def __init__(self) -> None:
        self.index = Index()
        self.feed = Feed(self.index)
        self.access = IndexAccess(self.index, Freshness(lambda: 0.0))
        self.feed.changed(None, Namespace(metadata=ObjectMeta(name="yard")))
        for name, scope, value in (("ann", "field", "north"), ("ned", "namespace", "yard")):
            self.feed.changed(None, User(metadata=ObjectMeta(name=name), spec=UserSpec()))
            labels = {IAM_SCOPE_LABEL: scope}
            meta = ObjectMeta(name=f"{scope}-reader", labels=labels)
            self.feed.changed(None, IAMRole(metadata=meta, spec=IAMRoleSpec(rules=(READ,))))
            spec = IAMRoleBindingSpec(
                role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name=meta.name),
                subjects=(Subject(kind="User", name=name),),
            )
            meta = ObjectMeta(name=name, labels={**labels, IAM_SCOPE_VALUE_LABEL: value})
            self.feed.changed(None, IAMRoleBinding(metadata=meta, spec=spec))

    def ann_reads(self, field: str = "north") -> bool:
        return self.index.check("ann", f"x/field/host/{field}", "get", "farm", "fields", field)


def test_a_scope_type_counts_while_one_of_its_patterns_is_in_force() -> None:
    farm = Farm()
    assert not farm.ann_reads()
    first, second = judged(pattern("first")), judged(pattern("second", CROPS))
    farm.feed.changed(None, first)
    assert farm.ann_reads()
    assert not farm.ann_reads("south")
    farm.feed.changed(None, second)
    farm.feed.changed(first, None)
    assert farm.ann_reads(), "the other pattern has registered the type too"
    farm.feed.changed(second, None)
    assert not farm.ann_reads()


def test_a_pattern_that_is_not_judged_bad_or_going_registers_nothing() -> None:
    farm = Farm()
    farm.feed.changed(None, pattern("new"))
    assert not farm.ann_reads()
    bad = pattern("bad", "/{field}/*")
    forged = judged(pattern("x")).status
    farm.feed.changed(None, structs.replace(bad, status=forged))
    assert not farm.ann_reads(), "a status that somebody wrote does not make a bad pattern good"
    known = judged(pattern("known"))
    farm.feed.changed(None, known)
    assert farm.ann_reads()
    going = structs.replace(
        known, metadata=structs.replace(known.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    )
    farm.feed.changed(known, going)
    assert not farm.ann_reads(), "a finalizer keeps the object, not the rights"


def test_a_changed_pattern_waits_for_the_controller_and_a_changed_description_does_not() -> None:
    farm = Farm()
    known = judged(pattern("known"))
    farm.feed.changed(None, known)
    described = structs.replace(
        known,
        metadata=structs.replace(known.metadata, generation=2),
        spec=structs.replace(known.spec, description="fields of the farm"),
    )
    farm.feed.changed(known, described)
    assert farm.ann_reads()
    moved = structs.replace(pattern("known", CROPS, generation=3), status=described.status)
    farm.feed.changed(described, moved)
    assert not farm.ann_reads(), "the new pattern may be in another's way"
    farm.feed.changed(moved, judged(moved))
    assert farm.ann_reads()


def test_a_pattern_renamed_to_another_type_ends_the_rights_of_the_first() -> None:
    farm = Farm()
    known = judged(pattern("known"))
    farm.feed.changed(None, known)
    other = judged(pattern("known", FIELDS.replace("{field}", "{plot}"), "plot", generation=2))
    farm.feed.changed(known, other)
    assert not farm.ann_reads()
    assert list(farm.index.scopes.registered) == ["plot"]


def test_what_holds_at_the_place_of_a_path_counts_beside_the_scope_that_a_pattern_names() -> None:
    farm = Farm()
    farm.feed.changed(None, judged(pattern("known")))
    asked = Action(
        "get", "farm", "fields", namespace="yard", name="north", scope="field/north", within="namespace/yard"
    )
    assert farm.access.may(Caller("ann"), asked).allowed
    assert farm.access.may(Caller("ned"), asked).allowed
    refused = farm.access.may(Caller("eve"), asked)
    assert (
        refused.reason == 'User "eve" cannot get resource "fields" "north" in API group "farm" at field/north'
    )
    elsewhere = Action("get", "farm", "fields", name="south", scope="field/south")
    assert not farm.access.may(Caller("ann"), elsewhere).allowed


def test_a_stream_goes_on_by_the_place_of_its_path_once_the_type_is_gone() -> None:
    farm = Farm()
    asked = Action("get", "farm", "fields", name="north", scope="field/north", within="namespace/yard")
    assert farm.access.decide(Caller("ned"), asked).allowed
    assert not farm.access.decide(Caller("ann"), asked).allowed
