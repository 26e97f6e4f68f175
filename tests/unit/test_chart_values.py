"""Values that users of Helm expect take effect, and what has none is named (contract 6.2, 9.1)."""

from pathlib import Path

import pytest
import yaml
from tests.support.installed import installed

from edge.embedded.charts import packed

CHARTS = Path(__file__).parents[2] / "charts"
PARTS = ("edge-apiserver", "edge-controller")
ALIASES = {"edge-apiserver": "apiserver", "edge-controller": "controller"}
TOLERATIONS = [{"key": "edge", "operator": "Exists"}]
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
EXPECTED = {
    "hostNetwork": True,
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
    "tolerations": TOLERATIONS,
    "affinity": AFFINITY,
    "podAnnotations": {"example.com/team": "edge"},
    "imagePullSecrets": [{"name": "mine"}, {"name": "all"}],
    "global": {"imagePullSecrets": [{"name": "all"}]},
    "env": {"FIRST": "1"},
    "extraEnv": [{"name": "SECOND", "value": "2"}],
    "resources": {"requests": {"cpu": "10m"}},
    "replicaCount": 2,
    "autoscaling": {"enabled": False},
}


@pytest.mark.parametrize("part", PARTS)
def test_what_users_of_helm_expect_reaches_the_pods(tmp_path: Path, part: str) -> None:
    made = installed(tmp_path, CHARTS / part, EXPECTED)
    pod = made.pod(part)
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    for key in ("priorityClassName", "nodeSelector", "tolerations", "affinity"):
        assert pod[key] == EXPECTED[key], key
    (box,) = pod["containers"]
    assert [one["name"] for one in box["env"]][-2:] == ["FIRST", "SECOND"]
    assert box["resources"]["requests"]["cpu"] == "10m"
    deployment = made.objects["Deployment", part]["spec"]
    assert deployment["template"]["metadata"]["annotations"]["example.com/team"] == "edge"
    assert deployment["replicas"] == 2
    # A pod that waits for the ports of the one that it replaces would wait for ever.
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    account = made.objects["ServiceAccount", part]
    assert account["imagePullSecrets"] == [{"name": "all"}, {"name": "mine"}]


@pytest.mark.parametrize("part", PARTS)
def test_without_them_the_pods_are_as_they_were(tmp_path: Path, part: str) -> None:
    made = installed(tmp_path, CHARTS / part)
    assert not {"hostNetwork", "dnsPolicy", "priorityClassName", "tolerations"} & made.pod(part).keys()
    assert "imagePullSecrets" not in made.objects["ServiceAccount", part]
    assert "not used" not in made.notes.lower()
    aliases = [
        one["metadata"]["name"]
        for one in made.objects.values()
        if one["metadata"].get("labels", {}).get("theriseunion.io/alias-of")
    ]
    assert aliases == [ALIASES[part]]


@pytest.mark.parametrize("part", PARTS)
def test_the_policy_of_names_is_taken_with_and_without_the_nodes_network(tmp_path: Path, part: str) -> None:
    for host in (True, False):
        made = installed(tmp_path, CHARTS / part, {"hostNetwork": host, "dnsPolicy": "Default"})
        assert made.pod(part)["dnsPolicy"] == "Default"


@pytest.mark.parametrize("part", PARTS)
def test_another_name_is_another_way_to_the_same_pods(tmp_path: Path, part: str) -> None:
    made = installed(tmp_path, CHARTS / part, {"fullnameOverride": "portal"})
    own, other = made.objects["Service", part]["spec"], made.objects["Service", "portal"]["spec"]
    assert other["selector"] == own["selector"]
    (box,) = made.pod(part)["containers"]
    assert {one["targetPort"] for one in other["ports"]} <= {one["name"] for one in box["ports"]}
    assert [name for kind, name in made.objects if kind == "Deployment"] == [part]
    assert "Service portal leads to" in made.notes
    assert "fullnameOverride" not in made.not_used
    for same in (part, ALIASES[part]):
        assert "leads to" not in installed(tmp_path, CHARTS / part, {"fullnameOverride": same}).notes


