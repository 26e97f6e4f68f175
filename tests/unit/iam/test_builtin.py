"""The shipped roles and templates against what existing installations have (I11, I17, R12; upstream §2–3)."""

import pytest

from edge.iam.aggregation import recipe_of, resolve, template_of
from edge.iam.bindings import plan_binding
from edge.iam.builtin import categories, everything, roles, templates
from edge.iam.feed import Feed
from edge.iam.index import Index
from edge.iam.instances import admin_binding, instance_role_name, instance_roles
from edge.iam.plan import plan_builtins, plan_role
from edge.iam.types import (
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleAggregation,
    RoleRef,
    Subject,
    User,
    UserSpec,
)
from edge_kube.core import Namespace, Node
from edge_kube.meta import Condition, ObjectMeta, Resource

SCENARIOS = {"nodegroup-deploy-applications", "nodegroup-manage-firmware", "project-roll-back-applications"}
SCOPE = "iam.theriseunion.io/scope"
VALUE = "iam.theriseunion.io/scope-value"


def test_the_78_templates_of_existing_installations_are_there_with_their_120_rules() -> None:
    known = {name: one for name, one in templates().items() if name not in SCENARIOS}
    assert len(known) == 78
    assert sum(len(one.spec.rules) for one in known.values()) == 120
    assert len({ui for one in known.values() for ui in one.spec.ui_permissions}) == 76
    assert set(templates()) > SCENARIOS


@pytest.mark.parametrize(
    ("role", "in_force", "console_rights"),
    [
        ("platform-admin", 78, 76),
        ("platform-self-provisioner", 2, 2),
        ("platform-regular", 1, 0),
        ("cluster-admin", 66, 64),
        ("cluster-viewer", 33, 31),
        ("cluster-self-provisioner", 3, 2),
        ("cluster-regular", 1, 0),
        ("nodegroup-admin", 13, 13),
        ("nodegroup-viewer", 7, 6),
        ("workspace-admin", 28, 28),
        ("workspace-viewer", 14, 14),
        ("workspace-regular", 3, 3),
        ("workspace-self-provisioner", 4, 4),
        ("namespace-admin", 17, 17),
        ("namespace-operator", 14, 14),
        ("namespace-viewer", 9, 9),
    ],
)
def test_a_built_in_role_comes_to_what_existing_installations_have(
    role: str, in_force: int, console_rights: int
) -> None:
    kept = {name: template_of(one) for name, one in templates().items()}
    recipe = recipe_of(roles()[role])
    assert recipe is not None
    found = resolve(recipe, kept)
    ui = {one for name in found.templates for one in kept[name].ui} | {*roles()[role].spec.ui_permissions}
    assert (len(found.templates), len(ui)) == (in_force, console_rights)
    assert found.missing == found.dropped == ()


def test_every_template_has_a_category_that_ships_and_both_languages() -> None:
    for name, one in templates().items():
        category = one.metadata.labels.get("iam.theriseunion.io/category")
        assert category is None or category in categories(), name
        assert '"zh"' in one.metadata.annotations["theriseunion.io/alias-name"]
    assert len(categories()) == 48


def test_built_in_objects_are_applied_when_missing_or_changed_and_else_left_alone() -> None:
    wanted = list(everything())
    there: dict[tuple[type[Resource], str], Resource] = {
        (type(one), one.metadata.name): one for one in wanted
    }
    assert plan_builtins(wanted, lambda kind, name: there.get((kind, name))) == ()
    key = (IAMRole, "anonymous")
    there[key] = IAMRole(metadata=there[key].metadata, spec=IAMRoleSpec())
    del there[type(wanted[0]), wanted[0].metadata.name]
    changed = plan_builtins(wanted, lambda kind, name: there.get((kind, name)))
    assert [one.metadata.name for one in changed] == [wanted[0].metadata.name, "anonymous"]


@pytest.mark.parametrize(
    ("scope", "name", "wanted"),
    [
        ("nodegroup", "edge-beijing", "nodegroup-edge-beijing-81aca78d-admin"),
        (
            "nodegroup",
            "production-cluster-nodegroup-for-gpu-workloads",
            "nodegroup-production-clus-fbdc66f6-admin",
        ),
        ("workspace", "dev-team", "workspace-dev-team-1b1ad1a3-admin"),
        ("namespace", "backend", "namespace-backend-10e08a41-admin"),
    ],
)
def test_instance_roles_have_the_names_that_repositories_refer_to(scope: str, name: str, wanted: str) -> None:
    assert instance_role_name(scope, name, "admin") == wanted


