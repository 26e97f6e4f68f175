"""LightCluster: a real kube-apiserver on a real etcd, ready in seconds, gone with the test run.

    with LightCluster() as cluster:
        cluster.kubectl("create", "namespace", "press")
        async with cluster.client() as client:
            await cluster.install(client, Workspace)

Promises: own data, own PKI, own free ports; several run side by side; nothing survives the process that
started it, not even after SIGKILL. Not promised: durability (etcd does not sync), nodes, or controllers other
than those asked for: without them a deleted namespace stays Terminating.
"""

import base64
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from edge_kube.client import Client
from edge_kube.config import Connection, load_kubeconfig
from edge_kube.harness.authz import authorization_config
from edge_kube.harness.crds import install
from edge_kube.harness.pki import TestAuthority, signing_key
from edge_kube.harness.probe import is_ready
from edge_kube.harness.processes import Process, ProcessDiedError, free_port, tool
from edge_kube.meta import Resource

_PREFIX = "edge-light-"
_STARTS_MAX = 3
_READY_WITHIN_S = 180.0  # on a loaded machine; five seconds on an idle one
_DEADLINE_S = 60.0


class LightCluster:
    """etcd + kube-apiserver, and on request single controllers of kube-controller-manager.

    controllers: names such as "namespace-controller" or "garbage-collector-controller".
    """

    def __init__(
        self, *, controllers: Sequence[str] = (), api_flags: Sequence[str] = (), reviews_at: str = ""
    ) -> None:
        """Starts nothing yet. api_flags: further flags of kube-apiserver.

        reviews_at: https address of an authorization webhook, whose certificate `authority` has signed and
        which is asked before Node and RBAC; it may start later.
        """
        self._controllers = tuple(controllers)
        self._api_flags = tuple(api_flags)
        self._reviews_at = reviews_at
        self._cleanup = ExitStack()
        self.authority = TestAuthority()
        self.folder = Path()
        self.server = ""
        self.etcd: Process | None = None
        self.apiserver: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the API server is ready. Call it in the main thread: the children end with theirs."""
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._cleanup.callback(shutil.rmtree, self.folder, ignore_errors=True)
        try:
            self._write_pki()
            self.start_etcd()
            self._start_apiserver_on_free_port()
            self._start_controllers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kills what was started, by its pid, and removes the data."""
        self._cleanup.close()

    # -- parts, for tests of faults ------------------------------------------------------------------------

    def start_etcd(self) -> None:
        # Unix sockets: no port to collide on. etcd insists on host:port in what it advertises; with this
        # scheme that is a file name in its working folder.
        nominal = "unix://localhost:1"
        sockets = [self.folder / name for name in ("etcd.sock", "localhost:1")]
        for socket in sockets:
            socket.unlink(missing_ok=True)
        self.etcd = self._run(
            "etcd",
            [
                tool("etcd"),
                "--name=light",
                f"--data-dir={self.folder}/data",
                "--unsafe-no-fsync",
                f"--listen-client-urls=unix://{sockets[0]}",
                f"--advertise-client-urls={nominal}",
                f"--listen-peer-urls={nominal}",
                f"--initial-advertise-peer-urls={nominal}",
                f"--initial-cluster=light={nominal}",
                "--log-level=warn",
            ],
        )
        self.etcd.wait_ready(sockets[0].exists, _READY_WITHIN_S)

    def start_apiserver(self) -> None:
        """Start it again on the port it had, and wait until it is ready."""
        self.apiserver = self._run("kube-apiserver", self._apiserver_args())
        self.apiserver.wait_ready(lambda: is_ready(self.connection), _READY_WITHIN_S)

    def kill_apiserver(self) -> None:
        """SIGKILL, as the kernel does when memory runs out."""
        if self.apiserver is not None:
            self.apiserver.kill()

    def restart_apiserver(self) -> None:
        self.kill_apiserver()
        self.start_apiserver()

    def restart_etcd(self) -> None:
        if self.etcd is not None:
            self.etcd.kill()
        self.start_etcd()
        self._wait_api_ready()

    def pause_apiserver(self) -> None:
        """SIGSTOP: connections stay open and silent."""
        if self.apiserver is not None:
            self.apiserver.signal(signal.SIGSTOP)

    def resume_apiserver(self) -> None:
        if self.apiserver is not None:
            self.apiserver.signal(signal.SIGCONT)

    def etcdctl(self, *args: str) -> str:
        endpoint = f"--endpoints=unix://{self.folder}/etcd.sock"
        done = subprocess.run(
            [tool("etcdctl"), endpoint, *args], check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def compact(self, revision: int | str) -> None:
        """Make every older revision unreadable: watches and continue tokens of before get 410."""
        try:
            self.etcdctl("compact", str(revision))
        except subprocess.CalledProcessError as error:
            if "has been compacted" not in str(error.stderr):
                raise

    # -- access --------------------------------------------------------------------------------------------

    @property
    def kubeconfig(self) -> Path:
        """Of a cluster admin (group system:masters)."""
        return self.folder / "admin.kubeconfig"

    @property
    def connection(self) -> Connection:
        return load_kubeconfig(self.kubeconfig)

    def client(self, **settings: Any) -> Client:
        """A new client of the admin, with patience; settings as of Client. The caller closes it."""
        return Client(self.connection, **settings).derive(deadline_s=_DEADLINE_S)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> dict[str, Any]:
        """A kubeconfig for another user, with a certificate of its own, as a mapping."""
        pair = self.authority.issue(user, groups=groups)
        return self._kubeconfig(pair.cert, pair.key)

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """Standard output of kubectl as admin. Raises CalledProcessError, whose stderr says why."""
        done = subprocess.run(
            [tool("kube"), "kubectl", f"--kubeconfig={self.kubeconfig}", *args],
            check=check,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=180,
            env={**os.environ, "HOME": str(self.folder)},
        )
        return done.stdout if check else done.stdout + done.stderr

    async def install(self, *kinds: type[Resource]) -> None:
        """Apply the CRDs of these kinds and wait until their objects can be made."""
        async with self.client() as client:
            await install(client, kinds)

    # -- inside --------------------------------------------------------------------------------------------

    def _run(self, name: str, args: Sequence[str | Path]) -> Process:
        process = Process(name, args, self.folder, {"GOGC": "50"})
        self._cleanup.callback(process.kill)
        return process

    def _write_pki(self) -> None:
        for name, content in {"ca.crt": self.authority.cert, "sa.key": signing_key()}.items():
            (self.folder / name).write_bytes(content)
        serving = self.authority.issue(
            "kube-apiserver", sans=("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "10.96.0.1")
        )
        (self.folder / "serving.crt").write_bytes(serving.cert)
        (self.folder / "serving.key").write_bytes(serving.key)
        if self._reviews_at:
            reviewed = authorization_config(self.folder, self._reviews_at, self.authority)
            (self.folder / "authorization.yaml").write_text(yaml.safe_dump(reviewed))

    def _start_apiserver_on_free_port(self) -> None:
        for attempt in range(1, _STARTS_MAX + 1):
            self.server = f"https://127.0.0.1:{free_port()}"
            self._write_kubeconfig()
            try:
                self.start_apiserver()
            except ProcessDiedError as error:
                # Somebody may have taken the port between our look and the start.
                if attempt == _STARTS_MAX or "address already in use" not in str(error):
                    raise
            else:
                return

    def _wait_api_ready(self) -> None:
        if self.apiserver is not None:
            self.apiserver.wait_ready(lambda: is_ready(self.connection), _READY_WITHIN_S)

    def _apiserver_args(self) -> list[str | Path]:
        folder = self.folder
        return [
            tool("kube"),
            "kube-apiserver",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.server.rsplit(':', 1)[1]}",
            f"--etcd-servers=unix://{folder}/etcd.sock",
            "--etcd-compaction-interval=0",
            f"--cert-dir={folder}",
            f"--client-ca-file={folder}/ca.crt",
            f"--tls-cert-file={folder}/serving.crt",
            f"--tls-private-key-file={folder}/serving.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={folder}/sa.key",
            f"--service-account-signing-key-file={folder}/sa.key",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--authorization-config={folder}/authorization.yaml"
            if self._reviews_at
            else "--authorization-mode=Node,RBAC",
            "--disable-admission-plugins=ServiceAccount",  # nobody makes the accounts that it asks for
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",
            "--profiling=false",
            *self._api_flags,
        ]

    def _start_controllers(self) -> None:
        if not self._controllers:
            return
        self._run(
            "kube-controller-manager",
            [
                tool("kube"),
                "kube-controller-manager",
                f"--kubeconfig={self.kubeconfig}",
                f"--controllers={','.join(self._controllers)}",
                "--leader-elect=false",
                "--secure-port=0",
                f"--service-account-private-key-file={self.folder}/sa.key",
                f"--root-ca-file={self.folder}/ca.crt",
            ],
        )

    def _write_kubeconfig(self) -> None:
        admin = self.authority.issue("admin", groups=("system:masters",))
        self.kubeconfig.write_text(yaml.safe_dump(self._kubeconfig(admin.cert, admin.key)))
        self.kubeconfig.chmod(0o600)

    def _kubeconfig(self, cert: bytes, key: bytes) -> dict[str, Any]:
        cluster = {"server": self.server, "certificate-authority-data": _base64(self.authority.cert)}
        user = {"client-certificate-data": _base64(cert), "client-key-data": _base64(key)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "light", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "light", "context": {"cluster": "light", "user": "user"}}],
            "current-context": "light",
        }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _sweep() -> None:
    """Remove the data of runs that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
