"""docs/permissions.md, followed to the letter: its YAML, every command, and what they answer (I2–I4, I15).

A team gets one workspace with kubectl alone; a member works there, is refused next door, and asks why.
"""

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, NamedTuple

import pytest_asyncio
import yaml
from tests.support.gateway import IAM, PASSWORD, RunningGateway
from tests.support.members import Members
from tests.support.projected import Projected, becomes, projected_goes
from tests.support.shipped import all_shipped

from edge.apiserver.mirrors.kinds import SERVED
from edge.iam.types import IAMRoleBinding, ScopePattern
from edge.projection.room import MEMBER_WATCHES
from edge.tenancy.room import room as tenancy
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.harness import Kube
from edge_kube.harness.authz import authorization_config
from edge_kube.harness.pki import TestAuthority
from edge_kube.harness.processes import tool
from edge_kube.meta import ObjectMeta

__all__ = ["projected_goes"]

PAGE: Final = (Path(__file__).parents[3] / "docs" / "permissions.md").read_text()
YAML, QUOTA, PATTERN, ACTING, REVIEWS = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
GIVE, MEMBER, WHY, OTHERS = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
"""The page's commands, block by block; a block more is a test more."""


class Ran(NamedTuple):
    code: int
    said: str


class Reader:
    """Somebody with the page, a terminal and an empty folder."""

    def __init__(self, kube: Kube, gateway: RunningGateway, folder: Path) -> None:
        self.kube = kube
        self.gateway = gateway
        self._folder = folder
        for name, command in (
            ("kubectl", f"{tool('kube')} kubectl"),
            ("edge", f"{sys.executable} -c 'import sys; from edge.cli.main import main; sys.exit(main())'"),
        ):
            shim = folder / "bin" / name
            shim.parent.mkdir(exist_ok=True)
            shim.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            shim.chmod(0o755)
        (folder / "dev-team.yaml").write_text(YAML)

    async def types(self, block: str) -> Mapping[str, Ran]:
        """Run a block, command by command in one shell; the outcome of each by its words."""
        commands = commands_of(block)
        outs = [self._folder / f"out-{n}" for n in range(len(commands))]
        script = "".join(
            f"{{ {command}\n}} > {shlex.quote(str(out))} 2>&1; echo $? >> codes\n"
            for command, out in zip(commands, outs, strict=True)
        )
        (self._folder / "codes").write_text("")
        (self._folder / "script").write_text(script)
        process = await asyncio.create_subprocess_exec(
            "bash", "script", cwd=self._folder, env=self._environment()
        )
        await asyncio.wait_for(process.wait(), 300)
        codes = (self._folder / "codes").read_text().split()
        return {
            command: Ran(int(code), out.read_text())
            for command, code, out in zip(commands, codes, outs, strict=True)
        }

    def _environment(self) -> dict[str, str]:
        addresses = [f"{host}:{port}" for host, port in self.gateway.server.addresses]
        return {
            "PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "XDG_CONFIG_HOME": str(self._folder),
            "KUBECONFIG": str(self.kube.cluster.kubeconfig),
            "ADMIN_PASSWORD": PASSWORD,
            "API": addresses[0],
            "API_TLS": addresses[-1],
        }


def commands_of(block: str) -> list[str]:
    """Commands without their comments; a line that ends with a backslash goes on."""
    joined = block.replace("\\\n", "")
    return [line.split("  #")[0].rstrip() for line in joined.splitlines() if line.strip()]


def answer(ran: Mapping[str, Ran], begins: str) -> Ran:
    (found,) = [one for command, one in ran.items() if command.startswith(begins)]
    return found


@pytest_asyncio.fixture
async def reader(kube: Kube, tmp_path: Path) -> AsyncIterator[Reader]:
    """A platform as it is installed: controller with admission and projection, and a gateway."""
    await kube.apply(Namespace(metadata=ObjectMeta(name="edge-system")))
    await kube.install(*SERVED)
    async with Members(MEMBER_WATCHES) as members:
        await Projected(kube, members).start(tenancy(), webhooks=True)
        await all_shipped(kube)
        async with RunningGateway(kube.cluster.connection) as gateway:
            yield Reader(kube, gateway, tmp_path)
        await kube.stop()


