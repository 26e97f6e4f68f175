"""The first administrator and stored passwords, on a real API server (R12, I14, I16)."""

import asyncio

import pytest

from edge.iam.accounts import must_change_password
from edge.iam.firstadmin import admin_binding
from edge.iam.passwords import is_hash, password_matches
from edge.iam.room import room
from edge.iam.types import IAMRoleBinding, LoginRecord, Subject, User, UserSpec
from edge_kube.core import Namespace
from edge_kube.errors import ApiError
from edge_kube.harness.kube import Kube
from edge_kube.meta import Key, ObjectMeta
from edge_sdk.secret import Secret

ADMIN = (Subject(kind="User", name="admin"),)


def is_active(user: User) -> bool:
    return user.status.state == "Active"


async def test_the_documented_administrator_is_made_once_and_its_password_stays(kube: Kube) -> None:
    await kube.start(room())
    admin = await kube.eventually(User, "admin", is_active)
    assert password_matches("P@88w0rd", admin.spec.encrypted_password)
    assert must_change_password(admin)
    await kube.eventually(IAMRoleBinding, "admin-platform-admin", lambda _: True)

    changed = {"spec": {"encryptedPassword": "$2b$04$" + "a" * 53}}
    await kube.client.merge(User, Key("", "admin"), changed)
    await kube.stop()
    await kube.start(room())
    await asyncio.sleep(1)
    kept = await kube.client.get(User, "admin")
    assert kept.spec.encrypted_password == changed["spec"]["encryptedPassword"]


async def test_name_and_password_of_the_first_administrator_can_be_chosen(kube: Kube) -> None:
    await kube.start(room("root", Secret("chosen by the installation")))
    root = await kube.eventually(User, "root", is_active)
    assert password_matches("chosen by the installation", root.spec.encrypted_password)
    assert await kube.client.find(User, "admin") is None


async def test_the_last_administrator_comes_back(kube: Kube) -> None:
    await kube.start(room())
    first = await kube.eventually(User, "admin", is_active)
    await kube.client.delete(User, "admin")
    await kube.client.delete(IAMRoleBinding, "admin-platform-admin")
    again = await kube.eventually(User, "admin", lambda user: user.metadata.uid != first.metadata.uid)
    assert must_change_password(again)
    await kube.eventually(IAMRoleBinding, "admin-platform-admin", lambda _: True)


async def test_the_last_administrator_cannot_be_taken_out_of_the_binding(kube: Kube) -> None:
    await kube.start(room())
    await kube.eventually(User, "admin", is_active)
    name = "admin-platform-admin"
    await kube.eventually(IAMRoleBinding, name)
    for subjects in ([], [{"kind": "User", "name": "nobody-there"}], [{"kind": "Group", "name": "empty"}]):
        await kube.patch(IAMRoleBinding, name, {"spec": {"subjects": subjects}})
        await kube.eventually(IAMRoleBinding, name, lambda one: one.spec.subjects == ADMIN)


async def test_a_deleted_first_administrator_stays_away_while_another_is_there(kube: Kube) -> None:
    """Or it would come back with the published password, and its binding would still count."""
    await kube.start(room())
    await kube.eventually(User, "admin", is_active)
    await kube.create(User(metadata=ObjectMeta(name="ada")))
    await kube.create(admin_binding("ada"))
    await kube.client.delete(User, "admin")
    await asyncio.sleep(0.5)
    assert await kube.client.find(User, "admin") is None
    await kube.client.delete(IAMRoleBinding, "ada-platform-admin")
    await kube.eventually(User, "admin", is_active)


async def test_who_took_the_place_of_a_deleted_administrator_counts_before_their_binding_is_heard_of(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = await kube.start(room())
    await kube.eventually(User, "admin", is_active)
    await kube.eventually(IAMRoleBinding, "admin-platform-admin")

    def late(_: IAMRoleBinding) -> None:
        """Its watch brings nothing yet."""

    monkeypatch.setattr(manager.cache.informer(IAMRoleBinding), "put", late)
    await kube.create(User(metadata=ObjectMeta(name="ada")))
    await kube.create(admin_binding("ada"))
    await kube.client.delete(User, "admin")
    async with asyncio.timeout(60):
        while manager.cache.get(User, "admin") is not None:  # noqa: ASYNC110 - it goes by a watch
            await asyncio.sleep(0.02)
    looked = manager.metrics.reconciles.labels("firstadmin", "success")
    before = looked._value.get()  # type: ignore[attr-defined]
    await kube.patch(Namespace, "kube-system", {"metadata": {"annotations": {"test.edge/look": "again"}}})
    async with asyncio.timeout(60):
        while looked._value.get() == before:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await kube.find(User, "admin") is None


async def test_a_plain_password_is_stored_as_its_hash_and_leaves_no_copy(kube: Kube) -> None:
    await kube.start(room(), webhooks=True)
    manifest = (
        "apiVersion: iam.theriseunion.io/v1alpha1\nkind: User\nmetadata: {name: ada}\n"
        "spec: {email: ada@example.com, encryptedPassword: correct horse}\n"
    )
    kubectl = kube.cluster.kubectl
    await asyncio.to_thread(kubectl, "apply", "-f", "-", stdin=manifest)
    stored = await asyncio.to_thread(kubectl, "get", "users.iam.theriseunion.io", "ada", "-o", "yaml")
    assert "correct horse" not in stored
    ada = await kube.client.get(User, "ada")
    assert is_hash(ada.spec.encrypted_password)
    assert password_matches("correct horse", ada.spec.encrypted_password)


async def test_a_password_of_73_bytes_is_refused_when_it_is_set(kube: Kube) -> None:
    await kube.start(room(), webhooks=True)
    user = User(metadata=ObjectMeta(name="long"), spec=UserSpec(encrypted_password="x" * 73))
    with pytest.raises(ApiError, match=r"at most 72 bytes \(yours: 73\)") as refused:
        await kube.client.create(user, manager="test")
    assert "xxx" not in str(refused.value)


async def test_a_disabled_user_stays_disabled_and_old_records_are_kept(kube: Kube) -> None:
    await kube.start(room())
    await kube.create(User(metadata=ObjectMeta(name="ada")))
    await kube.eventually(User, "ada", is_active)
    await kube.client.merge(User, Key("", "ada"), {"status": {"state": "Disabled"}}, sub="status")
    await asyncio.sleep(0.5)
    assert (await kube.client.get(User, "ada")).status.state == "Disabled"
    assert await kube.client.list(LoginRecord) == []
