"""Who may have a chart installed: every right in a namespace is not enough, Helm has them all (I2; S6)."""

from pathlib import Path

import pytest
from tests.support.admitted import Admitted, bound, labels, user

from edge.adapters.helm import Helm
from edge.components.room import room
from edge.components.settings import ComponentSettings
from edge.components.types import ChartRef, Component, ComponentSpec
from edge.iam.types import IAMRole, IAMRoleSpec, PolicyRule
from edge_kube.core import Namespace
from edge_kube.errors import Forbidden
from edge_kube.harness import Kube
from edge_kube.meta import Key, ObjectMeta

PLACE = "tenants-own"
REFUSED = "its chart is installed with every right in the cluster; it needs {} on components at cluster/host"


def component(name: str) -> Component:
    """Turned off, so that nothing is ever installed."""
    spec = ComponentSpec(enabled=False, chart=ChartRef(name="theirs"), version="1.0.0")
    return Component(metadata=ObjectMeta(name=name, namespace=PLACE), spec=spec)


async def test_S6_a_right_to_everything_in_a_namespace_installs_no_chart(kube: Kube, tmp_path: Path) -> None:
    helm = Helm(
        kube.client,
        executable=Path("/bin/false"),
        museum_url="http://127.0.0.1:9",
        builtin=tmp_path / "builtin",
        scratch=tmp_path / "scratch",
        settings=ComponentSettings(),
    )
    adapters = (helm.charts, helm.releases, helm.sources, helm.settings, helm.operations)
    admitted = await Admitted.begin(kube, lambda grants: room(*adapters, grants=grants))
    await kube.create(Namespace(metadata=ObjectMeta(name=PLACE)))
    for name in ("ann", "root"):
        await admitted.person(name)
    everything = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))
    spec = IAMRoleSpec(rules=(everything,))
    await kube.create(IAMRole(metadata=ObjectMeta(name="all", labels=labels("namespace", PLACE)), spec=spec))
    await kube.create(bound("ann-all", "all", "namespace", PLACE, user("ann")))
    await kube.create(bound("root-admin", "platform-admin", "platform", "global", user("root")))
    await admitted.knows("ann", f"n/host/{PLACE}", "create", "components", "ext.theriseunion.io")
    await admitted.knows("root", "p", "delete", "secrets")
    await admitted.may_write("ann", "root")
    ann, root = admitted.as_user("ann"), admitted.as_user("root")
    with pytest.raises(Forbidden, match=REFUSED.format("create")):
        await ann.create(component("mine"), manager="test")
    await root.create(component("theirs"), manager="test")
    with pytest.raises(Forbidden, match=REFUSED.format("update")):
        await ann.merge(Component, Key(PLACE, "theirs"), {"spec": {"version": "2.0.0"}})
    await ann.merge(Component, Key(PLACE, "theirs"), {"metadata": {"labels": {"colour": "blue"}}})
    await kube.stop()
    await helm.close()
