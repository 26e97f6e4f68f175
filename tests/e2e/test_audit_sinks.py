"""The record of changes on volumes of its own, as the chart installs it: three sinks, one killed (O6).

Projected token, DNS of the pods, TLS by the sinks' own authority, claims as a user without rights.
"""

import json
import secrets
from collections.abc import Generator, Mapping

import pytest
from tests.e2e.instance import SYSTEM, Platform, eventually
from tests.e2e.test_gateway import Through, administrator

__all__ = ["administrator"]

SINKS = {"audit": {"sinks": {"replicas": 3}, "persistence": {"size": "64Mi"}, "acknowledgeWithin": "20s"}}
"""Patient: a busy machine may flush for longer than half a second, and kubectl would ask a second time."""
ALONE = {"audit": {"sinks": {"replicas": 0}, "persistence": None, "acknowledgeWithin": None}}
RECORDS = "/oapis/audit.theriseunion.io/v1alpha1/records"
VERIFICATION = "/oapis/audit.theriseunion.io/v1alpha1/verification"


def configure(platform: Platform, values: Mapping[str, object], marker: str) -> None:
    """Change values of the gateway's Component, until its settings hold `marker` and its pods have them."""
    patch = json.dumps({"spec": {"values": values}})
    platform.kubectl("patch", "component", "edge-apiserver", "-n", SYSTEM, "--type=merge", "-p", patch)

    def has_them() -> bool:
        config = platform.kubectl("get", "configmap", "edge-apiserver", "-n", SYSTEM, "-o", "yaml")
        component = platform.kubectl("get", "component", "edge-apiserver", "-n", SYSTEM, "-o", "yaml")
        assert marker in config, component.partition("status:")[2]
        return True

    eventually("the release has the new values", has_them, 270)
    platform.kubectl("rollout", "status", "deployment/edge-apiserver", "-n", SYSTEM, "--timeout=300s")


@pytest.fixture
def sinks(platform: Platform) -> Generator[None]:
    configure(platform, SINKS, "https://edge-audit-2.")
    try:
        platform.kubectl("rollout", "status", "statefulset/edge-audit", "-n", SYSTEM, "--timeout=300s")
        yield
    finally:
        configure(platform, ALONE, "edge-audit-checkpoints-edge-audit")
        platform.kubectl("delete", "pvc", "-n", SYSTEM, "-l", "app=edge-audit", "--wait=false")


def change(through: Through) -> str:
    """A change by the gateway; the name of what was made."""
    name = f"sinks-{secrets.token_hex(4)}"
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}
    through.run("create", "-f", "-", stdin=json.dumps(manifest))
    through.run("delete", "configmap", name, "-n", "default", "--wait=false")
    return name


def recorded(through: Through, name: str) -> bool:
    """Whether both changes of an object are found, newest first, and both went well."""
    found = json.loads(through.run("get", "--raw", f"{RECORDS}?resource=configmaps&name={name}"))
    told = [(one["req"]["verb"], one["result"]) for one in found["items"]]
    assert told == [("delete", "success"), ("create", "success")], found
    return True


@pytest.mark.usefixtures("sinks")
def test_three_sinks_come_up_and_a_killed_one_stops_no_change(platform: Platform, administrator: str) -> None:
    through = Through(platform, administrator)
    first = change(through)
    eventually("it is found", lambda: recorded(through, first))
    for number in range(3):
        chains = platform.kubectl(
            *("exec", f"edge-audit-{number}", "-n", SYSTEM, "--", "python3", "-c"),
            "import os; print(os.getuid(), len(os.listdir('/var/lib/edge/audit')))",
        ).split()
        assert chains[0] == "65532"
        assert int(chains[1]) >= 2

    platform.kubectl("delete", "pod", "edge-audit-1", "-n", SYSTEM, "--grace-period=0", "--force")
    second = change(through)
    eventually("what was done meanwhile is found", lambda: recorded(through, second))
    platform.kubectl("rollout", "status", "statefulset/edge-audit", "-n", SYSTEM, "--timeout=300s")
    eventually(
        "all three hold the same, whole",
        lambda: json.loads(through.run("get", "--raw", VERIFICATION))["whole"],
        180,
    )
