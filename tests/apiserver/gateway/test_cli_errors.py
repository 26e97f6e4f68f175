"""What `edge` says and how it ends when something is wrong: a sentence, never a traceback (issue 5 §2).

`Person.types` fails at any traceback.
"""

import asyncio
import base64
import json
import secrets
import time
from pathlib import Path

import yaml
from tests.support.gateway import RunningGateway, make_user
from tests.support.person import Person, path_with_edge

from edge_kube.client import Client
from edge_kube.harness import LightCluster


async def test_tls_needs_the_certificate_and_works_with_it(gateway: RunningGateway, tmp_path: Path) -> None:
    _, port = gateway.server.addresses[-1]
    token = await gateway.token()
    plain = Person(gateway, tmp_path, token)
    file = yaml.safe_load(await plain.gets("kubeconfig", "-f", "-"))
    ca = tmp_path / "ca.crt"
    ca.write_bytes(base64.b64decode(file["clusters"][0]["cluster"]["certificate-authority-data"]))
    person = Person(gateway, tmp_path, token, server=f"https://localhost:{port}")
    code, out, err = await person.types("get", "users")
    assert (code, out) == (1, "")
    assert "certificate" in err
    assert "--ca" in err
    assert "admin" in await person.gets("get", "users", "--ca", str(ca), "-o", "name")
    del person.env["EDGE_TOKEN"]
    person.env["EDGE_CA"] = str(ca)
    await person.signs_in()
    del person.env["EDGE_CA"]
    assert "admin" in await person.gets("get", "users", "-o", "name"), "login keeps where the certificate is"
    for wrong in (tmp_path / "nothing", tmp_path / "words"):
        (tmp_path / "words").write_text("words")
        code, _, err = await person.types("get", "users", "--ca", str(wrong))
        assert code in (1, 2)
        assert "--ca" in err


async def test_what_is_not_understood_ends_with_2(gateway: RunningGateway, tmp_path: Path) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    for text, says in (
        ("a: [", "was not read"),
        ("just words", "holds no objects"),
        ("", "holds no objects"),
        ("{apiVersion: v1, kind: Nothing, metadata: {name: a}}", 'no kind "Nothing"'),
        ("{kind: List, apiVersion: v1, items: [1]}", "holds no objects"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: words}", "holds no objects"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: Not A Name}}", "Not A Name"),
    ):
        code, out, err = await person.types("apply", "-f", "-", stdin=text)
        assert (code, out, says in err) == (2, "", True), (text, code, err)
    for words in (("get", "userz"), ("fly",), ("delete", "users")):
        assert (await person.types(*words))[0] == 2


async def test_a_server_that_is_none_is_told_with_its_address(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path, "some-token")
    for server, ends in (
        ("http://127.0.0.1:1", 1), ("http://no-such-host.invalid", 1),
        ("nonsense", 2), ("ftp://127.0.0.1:1", 2),
    ):  # fmt: skip
        code, out, err = await person.types("get", "users", "--server", server)
        assert (code, out, server in err) == (ends, "", True), err


async def test_a_refusal_and_a_conflict_are_told_in_the_gateways_words(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    ada = Person(gateway, tmp_path, await gateway.token("ada"))
    code, out, err = await ada.types("get", "users")
    assert (code, out) == (1, "")
    assert 'User "ada" cannot list' in err
    admin, name = Person(gateway, tmp_path, await gateway.token()), f"map-{secrets.token_hex(3)}"
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}
    token = await gateway.token()
    path = "/api/v1/namespaces/default/configmaps"
    assert (await gateway.ask("POST", path, token=token, json=manifest)).status == 201
    changed = json.dumps(manifest | {"data": {"a": "2"}})
    code, _, err = await admin.types("apply", "-f", "-", stdin=changed)
    assert (code, "conflict" in err) == (1, True)
    assert "applied" in await admin.gets("apply", "-f", "-", "--force-conflicts", stdin=changed)
    await admin.gets("delete", "configmap", name)


async def test_who_has_seen_enough_of_a_long_list_ends_it_in_silence(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    env = {**person.env, "PATH": path_with_edge(tmp_path / "bin")}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", '{ edge get clusterroles -o json; echo "ended with $?" >&2; } | head -n 1'),
        env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert (out, err) == (b"{\n", b"ended with 0\n")


async def test_too_many_requests_are_waited_for_and_a_long_wait_is_told(
    gateway_cluster: LightCluster, kube: Client, tmp_path: Path
) -> None:
    limits = {"rateLimit.qps": "2", "rateLimit.burst": "2", "rateLimit.maxDelay": "0s"}
    async with RunningGateway(gateway_cluster.connection, limits) as gateway:
        person = Person(gateway, tmp_path, await gateway.token())
        file = tmp_path / "many.yaml"
        one = {"apiVersion": "iam.theriseunion.io/v1alpha1", "kind": "Category", "spec": {"icon": "box"}}
        file.write_text(yaml.safe_dump_all([one | {"metadata": {"name": f"c{at}"}} for at in range(6)]))
        assert (await person.gets("apply", "-f", str(file), "--dry-run=server")).count("created") == 6
    async with RunningGateway(gateway_cluster.connection) as gateway:
        name = f"user-{secrets.token_hex(3)}"
        await make_user(kube, name)
        await gateway.knows(name)
        for _ in range(6):
            await gateway.sign_in(name, "wrong")
        person, began_s = Person(gateway, tmp_path), time.monotonic()
        code, _, err = await person.types("login", "-u", name, "--password-stdin", stdin="wrong\n")
        assert code == 1
        assert err.count("\n") == 1
        assert time.monotonic() - began_s < 100, "a quarter of an hour is not waited for"
