"""Sign-in through a directory, against a real slapd (I13, S13)."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support import slapd as support
from tests.support.gateway import IAM, PASSWORD, PATIENCE_S, USERS, RunningGateway, make_user
from tests.support.slapd import Slapd, slapd

from edge.apiserver.configuration.federation import LdapSettings
from edge.apiserver.federation import directory as directories
from edge.apiserver.federation.directory import Directory
from edge.apiserver.federation.wire import DirectoryDown
from edge.apiserver.signin import routes as signin
from edge.iam.federated import IDENTITY_ANNOTATION
from edge.iam.firstadmin import admin_binding
from edge.iam.passwords import password_matches
from edge.iam.types import IAMRoleBinding, LoginRecord, User
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port
from edge_kube.meta import Key
from edge_sdk.secret import Secret

ME = f"{IAM}/me"

INJECTIONS = (
    "*", "h*", "hopper)(uid=*", "*)(objectClass=*", "hopper)(|(uid=*", "hop\\70er", "hopper\x00",
    "hopper)", "(hopper", "hopper\\2a", "hopper\n", "*)(&", "admin)(!(&(1=0", "x)(userPassword=*",
    "hopper\udcff", "a" * 5000,
)  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("slapd")) as up:
        yield up


@contextlib.contextmanager
def listener() -> Generator[tuple[int, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1], server


@pytest_asyncio.fixture
async def with_ldap(gateway_cluster: LightCluster, directory: Slapd) -> AsyncIterator[RunningGateway]:
    async with RunningGateway(gateway_cluster.connection, directory.settings()) as running:
        yield running


def settings(directory: Slapd, **more: object) -> LdapSettings:
    fields: dict[str, object] = {
        "enabled": True,
        "host": "127.0.0.1",
        "port": directory.port,
        "base_dn": support.BASE,
        "bind_dn": support.SEARCHER,
        "bind_password": Secret(support.SEARCHER_PASSWORD),
        "certificate_authority": directory.ca,
    }
    return LdapSettings(**{**fields, **more})  # pyright: ignore[reportArgumentType]


async def test_somebody_of_the_directory_signs_in_and_becomes_a_user_with_mapped_groups(
    with_ldap: RunningGateway, kube: Client
) -> None:
    """I13: the user is made at the first sign-in, named with the prefix, without a password."""
    token = await with_ldap.token("hopper", support.PASSWORD)
    me = (await with_ldap.get(ME, token=token)).json()
    assert (me["user"], me["displayName"]) == ("ldap-hopper", "Grace Hopper")
    assert me["groups"] == ["ldap:everyone", "ldap:navy"], "groups of the platform and the cluster stay out"
    user = await kube.get(User, "ldap-hopper")
    assert user.spec.encrypted_password == ""
    assert user.spec.email == "hopper@example.org"
    assert '"provider": "ldap"' in user.metadata.annotations[IDENTITY_ANNOTATION]


async def test_groups_are_given_and_taken_at_each_sign_in_and_others_are_left_alone(
    with_ldap: RunningGateway, kube: Client
) -> None:
    await with_ldap.token("kay", support.PASSWORD)
    groups = ["ops", "ldap:left-last-year", "oidc:elsewhere"]
    await kube.merge(User, Key("", "ldap-kay"), {"spec": {"groups": groups}})
    await with_ldap.token("kay", support.PASSWORD)
    user = await kube.get(User, "ldap-kay")
    assert user.spec.groups == ("ops", "oidc:elsewhere", "ldap:everyone", "ldap:navy")


async def test_two_sign_ins_at_once_make_one_user(with_ldap: RunningGateway, kube: Client) -> None:
    tokens = await asyncio.gather(*(with_ldap.token("moved", support.PASSWORD) for _ in range(5)))
    assert len(tokens) == 5
    found = [user for user in await kube.list(User) if "moved" in user.metadata.name]
    assert [user.metadata.name for user in found] == ["ldap-moved"]


async def test_a_local_user_with_a_password_wins_and_the_directory_cannot_open_it(
    with_ldap: RunningGateway,
) -> None:
    """S13: a directory's admin with the name and the mail address of ours is somebody else."""
    assert (await with_ldap.sign_in("admin", support.PASSWORD)).status == 401
    assert (await with_ldap.sign_in("admin", PASSWORD)).status == 200


async def test_a_name_that_a_user_or_a_binding_has_is_not_taken_over(
    gateway_cluster: LightCluster, directory: Slapd, kube: Client
) -> None:
    """S13: without a prefix, names of the directory meet local ones; and rights wait for nobody's name."""
    local = await make_user(kube, "lin", password_hash="")
    binding = await kube.create(admin_binding("noether"), manager="test")
    flags = directory.settings(usernamePrefix="")
    async with RunningGateway(gateway_cluster.connection, flags) as gateway:
        path = f"{IAM}/iamrolebindings/{binding.metadata.name}"
        await gateway.until(path, 200, token=await gateway.token())
        for name in ("lin", "noether"):
            token = await gateway.token(name, support.PASSWORD)
            me = (await gateway.get(ME, token=token)).json()["user"]
            assert me.startswith(f"{name}-")
            refused = await gateway.ask("DELETE", f"{USERS}/ada", token=token)
            assert refused.status == 403, "the binding was for somebody else"
    assert (await kube.get(User, "lin")).metadata.uid == local.metadata.uid
    await kube.delete(IAMRoleBinding, binding.metadata.name)


