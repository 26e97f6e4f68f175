"""A gateway in this process before a real API server, and people to sign in as."""

import asyncio
import json
import os
import secrets
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from edge.apiserver.configuration.reading import read_settings
from edge.apiserver.mirrors.kinds import SERVED
from edge.apiserver.server import ApiServer
from edge.iam.accounts import MUST_CHANGE_ANNOTATION
from edge.iam.builtin import everything
from edge.iam.firstadmin import admin_binding
from edge.iam.passwords import hash_password
from edge.iam.types import User, UserSpec
from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import tool
from edge_kube.meta import ObjectMeta
from edge_sdk.clock import Clock, SystemClock

PASSWORD = "P@88w0rd"
CLIENT = {"client_id": "edge-console", "client_secret": "edge-secret"}
IAM = "/oapis/iam.theriseunion.io/v1alpha1"
USERS = f"{IAM}/users"
QUICK_HASH = hash_password(PASSWORD, cost=4)

TEST_SETTINGS = {
    "server.bindAddress": "127.0.0.1:0",
    "server.onlyFirst": "true",
    "server.tls.port": "0",
    "server.drain": "0s",
    "authentication.lockout.perAddress": "0",  # all tests come from one address
    "rateLimit.anonymousQPS": "0",
    "server.loopbackMembers": "true",
    "kubeconfig.perUser": "1000",  # all tests of a cluster have them made for one administrator
}
PATIENCE_S = 60.0
"""How long is waited for what must come: for machines that do much else; others do not wait for it."""


ADMINS = ("--clusterrole=cluster-admin", "--group=edge:platform-admins")


@contextmanager
def cluster_behind() -> Generator[LightCluster]:
    """An API server as a gateway needs it: the platform's kinds, what ships with them, an administrator."""
    with LightCluster() as started:
        started.kubectl("create", "namespace", "edge-system")
        started.kubectl("create", "clusterrolebinding", "edge-platform-admins", *ADMINS)
        asyncio.run(furnish(started))
        yield started


async def furnish(cluster: LightCluster) -> None:
    await cluster.install(*SERVED)
    async with cluster.client() as client:
        for one in everything():
            await client.create(one, manager="test")
        await make_user(client, "admin", admin=True)


@dataclass
class MovedClock:
    """The system's clock, moved by `ahead_s`."""

    ahead_s: float = 0.0
    system: Clock = field(default_factory=SystemClock)

    def now_s(self) -> float:
        return self.system.now_s() + self.ahead_s

    def monotonic_s(self) -> float:
        return self.system.monotonic_s()


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class KubectlFailed(Exception):
    """kubectl said no; the message is its standard error."""


class RunningGateway:
    """`async with RunningGateway(connection) as gateway`; ask it with `get`, sign in with `sign_in`."""

    def __init__(self, connection: Connection, settings: Mapping[str, str] | None = None) -> None:
        self.clock = MovedClock()
        flags = {**TEST_SETTINGS, **(settings or {})}
        read = read_settings(file=None, environ={}, flags=flags)
        self.server = ApiServer(connection, read, self.clock)

    async def __aenter__(self) -> "RunningGateway":
        await self.server.start()
        await self.server.wait_synced()
        self.session = aiohttp.ClientSession(auto_decompress=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.server.stop()

    @property
    def url(self) -> str:
        host, port = self.server.addresses[0]
        return f"http://{host}:{port}"

    @property
    def port(self) -> int:
        return self.server.addresses[0][1]

    async def ask(self, method: str, path: str, *, token: str = "", **options: Any) -> Answer:
        headers = {"Accept-Encoding": "identity", **options.pop("headers", {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with self.session.request(
            method, f"{self.url}{path}", headers=headers, allow_redirects=False, **options
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, *, token: str = "", **options: Any) -> Answer:
        return await self.ask("GET", path, token=token, **options)

    async def sign_in(self, name: str = "admin", password: str = PASSWORD, **form: str) -> Answer:
        fields = {"grant_type": "password", "username": name, "password": password, **CLIENT, **form}
        return await self.ask("POST", "/oauth/token", data=fields)

    async def token(self, name: str = "admin", password: str = PASSWORD) -> str:
        answer = await self.sign_in(name, password)
        assert answer.status == 200, answer.body
        return answer.json()["access_token"]

    async def knows(self, user: str, *, admin: bool = False, state: str = "") -> None:
        """Until the gateway's own copy holds this user, its administrator's binding, its state."""
        token = await self.token()
        path = f"{IAM}/users/{user}"
        await self.until(path, 200, token=token)
        if admin:
            await self.until(f"{IAM}/iamrolebindings/{user}-platform-admin", 200, token=token)
        async with asyncio.timeout(PATIENCE_S):
            while state and (await self.get(path, token=token)).json()["status"].get("state") != state:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def up_to_date(self) -> None:
        """Until it is proven that all that was written before this call about users and rights is known."""
        asked_at = time.monotonic()
        beats = self.server._picture.rights.beats
        async with asyncio.timeout(PATIENCE_S):
            while beats.age_s() > time.monotonic() - asked_at:  # an earlier proof says nothing of it
                await beats.prove()
                await asyncio.sleep(0.02)

    async def until(self, path: str, status: int, *, token: str = "", within_s: float = PATIENCE_S) -> None:
        """Ask again and again until the answer has this status. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while (await self.get(path, token=token)).status != status:  # noqa: ASYNC110 - it changes elsewhere
                await asyncio.sleep(0.02)

    async def kubectl(
        self, token: str, *args: str, stdin: str = "", path: str = "", check: bool = True
    ) -> str:
        """Real kubectl with a token, over TLS. Raises KubectlFailed with what it said."""
        process = await self.start_kubectl(token, *args, path=path)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 2 * PATIENCE_S)
        if check and process.returncode:
            raise KubectlFailed(err.decode())
        return out.decode() if check else out.decode() + err.decode()

    async def start_kubectl(self, token: str, *args: str, path: str = "") -> asyncio.subprocess.Process:
        host, port = self.server.addresses[-1]
        command = [
            tool("kube"),
            "kubectl",
            f"--server=https://{host}:{port}{path}",
            "--insecure-skip-tls-verify",
        ]
        command += [f"--token={token}", *args]
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        )


async def somebody(
    gateway: "RunningGateway", client: Client, *, admin: bool = False, must_change: bool = False
) -> str:
    """A user of one test alone, known to the gateway: what is done to them is seen by no other test."""
    name = f"somebody-{secrets.token_hex(3)}"
    await make_user(client, name, admin=admin, must_change=must_change)
    await gateway.knows(name, admin=admin)
    return name


async def make_user(
    client: Client,
    name: str,
    *,
    admin: bool = False,
    groups: Sequence[str] = (),
    must_change: bool = False,
    password_hash: str = QUICK_HASH,
) -> User:
    """A user with the password PASSWORD; an admin is bound to platform-admin."""
    annotations = {MUST_CHANGE_ANNOTATION: "true"} if must_change else {}
    user = await client.create(
        User(
            metadata=ObjectMeta(name=name, annotations=annotations),
            spec=UserSpec(encrypted_password=password_hash, groups=tuple(groups)),
        ),
        manager="test",
    )
    if admin:
        await client.create(admin_binding(name), manager="test")
    return user
