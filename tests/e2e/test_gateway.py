"""The gateway on the whole platform: real kubectl through it, to the host and to a virtual cluster.

G1, G2, I12, I14, I16, R13: logs -f, exec, attach, port-forward, cp.
"""

import base64
import json
import secrets
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.request import Request, urlopen

import pytest
from tests.e2e.instance import Platform, eventually

BUSYBOX = "localhost/edge/busybox:v1.0.0"
NAMESPACE = "gateway-e2e"
CLUSTER = "gateway-e2e"
USER = "e2e-admin"
PASSWORD = "e2e-Passw0rd"

POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: talker, namespace: {NAMESPACE}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: talker
    image: {BUSYBOX}
    imagePullPolicy: IfNotPresent
    command: [sh, -c]
    args:
    - |
      mkdir -p /tmp/www && echo served-by-talker > /tmp/www/index.html
      httpd -p 8000 -h /tmp/www
      n=0; while true; do echo "line $n"; n=$((n+1)); sleep 0.2; done
"""

PERSON = f"""
apiVersion: iam.theriseunion.io/v1alpha1
kind: User
metadata: {{name: {USER}}}
spec: {{encryptedPassword: {PASSWORD}}}
---
apiVersion: iam.theriseunion.io/v1alpha1
kind: IAMRoleBinding
metadata:
  name: {USER}-platform-admin
  labels: {{iam.theriseunion.io/scope: platform, iam.theriseunion.io/scope-value: global}}
spec:
  roleRef: {{apiGroup: iam.theriseunion.io, kind: IAMRole, name: platform-admin}}
  subjects: [{{kind: User, name: {USER}}}]