class Company:
    """A platform with the built-in roles, a workspace, and two node groups of one node each."""

    def __init__(self) -> None:
        self.index = Index()
        self.feed = Feed(self.index)
        for one in everything():
            self.feed.changed(None, one)
        self.feed.scope_changed("workspace", ObjectMeta(name="production", uid="u1"))
        self.feed.scope_changed("workspace", ObjectMeta(name="other", uid="u2"))
        for group in ("beijing", "devices"):
            self.feed.scope_changed("nodegroup", ObjectMeta(name=group))
            labels = {f"nodegroup.theriseunion.io/{group}": ""}
            self.feed.changed(None, Node(metadata=ObjectMeta(name=f"{group}-1", labels=labels)))
        for name, workspace in (("shop", "production"), ("lab", "other")):
            labels = {"theriseunion.io/workspace": workspace}
            self.feed.changed(None, Namespace(metadata=ObjectMeta(name=name, labels=labels)))

    def member(self, user: str, role: str, scope: str, value: str) -> None:
        self.feed.changed(None, User(metadata=ObjectMeta(name=user), spec=UserSpec()))
        binding = IAMRoleBinding(
            metadata=ObjectMeta(name=f"{user}-{role}-{value}", labels={SCOPE: scope, VALUE: value}),
            spec=IAMRoleBindingSpec(
                role_ref=RoleRef(api_group="iam.theriseunion.io", kind="IAMRole", name=role),
                subjects=(Subject(kind="User", name=user),),
            ),
        )
        self.feed.changed(None, binding)


@pytest.fixture
def company() -> Company:
    return Company()


def test_regional_operations_keep_the_nodes_of_their_group_and_no_other(company: Company) -> None:
    company.member("region", "nodegroup-regional-operations", "nodegroup", "beijing")
    may = company.index.check
    assert may("region", "d/host/beijing-1", "update", "", "nodes")
    assert may("region", "g/host/beijing", "create", "app.theriseunion.io", "applicationdeployments")
    assert not may("region", "d/host/devices-1", "get", "", "nodes")
    assert not may("region", "n/host/shop", "get", "", "pods")


def test_business_developers_deploy_and_roll_back_in_their_workspace_and_leave_nodes_alone(
    company: Company,
) -> None:
    company.member("dev", "workspace-business-developer", "workspace", "production")
    may, app = company.index.check, "app.theriseunion.io"
    assert may("dev", "n/host/shop", "create", app, "applicationdeployments")
    assert may("dev", "n/host/shop", "create", app, "applicationdeployments/rollback")
    assert may("dev", "n/host/shop", "get", "", "pods/log")
    assert may("dev", "n/host/shop", "update", "", "configmaps")
    assert not may("dev", "n/host/lab", "get", "", "pods")
    assert not may("dev", "d/host/beijing-1", "update", "", "nodes")
    assert not may("dev", "c/host", "update", "", "nodes")


def test_the_device_team_manages_its_nodes_and_their_firmware(company: Company) -> None:
    company.member("iot", "nodegroup-device-team", "nodegroup", "devices")
    may = company.index.check
    assert may("iot", "g/host/devices", "update", "ota.theriseunion.io", "tasks")
    assert may("iot", "g/host/devices", "update", "device.vast.theriseunion.io", "devices")
    assert may("iot", "d/host/devices-1", "update", "", "nodes")
    assert not may("iot", "g/host/beijing", "update", "ota.theriseunion.io", "tasks")


def test_rights_on_a_node_group_come_by_kind(company: Company) -> None:
    for user, role in (
        ("nadm", "node-administrator"),
        ("depl", "app-deployer"),
        ("mon", "monitoring-viewer"),
    ):
        company.member(user, f"nodegroup-{role}", "nodegroup", "beijing")
    may, here, app = company.index.check, "g/host/beijing", "app.theriseunion.io"
    assert may("nadm", "d/host/beijing-1", "delete", "", "nodes")
    assert not may("nadm", here, "create", app, "applicationdeployments")
    assert may("depl", here, "create", app, "applicationdeployments")
    assert not may("depl", "d/host/beijing-1", "delete", "", "nodes")
    assert may("mon", here, "get", "monitoring.theriseunion.io", "nodegroups/metrics")
    assert not may("mon", "d/host/beijing-1", "update", "", "nodes")


def test_no_built_in_role_of_a_scope_sees_outside_it(company: Company) -> None:
    for name, role in roles().items():
        scope = role.metadata.labels[SCOPE]
        if scope not in ("workspace", "nodegroup"):
            continue
        company.member(f"u-{name}", name, scope, "production" if scope == "workspace" else "beijing")
        for outside in ("n/host/lab", "w/host/other", "d/host/devices-1", "g/host/devices", "c/host", "p"):
            for verb, group, resource in (("get", "", "pods"), ("list", "", "nodes"), ("get", "", "secrets")):
                assert not company.index.check(f"u-{name}", outside, verb, group, resource), (name, outside)


