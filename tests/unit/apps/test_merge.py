"""Overrides are merged as kubectl merges a strategic patch; kubectl itself is the judge (A5)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge.apps.merge import strategic_merge
from edge_kube.harness.processes import tool

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "qc", "tier": "edge"}, "annotations": {"a": "1"}},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "nginx:1.25",
                "args": ["-a", "-b"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "ports": [{"containerPort": 80, "name": "http"}],
                "volumeMounts": [{"mountPath": "/data", "name": "data"}],
            },
            {"name": "side", "image": "busybox:1"},
        ],
        "initContainers": [{"name": "init", "image": "busybox:1"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "nodeSelector": {"disk": "ssd"},
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["one"]}],
        "imagePullSecrets": [{"name": "first"}],
        "topologySpreadConstraints": [
            {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
        ],
    },
}


def main(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "main", **fields}]}}


PATCHES: dict[str, dict[str, Any]] = {
    "image": main(image="nginx:1.27"),
    "env": main(env=[{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]),
    "env-deleted": main(env=[{"name": "A", "$patch": "delete"}]),
    "env-replaced": main(env=[{"name": "X", "value": "1"}, {"$patch": "replace"}]),
    "args": main(args=["-c"]),
    "ports": main(ports=[{"containerPort": 80, "name": "web"}, {"containerPort": 443}]),
    "mounts": main(volumeMounts=[{"mountPath": "/data", "name": "data", "readOnly": True}]),
    "container-added": {"spec": {"containers": [{"name": "third", "image": "x:1"}]}},
    "container-deleted": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}},
    "labels": {"metadata": {"labels": {"tier": None, "new": "1"}}},
    "node-selector-replaced": {"spec": {"nodeSelector": {"$patch": "replace", "cpu": "fast"}}},
    "tolerations": {"spec": {"tolerations": [{"key": "b", "operator": "Exists"}]}},
    "volumes": {"spec": {"volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}]}},
    "volume-kind": {
        "spec": {
            "volumes": [{"name": "data", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/var"}}]
        }
    },
    "host-aliases": {"spec": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["two"]}]}},
    "pull-secrets": {"spec": {"imagePullSecrets": [{"name": "second"}]}},
    "spread": {"spec": {"topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 2}]}},
    "null-list": {"spec": {"tolerations": None, "initContainers": None}},
    "new-object": {"spec": {"securityContext": {"runAsUser": 1000}}},
    "empty": {},
}


def by_kubectl(patch: dict[str, Any], folder: Path) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": {"app": "qc"}}, "template": TEMPLATE}
    target = folder / "deployment.json"
    target.write_text(
        json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "qc"}, "spec": spec})
    )
    command = [str(tool("kube")), "kubectl", "patch", "--local", "--type=strategic", "-o", "json"]
    command += ["-f", str(target), "-p", json.dumps({"spec": {"template": patch}})]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"HOME": str(folder)})
    return json.loads(done.stdout)["spec"]["template"]


def ordered(value: Any) -> Any:
    """Order of a merged list is not part of its meaning here; kubectl puts new items first."""
    if isinstance(value, dict):
        return {key: ordered(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return sorted((ordered(item) for item in value), key=json.dumps)
    return value


@pytest.mark.parametrize("name", sorted(PATCHES))
def test_an_override_gives_what_kubectl_gives(name: str, tmp_path: Path) -> None:
    expected = by_kubectl(PATCHES[name], tmp_path)
    assert ordered(strategic_merge(TEMPLATE, PATCHES[name])) == ordered(expected)


def test_what_is_merged_is_not_changed() -> None:
    before = json.dumps(TEMPLATE)
    for patch in PATCHES.values():
        strategic_merge(TEMPLATE, patch)
    assert json.dumps(TEMPLATE) == before
