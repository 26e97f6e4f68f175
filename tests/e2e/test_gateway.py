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
from copy import copy
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
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
        self.path, self.address = path, f"https://{address}"
        self.command = [
            *("kubectl", f"--server=https://{address}{path}", f"--token={token}"),
            *(f"--certificate-authority={authority}", "--tls-server-name=edge-apiserver"),
        ]
        self._helm = [
            *("helm", f"--kube-apiserver=https://{address}{path}", f"--kube-token={token}"),
            *(f"--kube-ca-file={authority}", "--kube-tls-server-name=edge-apiserver"),
        ]

    def helm(self, *args: str) -> str:
        done = subprocess.run(
            [*self._helm, *args],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=360,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def with_kubeconfig(self, file: Path) -> "Through":
        """The same by a kubeconfig and nothing else."""
        made = copy(self)
        made.command = ["kubectl", f"--kubeconfig={file}"]
        return made

    def run(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [*self.command, *args],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=360,
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
        platform.kubectl("wait", "--for=condition=Ready", f"cluster/{CLUSTER}", "--timeout=900s")
        yield CLUSTER
    finally:
        platform.kubectl("delete", "cluster", CLUSTER, "--ignore-not-found", "--timeout=360s")


@pytest.fixture(scope="module", params=["host", "virtual"])
def talker(request: pytest.FixtureRequest, platform: Platform, administrator: str) -> Generator[Through]:
    """A pod that talks and serves, made and reached through the gateway alone."""
    path = "" if request.param == "host" else f"/clusters/{request.getfixturevalue('virtual')}"
    through = Through(platform, administrator, path)
    through.run("create", "namespace", NAMESPACE)
    try:
        eventually("the pod is accepted", lambda: through.run("apply", "-f", "-", stdin=POD), within_s=180)
        through.run("wait", "--for=condition=Ready", "pod/talker", "-n", NAMESPACE, "--timeout=540s")
        yield through
    finally:
        through.run("delete", "namespace", NAMESPACE, "--timeout=360s", check=False)


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
            with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
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
        with urlopen(request, timeout=60) as answer:
            body = answer.read()
        assert json.loads(body)["totalItems"] >= 1
        assert b"$2" not in body
        assert b"kubeconfig" not in body


def test_the_gateways_account_may_do_little_by_itself(platform: Platform) -> None:
    account = "--as=system:serviceaccount:edge-system:edge-apiserver"
    for verb, what in (("get", "secrets"), ("create", "pods"), ("delete", "users.iam.theriseunion.io")):
        done = platform.shell(f"kubectl auth can-i {verb} {what} -n default {account}")
        assert done.stdout.strip() == "no", (verb, what)


def test_kubectl_watches(talker: Through) -> None:
    with talker.started("get", "configmaps", "-n", NAMESPACE, "--watch", "-o", "name") as (follow, said):
        talker.run("create", "configmap", "seen", "-n", NAMESPACE)
        assert any("configmap/seen" in said.readline() for _ in range(10))
        assert follow.poll() is None, "the watch goes on"
    talker.run("delete", "configmap", "seen", "-n", NAMESPACE)


def test_helm_installs_upgrades_and_removes(talker: Through, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: small\nversion: 1.0.0\n")
    manifest = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: small}\ndata: {colour: {{ .Values.colour }}}\n"
    )
    (chart / "templates" / "small.yaml").write_text(manifest)
    (chart / "values.yaml").write_text("colour: blue\n")
    talker.helm("install", "small", str(chart), "-n", NAMESPACE, "--wait")
    talker.helm("upgrade", "small", str(chart), "-n", NAMESPACE, "--set", "colour=green", "--wait")
    colour = talker.run("get", "configmap", "small", "-n", NAMESPACE, "-o", "jsonpath={.data.colour}")
    assert colour == "green"
    talker.helm("uninstall", "small", "-n", NAMESPACE, "--wait")
    assert "small" not in talker.run("get", "configmaps", "-n", NAMESPACE, "-o", "name")


def test_a_downloaded_kubeconfig_runs_copies_follows_and_forwards(
    platform: Platform, talker: Through, administrator: str, tmp_path: Path
) -> None:
    """The same as with a token, by a file that anybody may make in their own name (I3)."""
    cluster = talker.path.removeprefix("/clusters/") or "host"
    asked = {"cluster": cluster, "ttl": "1h", "name": "e2e", "server": talker.address}
    made = platform.shell(
        'curl -sf -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" '
        '$API/oapis/iam.theriseunion.io/v1alpha1/me/kubeconfigs -d "$ASKED"',
        API=platform.gateway,
        TOKEN=administrator,
        ASKED=json.dumps(asked),
    )
    assert made.returncode == 0, made.stderr
    file = tmp_path / "kubeconfig"
    file.write_text(made.stdout)
    own = talker.with_kubeconfig(file)
    assert own.run("exec", "-n", NAMESPACE, "talker", "--", "echo", "hello") == "hello\n"
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(secrets.token_bytes(100_000))
    own.run("cp", str(sent), f"{NAMESPACE}/talker:/tmp/by-file")
    own.run("cp", f"{NAMESPACE}/talker:/tmp/by-file", str(back))
    assert back.read_bytes() == sent.read_bytes()
    with own.started("logs", "-f", "-n", NAMESPACE, "talker") as (_, said):
        assert said.readline().startswith("line ")
    with own.started("port-forward", "-n", NAMESPACE, "pod/talker", ":8000", "--address=127.0.0.1") as (
        _,
        said,
    ):
        port = int(said.readline().split("127.0.0.1:", 1)[1].split()[0])
        with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            assert answer.read() == b"served-by-talker\n"


SHOP = f"""
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: {NAMESPACE}}}
spec: {{selector: {{app: shop}}, ports: [{{port: 80, targetPort: 8000}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: alias, namespace: {NAMESPACE}}}
spec: {{type: ExternalName, externalName: kubernetes.default.svc.cluster.local}}
---
apiVersion: iam.theriseunion.io/v1alpha1
kind: ReverseProxy
metadata: {{name: shop, namespace: {NAMESPACE}}}
spec:
  matcher: {{path: /e2e-shop/*}}
  upstream: {{host: shop.{NAMESPACE}.svc, port: 80, scheme: http}}
  directives: {{stripPathPrefix: /e2e-shop}}
---
apiVersion: iam.theriseunion.io/v1alpha1
kind: ReverseProxy
metadata: {{name: alias, namespace: {NAMESPACE}}}
spec:
  matcher: {{path: /e2e-alias/*}}
  upstream: {{host: alias.{NAMESPACE}.svc, port: 443, scheme: https, insecureSkipVerify: true}}
"""


@pytest.mark.parametrize("talker", ["host"], indirect=True)
def test_G5_a_service_is_reached_by_its_reverse_proxy_and_an_external_name_is_not(
    platform: Platform, talker: Through, administrator: str
) -> None:
    """By the cluster's own DNS: a Service is its own canonical name, an ExternalName is another's (S17)."""
    talker.run("label", "pod", "talker", "-n", NAMESPACE, "app=shop", "--overwrite")
    talker.run("apply", "-f", "-", stdin=SHOP)

    def asked(path: str) -> tuple[int, str]:
        request = Request(f"{platform.gateway}{path}", headers={"Authorization": f"Bearer {administrator}"})
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as refused:
            return refused.code, refused.read().decode()

    eventually("the page is served", lambda: asked("/e2e-shop/index.html") == (200, "served-by-talker\n"))
    eventually("the other is refused", lambda: asked("/e2e-alias/")[0] == 503)
    assert "ExternalName" in asked("/e2e-alias/")[1]
    state = ("get", "reverseproxy", "shop", "-n", NAMESPACE, "-o", "jsonpath={.status.state}")
    eventually("it is told as active", lambda: talker.run(*state) == "Active")