async def test_wrong_unknown_ambiguous_and_tricky_names_get_the_answer_of_a_wrong_password(
    with_ldap: RunningGateway,
) -> None:
    """S13: the injection corpus; nobody is found by a filter that was typed in."""
    wrong = await with_ldap.sign_in("hopper", "wrong")
    assert wrong.status == 401
    for name in ("nobody", "twin", "searcher"):
        answer = await with_ldap.sign_in(name, support.PASSWORD)
        assert (answer.status, answer.body) == (401, wrong.body), name


@pytest.mark.parametrize("name", INJECTIONS)
async def test_nobody_is_found_by_a_filter_that_was_typed_in(directory: Slapd, name: str) -> None:
    """S13: LDAP injection."""
    assert await Directory(settings(directory)).identify(name, support.PASSWORD) is None


async def test_a_name_with_characters_of_filters_is_found_by_that_name_alone(directory: Slapd) -> None:
    found = await Directory(settings(directory)).identify("a*b", support.PASSWORD)
    assert found is not None
    assert found.name == "a*b"


async def test_an_empty_password_is_refused_before_the_server_would_accept_it(directory: Slapd) -> None:
    """S13: this server takes a name without a password for success (RFC 4513 §5.1.2)."""
    assert await Directory(settings(directory)).identify("hopper", "") is None


async def test_referrals_are_not_followed(tmp_path: Path) -> None:
    """S13: what an entry points at gets neither a connection nor a password."""
    with listener() as (port, server):
        with slapd(tmp_path / "slapd", f"ldap://127.0.0.1:{port}/{support.BASE}") as referring:
            assert await Directory(settings(referring)).identify("strayed", support.PASSWORD) is None
            assert await Directory(settings(referring)).identify("hopper", support.PASSWORD) is not None
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()


async def test_tls_is_required_and_the_server_must_prove_itself(directory: Slapd) -> None:
    ldaps = settings(directory, port=directory.ldaps_port, ldaps=True)
    assert await Directory(ldaps).identify("hopper", support.PASSWORD) is not None
    plain = settings(directory, insecure=True, certificate_authority="")
    assert await Directory(plain).identify("hopper", support.PASSWORD) is not None
    for untrusted in (settings(directory, certificate_authority=""), settings(directory, host="localhost")):
        with pytest.raises(DirectoryDown, match="certificate"):
            await Directory(untrusted).identify("hopper", support.PASSWORD)


async def test_a_directory_that_is_down_says_so_and_delays_no_local_user(
    gateway_cluster: LightCluster, directory: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I13: what hangs is given up after a while; who is a local user cannot be told from the answer."""
    monkeypatch.setattr(directories, "TIMEOUT_S", 8.0)
    with listener() as (port, _):  # takes the connection and says nothing, ever
        hanging = directory.settings(port=str(port))
        async with RunningGateway(gateway_cluster.connection, hanging) as gateway:
            asked = asyncio.create_task(gateway.sign_in("hopper", support.PASSWORD))
            await asyncio.sleep(0.2)
            assert (await gateway.sign_in("admin", PASSWORD)).status == 200
            assert not asked.done(), "a local user is signed in while another waits for the directory"
            answer = await asked
            local = await gateway.sign_in("admin", "wrong")
    assert (answer.status, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert local.body == answer.body
    closed = directory.settings(port=str(free_port()))
    async with RunningGateway(gateway_cluster.connection, closed) as gateway:
        assert (await gateway.sign_in("hopper", support.PASSWORD)).status == 503
        assert (await gateway.sign_in("admin", PASSWORD)).status == 200


async def test_a_disabled_user_of_the_directory_is_refused_like_a_wrong_password(
    with_ldap: RunningGateway, kube: Client
) -> None:
    token = await with_ldap.token("hopper", support.PASSWORD)
    status = {"status": {"state": "Disabled"}}
    await kube.merge(User, Key("", "ldap-hopper"), status, sub="status")
    await with_ldap.until(ME, 401, token=token)
    assert (await with_ldap.sign_in("hopper", support.PASSWORD)).status == 401
    await kube.merge(User, Key("", "ldap-hopper"), {"status": {"state": "Active"}}, sub="status")


async def test_the_record_of_a_sign_in_names_the_directory(with_ldap: RunningGateway, kube: Client) -> None:
    """I14."""
    await with_ldap.token("kay", support.PASSWORD)
    async with asyncio.timeout(PATIENCE_S):
        found: set[tuple[str, bool]] = set()
        while ("ldap", True) not in found:
            await asyncio.sleep(0.05)
            found = {(one.spec.provider, one.spec.success) for one in await kube.list(LoginRecord)}


async def test_every_attempt_costs_one_comparison_whoever_it_is_about(
    with_ldap: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I14: local, of the directory, or nobody: hashing does not tell which."""
    compared: list[str] = []

    def noted(plain: str, stored: str, cost: int) -> bool:
        compared.append(stored)
        return password_matches(plain, stored, cost)

    monkeypatch.setattr(signin, "password_matches", noted)
    for name in ("admin", "hopper", "nobody-at-all"):
        assert (await with_ldap.sign_in(name, "wrong")).status == 401
    assert len(compared) == 3