"""


class Through:
    """kubectl with a token of the gateway, and nothing else; path "" is the host."""

    def __init__(self, platform: Platform, token: str, path: str = "") -> None:
        secret = json.loads(
            platform.kubectl("get", "secret", "edge-apiserver-serving", "-n", "edge-system", "-o", "json")
        )
        authority = platform.instance.at("gateway-ca.crt")
        authority.write_bytes(base64.b64decode(secret["data"]["ca.crt"]))
        address = platform.service_url("edge-apiserver", port=8443).removeprefix("http://")
        self.environment = {key: value for key, value in platform.environment.items() if key != "KUBECONFIG"}
        self.command = [
            *("kubectl", f"--server=https://{address}{path}", f"--token={token}"),
            *(f"--certificate-authority={authority}", "--tls-server-name=edge-apiserver"),
        ]

    def run(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [*self.command, *args],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout if check else done.stdout + done.stderr

    @contextmanager
    def started(self, *args: str) -> Generator[tuple[subprocess.Popen[str], IO[str]]]:
        """A kubectl that goes on until the block ends, and what it prints."""
        with subprocess.Popen(
            [*self.command, *args],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                yield process, process.stdout
            finally:
                process.kill()


def token_of(platform: Platform, user: str, password: str) -> str:
    """By curl, with the form as printed in the white paper."""
    said = platform.shell(
        'curl -s -X POST $API/oauth/token -d "grant_type=password&username=$USERNAME&password=$PASSWORD'
        '&client_id=edge-console&client_secret=edge-secret" | jq -r .access_token',
        API=platform.gateway,
        USERNAME=user,
        PASSWORD=password,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


@pytest.fixture(scope="module")
def administrator(platform: Platform) -> Generator[str]:
    """A token of an administrator whose password is its own: it may write."""
    platform.kubectl("apply", "-f", "-", stdin=PERSON)
    found: list[str] = []

    def signed_in() -> bool:
        found[:] = [token_of(platform, USER, PASSWORD)]
        return found[0].count(".") == 2

    try:
        eventually("the new administrator can sign in", signed_in)
        yield found[0]
    finally:
        platform.kubectl("delete", "-f", "-", "--ignore-not-found", stdin=PERSON)


@pytest.fixture(scope="module")
def virtual(platform: Platform) -> Generator[str]:
    manifest = json.dumps(
        {
            "apiVersion": "scope.theriseunion.io/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": CLUSTER},
            "spec": {"type": "virtual"},
        }
    )
    platform.kubectl("apply", "-f", "-", stdin=manifest)
    try:
        platform.kubectl("wait", "--for=condition=Ready", f"cluster/{CLUSTER}", "--timeout=300s")
        yield CLUSTER
    finally:
        platform.kubectl("delete", "cluster", CLUSTER, "--ignore-not-found", "--timeout=120s")


@pytest.fixture(scope="module", params=["host", "virtual"])
def talker(request: pytest.FixtureRequest, platform: Platform, administrator: str) -> Generator[Through]:
    """A pod that talks and serves, made and reached through the gateway alone."""
    path = "" if request.param == "host" else f"/clusters/{request.getfixturevalue('virtual')}"
    through = Through(platform, administrator, path)
    through.run("create", "namespace", NAMESPACE)
    try:
        eventually("the pod is accepted", lambda: through.run("apply", "-f", "-", stdin=POD), within_s=60)
        through.run("wait", "--for=condition=Ready", "pod/talker", "-n", NAMESPACE, "--timeout=180s")
        yield through
    finally:
        through.run("delete", "namespace", NAMESPACE, "--timeout=120s", check=False)


def test_logs_are_followed(talker: Through) -> None:
    with talker.started("logs", "-f", "-n", NAMESPACE, "talker") as (follow, said):
        first = [said.readline() for _ in range(3)]
        assert first[0].startswith("line ")
        time.sleep(1)
        assert follow.poll() is None, "the stream goes on"


def test_a_command_runs_in_the_pod_with_input_output_and_exit_code(talker: Through) -> None:
    assert talker.run("exec", "-n", NAMESPACE, "talker", "--", "echo", "hello there") == "hello there\n"
    blob = secrets.token_hex(200_000)
    echoed = talker.run("exec", "-i", "-n", NAMESPACE, "talker", "--", "cat", stdin=blob)
    assert echoed == blob
    failed = talker.run("exec", "-n", NAMESPACE, "talker", "--", "sh", "-c", "exit 7", check=False)
    assert "exit code 7" in failed


def test_a_file_is_copied_in_and_out(talker: Through, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(secrets.token_bytes(1_000_000))
    talker.run("cp", str(sent), f"{NAMESPACE}/talker:/tmp/blob")
    talker.run("cp", f"{NAMESPACE}/talker:/tmp/blob", str(back))
    assert back.read_bytes() == sent.read_bytes()


def test_a_port_is_forwarded(talker: Through) -> None:
    with talker.started("port-forward", "-n", NAMESPACE, "pod/talker", ":8000", "--address=127.0.0.1") as (
        _,
        said,
    ):
        line = said.readline()
        assert "Forwarding from 127.0.0.1:" in line, line
        port = int(line.split("127.0.0.1:", 1)[1].split()[0])
        for _ in range(3):
            with urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                assert answer.read() == b"served-by-talker\n"


def test_attach_shows_what_the_pod_prints(talker: Through) -> None:
    with talker.started("attach", "-n", NAMESPACE, "talker") as (_, said):
        seen = [said.readline() for _ in range(4)]
    assert any(line.startswith("line ") for line in seen), seen


def test_kubectl_is_who_signed_in_everywhere(platform: Platform, administrator: str, virtual: str) -> None:
    for path in ("", "/clusters/host", f"/clusters/{virtual}"):
        who = json.loads(Through(platform, administrator, path).run("auth", "whoami", "-o", "json"))
        assert who["status"]["userInfo"]["username"] == USER
        assert "edge:platform-admins" in who["status"]["userInfo"]["groups"]


def test_the_published_first_password_lets_read_and_not_write(platform: Platform) -> None:
    through = Through(platform, token_of(platform, "admin", "P@88w0rd"))
    assert "edge-system" in through.run("get", "namespaces")
    refused = through.run("create", "namespace", "never", check=False)
    assert "your password was chosen by somebody else" in refused


def test_lists_show_no_secret(platform: Platform, administrator: str, virtual: str) -> None:
    for group in ("iam/v1alpha1/users", "tenant/v1alpha1/clusters"):
        request = Request(
            f"{platform.gateway}/oapis/{group}", headers={"Authorization": f"Bearer {administrator}"}
        )
        with urlopen(request, timeout=20) as answer:
            body = answer.read()
        assert json.loads(body)["totalItems"] >= 1
        assert b"$2" not in body
        assert b"kubeconfig" not in body


def test_the_gateways_account_may_do_little_by_itself(platform: Platform) -> None:
    account = "--as=system:serviceaccount:edge-system:edge-apiserver"
    for verb, what in (("get", "secrets"), ("create", "pods"), ("delete", "users.iam.theriseunion.io")):
        done = platform.shell(f"kubectl auth can-i {verb} {what} -n default {account}")
        assert done.stdout.strip() == "no", (verb, what)
