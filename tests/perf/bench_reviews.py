"""SubjectAccessReviews over HTTP at c=50, beside kube-apiserver's own of the same run (I10; design §13 B6).

Both hold the same rights: IAM roles and bindings here, there the RBAC objects that say the same. Both are
asked the same questions by the same load generator (`ab`, Debian package apache2-utils) over mutual TLS with
keep-alive: a right by user, a right by group, a denial, a path.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.gateway import make_user

from edge.apiserver.mirrors.kinds import SERVED
from edge.apiserver.reviews.wire import PATH
from edge.iam.builtin import everything
from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleRef,
    Subject,
)
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port
from edge_kube.meta import ObjectMeta

NATIVE = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
RBAC = "rbac.authorization.k8s.io"
REQUESTS, CONNECTIONS, ROUNDS = 5_000, 50, 3
PLACES, MEMBERS = 20, 50
QUESTIONS: dict[str, dict[str, Any]] = {
    "user": {
        "user": "user-7",
        "resourceAttributes": {"namespace": "place-7", "verb": "get", "resource": "pods"},
    },
    "group": {
        "user": "user-8",
        "groups": ["team-3", "system:authenticated"],
        "resourceAttributes": {
            "namespace": "place-3",
            "verb": "list",
            "group": "apps",
            "resource": "deployments",
        },
    },
    "denied": {
        "user": "user-7",
        "resourceAttributes": {"namespace": "place-8", "verb": "delete", "resource": "pods"},
    },
    "path": {"user": "user-1", "nonResourceAttributes": {"verb": "get", "path": "/nowhere"}},
}


def main() -> int:
    if shutil.which("ab") is None:
        print("ab is missing: apt-get install apache2-utils", file=sys.stderr)
        return 1
    with LightCluster() as cluster, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(prepare(cluster))
        pair = cluster.authority.issue("bench", groups=("system:masters",), sans=("127.0.0.1",))
        for file, content in (
            ("tls.crt", pair.cert),
            ("tls.key", pair.key),
            ("ca.crt", cluster.authority.cert),
        ):
            (folder / file).write_bytes(content)
        (folder / "client.pem").write_bytes(pair.cert + pair.key)
        for question, spec in QUESTIONS.items():
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
            (folder / question).write_text(json.dumps(review))
        measure(cluster, folder)
    return 0


async def prepare(cluster: LightCluster) -> None:
    """A role of five rules in 20 namespaces, in each for 50 users and a group; as ours and natively."""
    await cluster.install(*SERVED)
    cluster.kubectl("create", "namespace", "edge-system")
    rules = [
        PolicyRule(verbs=("get", "list", "watch"), api_groups=(group,), resources=(resource,))
        for group, resource in (
            ("", "pods"),
            ("", "services"),
            ("apps", "deployments"),
            ("batch", "jobs"),
            ("", "configmaps"),
        )
    ]
    async with cluster.client() as client:
        for one in everything():
            await client.create(one, manager="bench")
        meta = ObjectMeta(name="reader", labels={f"{GROUP}/scope": "namespace"})
        await client.create(IAMRole(metadata=meta, spec=IAMRoleSpec(rules=tuple(rules))), manager="bench")
        native = [
            {"verbs": one.verbs, "apiGroups": one.api_groups, "resources": one.resources} for one in rules
        ]
        role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}}
        await client.create({**role, "rules": native}, manager="bench")
        await asyncio.gather(*(make_user(client, f"user-{n}") for n in range(MEMBERS)))
        await asyncio.gather(*(place(client, n) for n in range(PLACES)))


async def place(client: Client, number: int) -> None:
    name = f"place-{number}"
    people = [("User", f"user-{n}") for n in range(MEMBERS) if name != "place-8" or n != 7]
    subjects = [*people, ("Group", f"team-{number}")]
    await client.create(Namespace(metadata=ObjectMeta(name=name)), manager="bench")
    labels = {f"{GROUP}/scope": "namespace", f"{GROUP}/scope-value": name}
    ref = RoleRef(api_group=GROUP, kind="IAMRole", name="reader")
    spec = IAMRoleBindingSpec(
        role_ref=ref, subjects=tuple(Subject(kind=kind, name=one) for kind, one in subjects)
    )
    await client.create(
        IAMRoleBinding(metadata=ObjectMeta(name=name, labels=labels), spec=spec), manager="bench"
    )
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "readers", "namespace": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": kind, "name": one, "apiGroup": RBAC} for kind, one in subjects],
    }
    await client.create(binding, manager="bench")


def measure(cluster: LightCluster, folder: Path) -> None:
    port = free_port()
    ours, theirs = f"https://127.0.0.1:{port}{PATH}", f"{cluster.server}{NATIVE}"
    flags = [
        f"--server.kubeconfig={cluster.kubeconfig}",
        "--server.bindAddress=127.0.0.1:0",
        "--server.onlyFirst=true",
        "--server.tls.enabled=false",
        "--server.drain=0s",
        "--authorization.webhook.enabled=true",
        f"--authorization.webhook.bindAddress=127.0.0.1:{port}",
        f"--authorization.webhook.certFile={folder}/tls.crt",
        f"--authorization.webhook.keyFile={folder}/tls.key",
        f"--authorization.webhook.clientCAFile={folder}/ca.crt",
    ]
    command = [sys.executable, "-m", "edge.apiserver.main", *flags]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            wait_answered(ours, folder)
            agree(ours, theirs, folder)
            compare(ours, theirs, folder)
        finally:
            process.terminate()


def wait_answered(url: str, folder: Path, within_s: float = 60) -> None:
    ends = time.monotonic() + within_s
    while '"allowed":true' not in ask(url, folder, "user"):
        if time.monotonic() > ends:
            raise TimeoutError(f"no review was allowed within {within_s:g} s: {ask(url, folder, 'user')}")
        time.sleep(0.2)


def agree(ours: str, theirs: str, folder: Path) -> None:
    """Who answers something else is not measured."""
    for question in QUESTIONS:
        said = ['"allowed":true' in ask(url, folder, question).replace(" ", "") for url in (ours, theirs)]
        if said[0] is not said[1]:
            raise AssertionError(f"{question}: {said}")


def ask(url: str, folder: Path, question: str) -> str:
    command = [
        "curl",
        "-sk",
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        f"@{folder / question}",
    ]
    command += ["--cert", f"{folder}/tls.crt", "--key", f"{folder}/tls.key", url]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def compare(ours: str, theirs: str, folder: Path) -> None:
    """The two in turn, so that both see the same machine."""
    for url in (ours, theirs):
        load(url, folder, "user", 1000)
    seconds, worst_ms = {ours: 0.0, theirs: 0.0}, {ours: 0.0, theirs: 0.0}
    asked = 0
    for _ in range(ROUNDS):
        for question in QUESTIONS:
            asked += REQUESTS
            for url in (ours, theirs):
                took_s, p99_ms = load(url, folder, question, REQUESTS)
                seconds[url] += took_s
                worst_ms[url] = max(worst_ms[url], p99_ms)
    rate, peer = asked / seconds[ours], asked / seconds[theirs]
    tell("SubjectAccessReview, c=50", rate, "/s", "", f"{peer:.0f}/s")
    tell("the same, of the peer's rate", rate / peer, "x", ">= 1.5")
    tell("the same, worst P99", worst_ms[ours], "ms", "", f"{worst_ms[theirs]:.0f} ms")


def load(url: str, folder: Path, question: str, requests: int) -> tuple[float, float]:
    """Seconds for all requests, and the P99 in ms. Raises RuntimeError when one failed."""
    command = ["ab", "-q", "-k", "-n", str(requests), "-c", str(CONNECTIONS), "-E", f"{folder}/client.pem"]
    command += ["-p", str(folder / question), "-T", "application/json", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(said)
    return (
        _number(r"Time taken for tests:\s+([\d.]+)", said),
        _number(r"\s99%\s+(\d+)", said),
    )


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"ab did not say {pattern}: {text[-500:]}")
    return float(found[1])


def tell(bench: str, value: float, unit: str, target: str = "", peer: str = "") -> None:
    print(
        json.dumps({"bench": bench, "value": round(value, 3), "unit": unit, "target": target, "peer": peer})
    )


if __name__ == "__main__":
    sys.exit(main())
