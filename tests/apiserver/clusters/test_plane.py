"""A tenant's control plane as one process, with the flags of its chart, on the platform's etcd.

Requirements: C6 (tenants apart), C11 (hosted engine); rulings R22, R23.
"""

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.planes import Etcd, Plane

from edge import pki
from edge.adapters.etcd_tenants import EtcdTenants
from edge.clusters.engines import store_prefix, store_user
from edge.clusters.ports import StoreAccess, StoreUnavailableError


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    started = Etcd(tmp_path_factory.mktemp("etcd"))
    yield started
    started.stop()


@pytest.fixture
def access(etcd: Etcd) -> StoreAccess:
    return StoreAccess(etcd.endpoint, etcd.authority.cert, etcd.gateway, "correct horse")


def tenant(etcd: Etcd, uid: str) -> pki.KeyPair:
    return pki.issue(etcd.authority, store_user(uid), now=datetime.now(UTC))


async def test_a_tenant_reads_and_writes_below_its_prefix_and_nowhere_else(
    etcd: Etcd, access: StoreAccess
) -> None:
    stores = EtcdTenants()
    for uid in ("one", "two", "one"):  # admitting twice is fine
        await stores.admit(access, store_user(uid), store_prefix(uid))
    one, two = tenant(etcd, "one"), tenant(etcd, "two")
    assert etcd.ctl(one, "put", "/tenants/one/secrets/a", "mine").returncode == 0
    assert "mine" in etcd.ctl(one, "get", "/tenants/one/secrets/a").stdout
    assert "permission denied" in etcd.ctl(two, "get", "/tenants/one/secrets/a").stderr
    assert "permission denied" in etcd.ctl(two, "get", "/tenants/", "--prefix").stderr
    assert "permission denied" in etcd.ctl(two, "del", "/tenants/one/", "--prefix").stderr
    assert "permission denied" in etcd.ctl(two, "put", "/tenants/one0", "just behind the prefix").stderr
    assert "permission denied" in etcd.ctl(two, "put", "compact_rev_key", "1").stderr
    assert etcd.ctl(two, "user", "list").returncode != 0


async def test_nobody_gets_in_without_a_user(etcd: Etcd, access: StoreAccess) -> None:
    await EtcdTenants().admit(access, store_user("one"), store_prefix("one"))
    stranger = pki.issue(etcd.authority, "stranger", now=datetime.now(UTC))
    assert etcd.ctl(stranger, "get", "/tenants/one/", "--prefix").returncode != 0


async def test_an_expelled_tenant_leaves_no_key_and_no_user(etcd: Etcd, access: StoreAccess) -> None:
    stores = EtcdTenants()
    for uid in ("leaving", "staying"):
        await stores.admit(access, store_user(uid), store_prefix(uid))
        etcd.ctl(tenant(etcd, uid), "put", f"/tenants/{uid}/pods/a", "x")
    assert await stores.expel(access, store_user("leaving"), store_prefix("leaving")) == 0
    assert await stores.expel(access, store_user("leaving"), store_prefix("leaving")) == 0
    listed = etcd.ctl(etcd.root, "get", "/tenants/", "--prefix", "--keys-only").stdout
    assert "/tenants/staying/pods/a" in listed
    assert "/tenants/leaving/" not in listed
    assert store_user("leaving") not in etcd.ctl(etcd.root, "user", "list").stdout
    assert etcd.ctl(tenant(etcd, "leaving"), "get", "/tenants/leaving/pods/a").returncode != 0


async def test_a_wrong_root_password_is_told_without_showing_it(etcd: Etcd, access: StoreAccess) -> None:
    await EtcdTenants().admit(access, store_user("one"), store_prefix("one"))
    wrong = StoreAccess(access.endpoint, access.authority, access.client, "guess-1234")
    with pytest.raises(StoreUnavailableError, match="authentication failed") as caught:
        await EtcdTenants().admit(wrong, "tenant-x", "/tenants/x")
    assert "guess-1234" not in str(caught.value)


async def test_an_etcd_that_is_not_there_is_named(access: StoreAccess) -> None:
    gone = StoreAccess("https://127.0.0.1:1", access.authority, access.client, "correct horse")
    with pytest.raises(StoreUnavailableError, match=r"https://127\.0\.0\.1:1 does not answer"):
        await EtcdTenants().admit(gone, "tenant-x", "/tenants/x")


@pytest.fixture
async def plane(etcd: Etcd, access: StoreAccess, tmp_path: Path) -> Plane:
    uid = "plane"
    await EtcdTenants().admit(access, store_user(uid), store_prefix(uid))
    pair = tenant(etcd, uid)
    files = {"etcd-ca.crt": etcd.authority.cert, "etcd.crt": pair.cert, "etcd.key": pair.key}
    store = {"mode": "shared", "endpoint": etcd.endpoint, "prefix": store_prefix(uid)}
    return Plane(tmp_path, store, files=files)


def test_a_plane_runs_on_the_flags_of_its_chart_and_ends_cleanly(etcd: Etcd, plane: Plane) -> None:
    plane.wait_ready()
    # Three parts in one process: the API server answers, the controller-manager makes ServiceAccounts,
    # the scheduler binds what can be bound (here: says that there is no node).
    made = plane.kubectl("create", "deployment", "hello", "--image=busybox")
    assert made.returncode == 0, made.stderr
    _until(plane, "FailedScheduling", "get", "events", "-o", "jsonpath={.items[*].reason}")
    for resource in ("serviceaccount/default", "configmap/kube-root-ca.crt"):
        assert plane.kubectl("get", resource).returncode == 0
    keys = etcd.ctl(etcd.root, "get", "/", "--prefix", "--keys-only").stdout.split()
    foreign = [key for key in keys if not key.startswith("/tenants/")]
    assert foreign == []
    assert any(key.startswith("/tenants/plane/deployments/") for key in keys)

    # An open watch does not hold up the shutdown: parts that are cut off after twenty seconds end with 1.
    child = plane.process
    with plane.watching("get", "pods", "-A", "-w") as watch:
        time.sleep(1)
        child.signal(signal.SIGTERM)
        code = plane.ended_with(within_s=60)
        watch.kill()
    assert code == 0, child.tail()
    # What it stored is there when it is started again.
    plane.start()
    plane.wait_ready()
    assert plane.kubectl("get", "deployment", "hello").returncode == 0
    plane.stop()


async def test_a_plane_that_loses_a_part_ends_as_a_whole(etcd: Etcd, plane: Plane) -> None:
    """With a scheduler that cannot start, the process ends instead of serving two parts of three."""
    flags = plane.folder / "plane" / "flags"
    plane.process.kill()
    flags.write_text(flags.read_text().replace("scheduler.kubeconfig", "no-such.kubeconfig"))
    plane.start()
    assert plane.ended_with(within_s=180) == 1
    assert "kube-scheduler" in plane.process.tail(5)


def _until(plane: Plane, wanted: str, *args: str) -> None:
    ends_at = time.monotonic() + 120
    seen = ""
    while time.monotonic() < ends_at:
        seen = plane.kubectl(*args).stdout
        if wanted in seen:
            return
        time.sleep(0.3)
    pytest.fail(f"{wanted} did not appear in {args}: {seen!r}\n{plane.process.tail()}")