async def test_the_page_works_as_it_is_printed(reader: Reader) -> None:
    kube, gateway = reader.kube, reader.gateway
    made = answer(await reader.types(GIVE), "kubectl apply")
    assert made.code == 0, made.said
    await kube.eventually(Namespace, "dev-b")
    await kube.eventually(
        IAMRoleBinding, "developers", lambda one: any(c.reason == "InForce" for c in one.status.conditions)
    )
    await kube.eventually(
        Workspace, "dev-team", lambda one: any(c.reason == "InPlace" for c in one.status.conditions)
    )
    for user in ("dora", "mia"):
        await becomes(kube.client, True, user, "create", "configmaps", "dev-a")
        await gateway.knows(user)
    await gateway.up_to_date()
    token = await gateway.token("dora", "first password of dora")
    for name in ("dev-a", "dev-b"):
        await gateway.until(f"/api/v1/namespaces/{name}", 200, token=token)
    given = await reader.types(GIVE)
    assert '"InPlace"' in answer(given, "kubectl get workspace").said
    assert '"InForce"' in answer(given, "kubectl get iamrolebindings").said

    seen = await reader.types(MEMBER)
    assert answer(seen, "TOKEN=").code == 0
    listed = answer(seen, "dora get namespaces")
    assert re.findall(r"^(\S+) +\d", listed.said, re.M) == ["dev-a", "dev-b"], listed.said
    assert answer(seen, "dora create configmap").said == "configmap/colours created\n"
    refused = answer(seen, "dora get configmaps -n default")
    assert refused.code != 0
    assert 'User "dora" cannot list resource "configmaps"' in refused.said

    why = await reader.types(WHY)
    assert answer(why, "echo").code == 0
    assert answer(why, "edge auth can-i") == Ran(0, "yes\n")
    by = "binding developers, role workspace-business-developer, template project-manage-configurations"
    assert by in answer(why, "edge auth why update").said
    no = answer(why, "edge auth why list configmaps -n default")
    assert no.code == 1
    assert "no: you may not list configmaps at namespace/default" in no.said
    assert "would allow it: role " in no.said

    others = await reader.types(OTHERS)
    assert "may delete secrets at namespace/dev-a" in answer(others, "edge auth why delete secrets").said
    able = answer(others, "edge auth who-can").said
    assert "Group developers: role workspace-business-developer at workspace/dev-team" in able
    assert "User mia: role workspace-dev-team-1b1ad1a3-admin" in able

    await _asks_over_http(gateway)


async def _asks_over_http(gateway: RunningGateway) -> None:
    """The request bodies and queries that the page prints."""
    token = await gateway.token()
    (body,) = re.findall(r'`(\{"scope": .*?\}\})`', PAGE.replace("\n", " "), re.S)
    for path in ("explain", "who-can"):
        said = await gateway.ask("POST", f"{IAM}/access/{path}", token=token, json=json.loads(body))
        assert said.status == 200, said.body
    for path in ("me/access?scope=namespace/dev-a", "me/scopes", "access/grants?kind=dangling"):
        assert (await gateway.get(f"{IAM}/{path}", token=token)).status == 200, path


async def test_a_quota_a_pattern_and_a_role_to_act_are_admitted_as_they_are_printed(reader: Reader) -> None:
    kube = reader.kube
    quota = yaml.safe_load(QUOTA)
    meta = {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "dev-team"},
    }
    await kube.apply({**meta, **quota})
    await kube.apply(yaml.safe_load(PATTERN))
    await kube.apply(yaml.safe_load(ACTING))
    await kube.eventually(
        ScopePattern, "fields", lambda one: one.status.registered is True, namespace="edge-system"
    )


def test_the_configuration_for_reviews_is_the_one_that_is_tested() -> None:
    """What a real API server is started with in test_access_reviews.py, as the page prints it."""
    printed = yaml.safe_load(REVIEWS)
    tested = authorization_config(Path(mkdtemp()), "https://127.0.0.1:1", TestAuthority())
    webhook = next(one for one in printed["authorizers"] if one["type"] == "Webhook")["webhook"]
    assert printed["apiVersion"] == tested["apiVersion"]
    assert set(webhook) <= set(tested["authorizers"][0]["webhook"])


def test_every_block_of_the_page_is_run() -> None:
    assert len(re.findall(r"```(yaml|bash)", PAGE)) == 9
    for block in (GIVE, MEMBER, WHY, OTHERS):
        assert all(commands_of(block))
