"""Helm as a child process: own session, killed with us, private environment, values on stdin (CA 1.3).

Nothing secret is in its arguments, which everybody can see in `ps`; the kubeconfig is a file of mode 0600
in the scratch folder, which a pod has in memory, and is removed when the child ends, however it ends.
"""

import asyncio
import base64
import contextlib
import ctypes
import json
import os
import secrets
import signal
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge_kube.config import Connection

_STDERR_MAX_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Finished(NamedTuple):
    """code: exit code, negative for a signal. stderr: its last 64 KiB."""

    code: int
    stdout: bytes
    stderr: str


class HelmProcess:
    def __init__(self, executable: str, scratch: Path, environment: Mapping[str, str] | None = None) -> None:
        """environment: what is passed on besides PATH and Helm's own folders, such as a proxy."""
        self._executable = executable
        self._scratch = scratch
        self._environment = {
            "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "HOME": str(scratch),
            "HELM_CACHE_HOME": str(scratch / "helm/cache"),
            "HELM_CONFIG_HOME": str(scratch / "helm/config"),
            "HELM_DATA_HOME": str(scratch / "helm/data"),
            "HELM_DRIVER": "secret",
            **(environment or {}),
        }

    async def run(
        self, arguments: Sequence[str], *, connection: Connection, stdin: bytes = b"", timeout_s: float
    ) -> Finished:
        """Run to the end; after `timeout_s`, and when we are cancelled, the child and its children die."""
        with self._kubeconfig(connection) as kubeconfig:
            child = await asyncio.create_subprocess_exec(
                self._executable,
                *arguments,
                f"--kubeconfig={kubeconfig}",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                cwd=self._scratch,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
            try:
                async with asyncio.timeout(timeout_s):
                    stdout, stderr = await child.communicate(stdin)
            except TimeoutError:
                await _kill(child)
                return Finished(
                    -signal.SIGKILL, b"", f"context deadline exceeded: stopped after {timeout_s:.0f} s"
                )
            except BaseException:
                await asyncio.shield(_kill(child))
                raise
            code = child.returncode if child.returncode is not None else -1
            return Finished(code, stdout, stderr[-_STDERR_MAX_BYTES:].decode("utf-8", "replace"))

    @contextlib.contextmanager
    def _kubeconfig(self, connection: Connection) -> Generator[Path]:
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._scratch / f"kubeconfig-{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(kubeconfig_of(connection), file)  # JSON is YAML
            yield path
        finally:
            path.unlink(missing_ok=True)


def kubeconfig_of(connection: Connection) -> dict[str, Any]:
    """A kubeconfig for other programs; files stay files, so that a rotated token is read anew."""

    def text(content: bytes) -> str:
        return base64.b64encode(content).decode()

    cluster: dict[str, Any] = {"server": connection.server}
    user: dict[str, Any] = {}
    for target, name, value in (
        (cluster, "certificate-authority", connection.ca_file),
        (cluster, "certificate-authority-data", text(connection.ca)),
        (cluster, "tls-server-name", connection.server_name),
        (cluster, "insecure-skip-tls-verify", connection.insecure),
        (user, "client-certificate", connection.cert_file),
        (user, "client-certificate-data", text(connection.cert)),
        (user, "client-key", connection.key_file),
        (user, "client-key-data", text(connection.key)),
        (user, "token", connection.token),
        (user, "tokenFile", connection.token_file),
        (user, "username", connection.basic[0] if connection.basic else ""),
        (user, "password", connection.basic[1] if connection.basic else ""),
    ):
        if value:
            target[name] = value
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "target", "cluster": cluster}],
        "users": [{"name": "edge", "user": user}],
        "contexts": [{"name": "target", "context": {"cluster": "target", "user": "edge"}}],
        "current-context": "target",
    }


def _die_with_parent() -> None:
    # Between fork and exec: a system call and nothing else, since other threads' locks may be held.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _kill(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await child.wait()
