"""Provisioner `motd`: serves one text over HTTP."""

from edge_sdk.problem import Violation
from edge_sdk.provisioner import Deployed, Plan, ProvisionerPlugin, ProvisionStatus, Topology, Version
from edge_sdk.workload_status import status_of_workloads


class MotdPlugin(ProvisionerPlugin):
    def validate(self, version: Version) -> list[Violation]:
        text = version.config.get("text")
        if isinstance(text, str) and text:
            return []
        return [Violation("spec.config.text", text, "a message is required", "any text")]

    def provision(self, version: Version, topology: Topology) -> Plan:
        name = topology.name(version.application)
        labels = {"motd": name}
        container = {
            "name": "motd",
            "image": "localhost/edge/busybox:v1.0.0",
            "command": ["httpd", "-f", "-p", "8080", "-h", "/motd"],
            "volumeMounts": [{"name": "motd", "mountPath": "/motd"}],
        }
        pod = {"containers": [container], "volumes": [{"name": "motd", "configMap": {"name": name}}]}
        template = {"metadata": {"labels": labels}, "spec": pod}
        spec = {"selector": {"matchLabels": labels}, "template": template}
        data = {"index.html": version.config["text"]}
        return Plan(
            objects=(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data},
                {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec},
            )
        )

    def get_status(self, deployment: Deployed) -> ProvisionStatus:
        return status_of_workloads(deployment)
