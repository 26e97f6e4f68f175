"""`make up KUBECONFIG=…` installs on a cluster that is already there (D1)."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Generator

import pytest
from tests.e2e import instance
from tests.e2e.instance import Host, eventually

from edge.embedded import places

# Stands for somebody's cluster: it has DNS, storage and our images, and nothing of the platform.
IMAGES = ("edge-platform", "etcd")


@pytest.fixture(scope="module")
def existing() -> Generator[Host]:
    with instance.host(with_images=IMAGES) as host:
        yield host


def test_the_platform_is_installed_and_a_repetition_changes_nothing(existing: Host) -> None:
    first = up(existing)
    assert first.returncode == 0, first.stderr
    assert "Edge Platform is ready on the cluster of" in first.stdout
    eventually("gateway", lambda: healthy(existing), 180)
    revision = existing.helm("list", "-A", "-o", "json")

    pods = "-n", "edge-system", "-o", "jsonpath={.items[*].metadata.uid}"
    before = existing.kubectl("get", "pods", *pods)
    again = up(existing)
    assert again.returncode == 0, again.stderr
    assert existing.kubectl("get", "pods", *pods) == before
    assert "edge-apiserver" in revision


def test_a_missing_default_storage_class_stops_it_before_anything_is_made(existing: Host) -> None:
    default = "storageclass.kubernetes.io/is-default-class"
    existing.kubectl("annotate", "storageclass", "local-path", f"{default}-")
    try:
        done = up(existing)
    finally:
        existing.kubectl("annotate", "storageclass", "local-path", f"{default}=true")
    assert done.returncode == 1
    assert f"kubectl annotate storageclass local-path {default}=true" in done.stderr


def up(existing: Host) -> subprocess.CompletedProcess[str]:
    values = places.checkout() / "charts" / "edge-controller" / "embedded-values.yaml"
    command = [sys.executable, "-m", "edge.embedded", "up", "--kubeconfig", str(existing.kubeconfig)]
    return subprocess.run(
        [*command, "--values", str(values)], capture_output=True, text=True, check=False, env={**os.environ}
    )


def healthy(existing: Host) -> bool:
    url = existing.service_url("edge-apiserver", port=9090)
    with urllib.request.urlopen(f"{url}/healthz", timeout=60) as answer:
        return answer.status == 200
