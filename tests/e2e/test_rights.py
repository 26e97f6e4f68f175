"""A team gets one workspace with kubectl alone: its member works there, natively and through the gateway, and
is nobody next door (I2, I3, I15). What the gateway allows, the API server behind it allows too.
"""

from collections.abc import Generator

import pytest
from tests.e2e.instance import Platform, eventually
from tests.e2e.test_gateway import Through, token_of

MEMBER, PASSWORD = "rights-mel", "e2e-Passw0rd"
OWN, NEXT = "rights-own", "rights-next"

TEAM = f"""
apiVersion: iam.theriseunion.io/v1alpha1
kind: User
metadata: {{name: {MEMBER}}}
spec: {{encryptedPassword: {PASSWORD}, groups: [rights-developers, "kubeadm:cluster-admins"]}}
---
apiVersion: scope.theriseunion.io/v1alpha1
kind: Workspace
metadata: {{name: rights-team}}
spec: {{template: {{namespaces: [{OWN}]}}}}
"""

BINDING = """
apiVersion: iam.theriseunion.io/v1alpha1
kind: IAMRoleBinding
metadata:
  name: rights-developers
  labels: {iam.theriseunion.io/scope: workspace, iam.theriseunion.io/scope-value: rights-team}
spec:
  roleRef: {apiGroup: iam.theriseunion.io, kind: IAMRole, name: workspace-admin}
  subjects: [{kind: Group, name: rights-developers}]
"""


@pytest.fixture(scope="module")
def team(platform: Platform) -> Generator[Through]:
    """kubectl through the gateway as a member of the team."""
    platform.kubectl("apply", "-f", "-", stdin=TEAM)
    platform.kubectl("apply", "-f", "-", stdin=BINDING)
    platform.kubectl("create", "namespace", NEXT)
    found: list[str] = []

    def signed_in() -> bool:
        found[:] = [token_of(platform, MEMBER, PASSWORD)]
        return found[0].count(".") == 2

    try:
        eventually("the member can sign in", signed_in)
        yield Through(platform, found[0])
    finally:
        platform.kubectl("delete", "namespace", NEXT, "--wait=false")
        platform.kubectl("delete", "namespace", OWN, "--wait=false")
        uid = platform.kubectl("get", "workspace", "rights-team", "-o", "jsonpath={.metadata.uid}")
        platform.kubectl("annotate", "workspace", "rights-team", f"theriseunion.io/force-delete={uid}")
        platform.kubectl("delete", "-f", "-", "--ignore-not-found", "--timeout=180s", stdin=TEAM)


def can(platform: Platform, verb: str, what: str, namespace: str) -> str:
    """What the host's own RBAC says of the member: no gateway, no groups."""
    return platform.shell(f"kubectl auth can-i {verb} {what} -n {namespace} --as={MEMBER}").stdout.strip()


def test_I3_a_member_works_in_the_workspace_through_the_gateway(platform: Platform, team: Through) -> None:
    eventually("rights are there", lambda: team.run("get", "configmaps", "-n", OWN))
    team.run("create", "configmap", "mine", "-n", OWN, "--from-literal=a=b")
    assert "mine" in team.run("get", "configmaps", "-n", OWN)
    refused = team.run("get", "configmaps", "-n", NEXT, check=False)
    assert "forbidden" in refused.lower()
    everywhere = team.run("get", "configmaps", "-A")
    assert "mine" in everywhere, "a list over all namespaces is one over those of the caller"
    assert NEXT not in everywhere


def test_I3_plain_kubectl_is_held_to_the_same(platform: Platform, team: Through) -> None:
    eventually("native rights are there", lambda: can(platform, "create", "configmaps", OWN) == "yes")
    assert can(platform, "get", "configmaps", NEXT) == "no"
    assert can(platform, "get", "nodes", OWN) == "no"
    platform.kubectl("delete", "iamrolebinding", "rights-developers")
    try:
        eventually("they go", lambda: can(platform, "create", "configmaps", OWN) == "no", within_s=180)
    finally:
        platform.kubectl("apply", "-f", "-", stdin=BINDING)


def test_S6_a_group_of_the_hosts_own_rbac_gives_nothing(platform: Platform, team: Through) -> None:
    who = team.run("auth", "whoami")
    assert "edge:group:kubeadm:cluster-admins" in who
    assert "forbidden" in team.run("get", "secrets", "-n", "kube-system", check=False).lower()