def test_a_workspace_admin_can_hand_out_the_roles_of_the_workspace_and_nothing_beyond(
    company: Company,
) -> None:
    company.member("boss", "workspace-admin", "workspace", "production")
    missing = company.index.missing
    for name in ("workspace-viewer", "workspace-regular", "workspace-self-provisioner", "namespace-admin"):
        role = company.index.book.roles[name]
        rules = [source.rule for source in role.rules()]
        assert missing("boss", "w/host/production", rules, role.ui()) == [], name
    root = [source.rule for source in company.index.book.roles["cluster-admin"].rules()]
    assert missing("boss", "w/host/production", root)
    assert missing(
        "boss",
        "w/host/other",
        [source.rule for source in company.index.book.roles["namespace-viewer"].rules()],
    )
    assert not company.index.check("boss", "w/host/production", "bind", "iam.theriseunion.io", "iamroles")


def test_instance_roles_copy_the_pattern_and_belong_to_their_scope() -> None:
    owner = Namespace(metadata=ObjectMeta(name="backend", uid="u-1"))
    made = instance_roles("namespace", owner, roles().values())
    assert [one.metadata.name for one in made] == [
        f"namespace-backend-10e08a41-{role}" for role in ("admin", "operator", "viewer")
    ]
    pattern = roles()["namespace-admin"]
    assert made[0].spec.aggregation_role_templates == pattern.spec.aggregation_role_templates
    assert made[0].metadata.labels[SCOPE] == "namespace"
    assert made[0].metadata.owner_references[0].uid == "u-1"
    binding = admin_binding("namespace", owner, "ann")
    assert binding.spec.role_ref.name == made[0].metadata.name
    assert plan_binding(binding, made[0], ()).status.conditions[0].status == "True"


def condition(found: tuple[Condition, ...], kind: str) -> Condition:
    return next(one for one in found if one.type == kind)


def test_a_role_names_templates_that_are_missing_and_keeps_the_others() -> None:
    asked = RoleAggregation(template_names=("workspace-basic", "gone", "platform-view-users"))
    role = IAMRole(
        metadata=ObjectMeta(name="mine", labels={SCOPE: "workspace", VALUE: "production"}),
        spec=IAMRoleSpec(aggregation_role_templates=asked),
    )
    kept = {name: template_of(one) for name, one in templates().items()}
    plan = plan_role(role, kept, ())
    assert plan.templates == ("workspace-basic",)
    assert plan.status.member_count == 0
    found = condition(plan.status.conditions, "TemplatesResolved")
    assert (found.status, found.reason) == ("False", "TemplatesMissing")
    assert "gone" in found.message


@pytest.mark.parametrize(
    ("labels", "role", "reason"),
    [
        ({SCOPE: "workspace", VALUE: "w"}, "workspace-admin", "InForce"),
        ({SCOPE: "workspace", VALUE: "w"}, "cluster-admin", "ScopeMismatch"),
        ({SCOPE: "workspace", VALUE: "w"}, "nobody-made-this", "RoleMissing"),
        ({SCOPE: "planet", VALUE: "w"}, "workspace-admin", "ScopeUnknown"),
        ({SCOPE: "platform", VALUE: "w"}, "platform-admin", "ScopeUnknown"),
        ({}, "workspace-admin", "ScopeUnknown"),
    ],
)
def test_a_binding_says_why_it_gives_nothing(labels: dict[str, str], role: str, reason: str) -> None:
    binding = IAMRoleBinding(
        metadata=ObjectMeta(name="b", labels=labels),
        spec=IAMRoleBindingSpec(
            role_ref=RoleRef(api_group="iam.theriseunion.io", kind="IAMRole", name=role),
            subjects=(Subject(kind="User", name="ann"),),
        ),
    )
    found = plan_binding(binding, roles().get(role), ()).status.conditions[0]
    assert found.reason == reason
    assert (found.status == "True") is (reason == "InForce")


def test_I3_a_role_says_what_plain_kubectl_will_not_know_of_it() -> None:
    rules = (PolicyRule(verbs=("get",), api_groups=("",), resources=("nodes", "pods")),)
    meta = ObjectMeta(name="r", labels={"iam.theriseunion.io/scope": "workspace"})
    narrow = plan_role(IAMRole(metadata=meta, spec=IAMRoleSpec(rules=rules)), {}, ()).status.conditions
    (told,) = [one for one in narrow if one.type == "NotProjected"]
    assert told.reason == "NotExpressible"
    assert "cannot say nodes at a workspace" in told.message
    meta = ObjectMeta(name="r", labels={"iam.theriseunion.io/scope": "platform"})
    wide = plan_role(IAMRole(metadata=meta, spec=IAMRoleSpec(rules=rules)), {}, ()).status.conditions
    assert "NotProjected" not in {one.type for one in wide}
