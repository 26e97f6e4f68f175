"""The embedded cluster: nothing left behind, nothing shared, nothing lost (D9)."""

import dataclasses
import http.client
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.e2e import instance, machine
from tests.e2e.instance import Host, eventually

from edge.embedded import gateway, lifecycle, ports, processes
from edge.embedded import instance as instances
from edge.embedded.steps import StepError

WEB = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 1
  serviceName: web
  selector: {matchLabels: {app: web}}
  volumeClaimTemplates:
  - {metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 3
      securityContext: {runAsUser: 65532, runAsNonRoot: true}
      containers:
      - name: web
        image: localhost/edge/busybox:v1.0.0
        command: [sh, -c, "echo started >> /data/index.html; exec httpd -f -p 8080 -h /data"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
"""


GATEWAY = """
apiVersion: v1
kind: Service
metadata: {name: edge-apiserver, namespace: edge-system}
spec: {ports: [{name: http, port: 9090, targetPort: 8080}, {name: metrics, port: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: edge-apiserver, namespace: edge-system, labels: {kubernetes.io/service-name: edge-apiserver}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: metrics, port: 8080}]
endpoints: [{addresses: [POD-IP]}]
"""


@pytest.fixture(scope="module")
def loopback() -> Generator[dict[str, socket.socket]]:
    bound = ports.bind({"http": 0, "metrics": 0})
    yield bound
    for one in bound.values():
        one.close()


@pytest.fixture(scope="module")
def bare(loopback: dict[str, socket.socket]) -> Generator[Host]:
    with instance.host(listeners=loopback) as host:
        host.kubectl("apply", "-f", "-", stdin=WEB)
        host.kubectl("rollout", "status", "statefulset/web", "--timeout=300s")
        yield host


def test_a_service_answers_on_its_cluster_ip_and_node_port_from_the_machine(bare: Host) -> None:
    eventually("ClusterIP", lambda: get(bare.service_url("web", "default")) == "started\n")
    eventually("NodePort", lambda: get(f"http://{bare.instance.node_ip}:30080") == "started\n")


def test_loopback_ports_lead_to_the_gateway_service(bare: Host, loopback: dict[str, socket.socket]) -> None:
    numbers = {name: one.getsockname()[1] for name, one in loopback.items()}
    gateway.remember(bare.instance, numbers)
    gateway.publish(bare.instance, bare.tools)
    with pytest.raises((OSError, http.client.HTTPException)):
        get(f"http://127.0.0.1:{numbers['http']}")  # closed politely while there is no such Service

    pod = bare.kubectl("get", "pod", "web-0", "-o", "jsonpath={.status.podIP}")
    bare.kubectl("create", "namespace", "edge-system")
    bare.kubectl("apply", "-f", "-", stdin=GATEWAY.replace("POD-IP", pod))
    for port in numbers.values():
        url = f"http://127.0.0.1:{port}"
        eventually(url, lambda url=url: get(url) == "started\n")
    bare.kill("gateway-ports")
    eventually("after a kill", lambda: get(f"http://127.0.0.1:{numbers['metrics']}") == "started\n")


def test_exec_logs_and_cluster_dns_work_in_pods(bare: Host) -> None:
    found = bare.kubectl("exec", "web-0", "--", "nslookup", "web.default.svc.cluster.local")
    assert bare.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") in found
    assert bare.kubectl("logs", "web-0") == ""


def test_a_killed_component_is_started_again(bare: Host) -> None:
    for name in ("etcd", "kube-apiserver", "containerd", "kubelet"):
        bare.kill(name)
    eventually("API after the kills", lambda: bare.kubectl("get", "--raw", "/readyz") == "ok", 180)
    eventually("all were started again", lambda: all(_starts(bare)[one] >= 2 for one in ("etcd", "kubelet")))
    bare.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=180s")
    eventually("it serves", lambda: get(bare.service_url("web", "default")) == "started\n")


def _starts(bare: Host) -> dict[str, int]:
    return {row.name: row.starts for row in bare.cluster.status()}


def _nothing_added(since: machine.Machine) -> bool:
    """The kernel takes links and mounts away by itself, a moment after their last user."""
    added = machine.look().added(since)
    assert added == {}, added
    return True


def test_a_second_instance_beside_it_shares_nothing(bare: Host) -> None:
    before = machine.look()
    with instance.host(quiet=True) as other:
        assert other.instance.node_ip != bare.instance.node_ip
        other.kubectl("apply", "-f", "-", stdin=WEB)
        other.kubectl("rollout", "status", "statefulset/web", "--timeout=300s")
        eventually("second web", lambda: get(other.service_url("web", "default")) == "started\n")
        ended = other.instance
    assert get(bare.service_url("web", "default")) == "started\n"
    eventually("nothing is left of it", lambda: _nothing_added(before))
    eventually("none of its processes is left", lambda: machine.processes_of(ended) == [])
    assert instances.find(ended.name) is None


def test_down_leaves_nothing_and_up_brings_the_data_back(bare: Host) -> None:
    bare.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    bare.cluster.stop()
    assert machine.processes_of(bare.instance) == []
    left = machine.look()
    assert not [line for line in left.links if line.startswith(f"{bare.instance.link}@")]
    assert not [line for line in left.firewall if f"edge_{bare.instance.number}" in line or "KUBE-" in line]
    assert not [line for line in left.mounts if str(bare.instance.folder) in line]
    assert not [group for group in left.groups if group.endswith(bare.instance.cgroup)]

    lifecycle.begin(bare.instance, {})
    bare.cluster.start({})
    assert bare.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
    eventually(
        "both starts in the volume", lambda: get(bare.service_url("web", "default")) == "started\n" * 2
    )


def test_what_was_written_survives_the_sudden_end_of_everything(bare: Host) -> None:
    bare.kubectl("create", "configmap", "survivor", "--from-literal=a=b")
    started = len(get(bare.service_url("web", "default")).splitlines())
    first = lifecycle.first_process(bare.instance)
    assert first is not None
    processes.send(first, signal.SIGKILL)
    eventually("all processes gone", lambda: machine.processes_of(bare.instance) == [], 180)

    lifecycle.begin(bare.instance, {})
    bare.cluster.start({})
    assert bare.kubectl("get", "configmap", "survivor", "-o", "jsonpath={.data.a}") == "b"
    url = bare.service_url("web", "default")
    eventually("the volume", lambda: len(get(url).splitlines()) == started + 1)


def test_starting_what_runs_changes_nothing(bare: Host) -> None:
    before = {row.name: row.pid for row in bare.cluster.status()}
    bare.cluster.start({})
    assert {row.name: row.pid for row in bare.cluster.status()} == before


def test_the_death_of_the_first_process_ends_everything() -> None:
    with instance.claimed() as one:
        lifecycle.begin(one, {})
        first = lifecycle.first_process(one)
        assert first is not None
        assert machine.processes_of(one) != []
        processes.send(first, signal.SIGKILL)
        eventually("all processes gone", lambda: machine.processes_of(one) == [], 180)
        lifecycle.tidy(one)
        assert not [line for line in machine.look().links if line.startswith(f"{one.link}@")]


def test_the_next_run_removes_what_an_interrupted_one_left() -> None:
    script = (
        "from tests.e2e import instance; from edge.embedded import lifecycle; import time\n"
        "with instance.claimed() as one:\n"
        "    lifecycle.begin(one, {}); print(one.name, flush=True); time.sleep(600)\n"
    )
    before = machine.look()
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        name = run.stdout.readline().strip()
        left = instances.find(name)
        assert left is not None
        run.kill()
    assert lifecycle.first_process(left) is not None
    assert name in instance.remove_leftovers()
    assert lifecycle.first_process(left) is None
    assert instances.find(name) is None
    eventually("nothing is left of it", lambda: _nothing_added(before))


def test_an_instance_never_takes_the_link_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance.claimed() as one:
        lifecycle.begin(one, {})
        monkeypatch.setenv("EDGE_STATE", str(tmp_path))  # an installation that knows nothing of the first
        twin = dataclasses.replace(one, name="twin")
        twin.folder.mkdir(parents=True)
        with pytest.raises(StepError, match=f"belongs to .*{one.name}"):
            lifecycle.begin(twin, {})
        lifecycle.end(twin)
        monkeypatch.undo()
        assert [line for line in machine.look().links if line.startswith(f"{one.link}@")]
        assert lifecycle.first_process(one) is not None


def test_up_names_the_port_that_is_in_use_and_its_holder(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "edge.embedded", "up"],
            env={**os.environ, "EDGE_STATE": str(tmp_path), "EDGE_PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr
    assert "EDGE_PORT=" in done.stderr
    assert not (tmp_path / "instances").exists()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()
