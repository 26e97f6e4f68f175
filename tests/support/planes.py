"""A tenant's control plane as its chart runs it, but as a child process on free loopback ports."""

import http.client
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import yaml

from edge import pki
from edge.clusters import keys
from edge_kube.config import load_kubeconfig
from edge_kube.harness.probe import is_ready
from edge_kube.harness.processes import Process, free_port, tool

CHARTS = Path(__file__).parents[2] / "charts"
READY_WITHIN_S = 90.0  # on a loaded machine; three seconds on an idle one


def render(chart: str, release: str, namespace: str, values: Mapping[str, object]) -> list[dict[str, object]]:
    """What `helm template` makes of a chart in this repository."""
    done = subprocess.run(
        [tool("helm"), "template", release, CHARTS / chart, "--namespace", namespace, "--values", "-"],
        input=json.dumps(values),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Etcd:
    """An etcd with client certificates, as chart etcd starts it; `authority` signs the clients."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self.authority = pki.make_ca("edge-etcd-ca", now=now)
        self.root = pki.issue(self.authority, "root", now=now)
        self.gateway = pki.issue(self.authority, "", org=("edge-platform",), now=now)
        server = pki.issue(
            self.authority, "", sans=["127.0.0.1", "localhost"], usage=("server", "client"), now=now
        )
        self.endpoint = f"https://127.0.0.1:{free_port()}"
        peer, metrics = free_port(), free_port()
        files = folder / "certs"
        files.mkdir()
        for name, data in {
            "ca.crt": self.authority.cert,
            "server.crt": server.cert,
            "server.key": server.key,
        }.items():
            (files / name).write_bytes(data)
        self.process = Process(
            "etcd",
            [
                tool("etcd"),
                f"--data-dir={folder / 'data'}",
                f"--listen-client-urls={self.endpoint}",
                f"--advertise-client-urls={self.endpoint}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
                f"--listen-metrics-urls=http://127.0.0.1:{metrics}",
                "--client-cert-auth",
                f"--trusted-ca-file={files / 'ca.crt'}",
                f"--cert-file={files / 'server.crt'}",
                f"--key-file={files / 'server.key'}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
            folder,
            {},
        )
        self.process.wait_ready(lambda: _answers(metrics), READY_WITHIN_S)

    def ctl(self, client: pki.KeyPair, *args: str) -> subprocess.CompletedProcess[str]:
        """etcdctl as the holder of a certificate."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, data in {"ca": self.authority.cert, "cert": client.cert, "key": client.key}.items():
                (folder / file).write_bytes(data)
            return subprocess.run(
                [
                    tool("etcdctl"),
                    f"--endpoints={self.endpoint}",
                    f"--cacert={folder / 'ca'}",
                    f"--cert={folder / 'cert'}",
                    f"--key={folder / 'key'}",
                    *args,
                ],
                text=True,
                capture_output=True,
                check=False,
            )

    def stop(self) -> None:
        self.process.stop()


class Plane:
    """`kube plane` with the flags that chart vcluster-hosted renders; paths and ports are the test's own."""

    def __init__(
        self, folder: Path, store: Mapping[str, str], *, files: Mapping[str, bytes] | None = None
    ) -> None:
        self.port = free_port()
        self.folder = folder
        self.files = keys.complete_plane(files or {}, ("127.0.0.1", "plane"), datetime.now(UTC))
        certs, config = folder / "pki", folder / "plane"
        certs.mkdir()
        config.mkdir()
        for name, data in self.files.items():
            (certs / name).write_bytes(data)
        values = {"plane": {"address": "10.99.0.1"}, "cluster": {"name": "a", "uid": "u"}, "store": store}
        manifest = next(
            one for one in render("vcluster-hosted", "a", "vcluster-a", values) if one["kind"] == "ConfigMap"
        )
        data = manifest["data"]
        assert isinstance(data, dict)
        for name, text in data.items():
            moved = re.sub(r"(?<=[=\s])/pki/", f"{certs}/", str(text))
            moved = moved.replace("/etc/plane/", f"{config}/").replace(
                "127.0.0.1:6443", f"127.0.0.1:{self.port}"
            )
            moved = moved.replace(
                "--secure-port=6443", f"--secure-port={self.port}\n--bind-address=127.0.0.1"
            )
            (config / str(name)).write_text(moved)
        self.start()

    def start(self) -> None:
        self.process = Process(
            "plane",
            [
                tool("kube"),
                "plane",
                self.folder / "plane" / "flags",
                self.folder / "pki" / "ca.crt",
                f"{self.server}/readyz",
            ],
            self.folder,
            {"GOGC": "30"},
        )

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> bytes:
        return keys.admin_kubeconfig(self.files, self.server, "a")

    def wait_ready(self) -> None:
        connection = load_kubeconfig(self.kubeconfig)
        self.process.wait_ready(lambda: is_ready(connection), READY_WITHIN_S)

    def kubectl(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(*args), text=True, capture_output=True, check=False)

    def watching(self, *args: str) -> subprocess.Popen[bytes]:
        """A kubectl that runs until it is killed."""
        return subprocess.Popen(self._command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _command(self, *args: str) -> list[str]:
        config = self.folder / "admin.kubeconfig"
        config.write_bytes(self.kubeconfig)
        return [str(tool("kubectl")), "--kubeconfig", str(config), *args]

    def ended_with(self, *, within_s: float) -> int | None:
        """The exit code; None when it still runs after that time."""
        ends_at = time.monotonic() + within_s
        while self.process.running and time.monotonic() < ends_at:
            time.sleep(0.1)
        return self.process._child.poll()

    def stop(self) -> None:
        self.process.stop(30)