def test_the_gateways_certificate_is_for_its_other_name_too(tmp_path: Path) -> None:
    made = installed(tmp_path, CHARTS / "edge-apiserver", {"fullnameOverride": "portal"})
    file = yaml.safe_load(made.objects["ConfigMap", "edge-apiserver"]["data"]["edge.yaml"])
    assert {"portal", "portal.edge-system.svc"} <= set(file["server"]["tls"]["names"])


def test_what_has_no_effect_on_the_gateway_is_named_wherever_it_is(tmp_path: Path) -> None:
    values = {
        "nameOverride": "portal",
        "serviceAccount": {"create": True, "name": ""},
        "securityContext": {"runAsUser": 65532},
        "image": {"pulPolicy": "Always"},
        "service": {"targetPort": 8080, "nodePorts": {"htp": 30080}},
        "audit": {"sinks": {"replica": 3}, "persistence": {"class": "fast"}},
        "ingress": {"annotations": {"any": "thing"}},
        "edge": {
            "rbac": {"clusterAdmin": True},
            "apiserver": {"logLevel": "info", "timeout": {"idle": "9s"}},
        },
        "extra": [],
    }
    made = installed(tmp_path, CHARTS / "edge-apiserver", values)
    assert made.not_used == {
        "nameOverride",
        "serviceAccount.create",
        "serviceAccount.name",
        "securityContext.runAsUser",
        "image.pulPolicy",
        "service.targetPort",
        "service.nodePorts.htp",
        "audit.sinks.replica",
        "audit.persistence.class",
        "edge.rbac.clusterAdmin",
        "extra",
    }


INSTALLERS = {
    "global": {"mode": "host", "namespace": "edge-system", "imageRegistry": "registry.example.com"},
    "fullnameOverride": "controller",
    "controller": {"replicaCount": 1, "image": {"tag": "main"}},
    "chartmuseum": {"enabled": True},
    "autoInstall": {"apiserver": {"enabled": True, "values": {}}},
    "nodeSelector": {},
}


def test_the_installers_values_install_the_controller_and_what_has_no_effect_is_named(tmp_path: Path) -> None:
    made = installed(tmp_path, CHARTS / "edge-controller", INSTALLERS)
    assert made.not_used == {
        "global.namespace",
        "controller.replicaCount",
        "controller.image.tag",
        "chartmuseum.enabled",
        "autoInstall.apiserver.enabled",
    }
    (box,) = made.pod("edge-controller")["containers"]
    assert box["image"].startswith("registry.example.com/edge/edge-controller:")


def test_the_umbrella_names_what_has_no_effect_on_itself_and_on_its_parts(tmp_path: Path) -> None:
    umbrella = packed(CHARTS) / "edge-platform-1.0.0.tgz"
    assert "not used" not in installed(tmp_path, umbrella).notes
    values = {
        "ingress": {"enabled": True},
        "apiserver": {"serviceAccount": {"create": True}, "hostNetwork": True},
        "controller": {"autoInstall": {"vast": {"enabled": True}}},
    }
    made = installed(tmp_path, umbrella, values)
    assert made.not_used == {"ingress", "serviceAccount.create", "autoInstall.vast.enabled"}
    assert made.pod("edge-apiserver")["hostNetwork"] is True


def test_the_processes_that_keep_the_record_are_placed_by_values_of_their_own(tmp_path: Path) -> None:
    sinks = {"replicas": 3, "nodeSelector": {"disk": "fast"}, "tolerations": TOLERATIONS}
    values = {"audit": {"sinks": sinks}, "nodeSelector": {"a": "b"}, "imagePullSecrets": [{"name": "mine"}]}
    made = installed(tmp_path, CHARTS / "edge-apiserver", values)
    pod = made.objects["StatefulSet", "edge-audit"]["spec"]["template"]["spec"]
    assert (pod["nodeSelector"], pod["tolerations"]) == ({"disk": "fast"}, TOLERATIONS)
    assert made.objects["ServiceAccount", "edge-audit"]["imagePullSecrets"] == [{"name": "mine"}]
    assert made.not_used == set()
