"""The plugin: a ConfigMap with the source, a Deployment that serves it, a Service in front of it (A4).

It imports edge_sdk and edge_kube.meta and nothing of the platform, as any foreign plugin would.
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from edge_function.settings import PORT, FunctionConfig, check_config, read_config
from edge_kube.meta import Manifest
from edge_sdk.problem import Violation
from edge_sdk.provisioner import Deployed, Plan, ProvisionerPlugin, ProvisionStatus, Topology, Version
from edge_sdk.workload_status import status_of_workloads

SOURCE_HASH: Final = "function.theriseunion.io/source-hash"
_PYTHON: Final = "/function/function.py"
_UID: Final = 65532  # nobody in particular; busybox and Python run as any user


class FunctionPlugin(ProvisionerPlugin):
    """Provisioner `function`: label app.theriseunion.io/provisioner: function."""

    def validate(self, version: Version) -> Sequence[Violation]:
        return check_config(version)

    def provision(self, version: Version, topology: Topology) -> Plan:
        config = read_config(version)
        name = topology.name(version.application)
        data = _files(config)
        return Plan(
            objects=(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data},
                _deployment(name, config, data),
                _service(name),
            )
        )

    def get_status(self, deployment: Deployed) -> ProvisionStatus:
        return status_of_workloads(deployment)


def _files(config: FunctionConfig) -> dict[str, str]:
    if config.runtime == "shell":
        return {"function": config.source}
    server = files("edge_function").joinpath("server.py").read_text(encoding="utf-8")
    return {"function.py": config.source, "server.py": server}


def _deployment(name: str, config: FunctionConfig, data: Mapping[str, str]) -> Manifest:
    labels = {"function.theriseunion.io/name": name}
    spec: Manifest = {
        "selector": {"matchLabels": labels},
        "template": {
            # A changed source must replace the pods: a running process does not read it again.
            "metadata": {"labels": labels, "annotations": {SOURCE_HASH: _hash(data)}},
            "spec": _pod(name, config),
        },
    }
    if config.replicas is not msgspec.UNSET:
        spec["replicas"] = config.replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _pod(name: str, config: FunctionConfig) -> Manifest:
    volume: Manifest = {"name": "function", "configMap": {"name": name}}
    if config.runtime == "shell":
        item = {"key": "function", "path": "cgi-bin/function", "mode": 0o555}
        volume["configMap"]["items"] = [item]
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": _UID, "runAsGroup": _UID},
        "containers": [_container(config)],
        "volumes": [volume],
    }


def _container(config: FunctionConfig) -> Manifest:
    command = (
        ["httpd", "-f", "-p", str(PORT), "-h", "/function"]
        if config.runtime == "shell"
        else ["python3", "/function/server.py", _PYTHON, config.handler, str(PORT)]
    )
    return {
        "name": "function",
        "image": config.image_used,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [{"name": key, "value": value} for key, value in sorted(config.env.items())],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "function", "mountPath": "/function", "readOnly": True}],
    }


def _service(name: str) -> Manifest:
    ports: list[dict[str, Any]] = [{"name": "http", "port": 80, "targetPort": "http"}]
    spec = {"selector": {"function.theriseunion.io/name": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _hash(data: Mapping[str, str]) -> str:
    text = "\0".join(f"{key}\0{value}" for key, value in sorted(data.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
