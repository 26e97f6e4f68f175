"""Keys of control planes: completed once, renewed in time, never without need. C3, C10; R25."""

from datetime import UTC, datetime, timedelta

import pytest

from edge import pki
from edge.clusters import intake, keys
from edge_kube.config import ConfigError, load_kubeconfig

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("10.96.0.7", "plane", "kubernetes")
FILES = keys.complete_plane({}, NAMES, NOW)
CA = pki.KeyPair(FILES["ca.crt"], FILES["ca.key"])


def test_a_complete_set_is_left_as_it_is() -> None:
    assert keys.complete_plane(FILES, NAMES, NOW) == FILES
    assert keys.complete_plane(FILES, NAMES, NOW + timedelta(days=200)) == FILES
    assert keys.complete_plane(FILES, NAMES[:1], NOW) == FILES, "a name too many does no harm"


def test_leaves_are_renewed_after_two_thirds_of_a_year_and_the_authority_stays() -> None:
    later = keys.complete_plane(FILES, NAMES, NOW + timedelta(days=250))
    changed = {name for name in FILES if FILES[name] != later[name]}
    assert {"apiserver.crt", "scheduler.crt", "admin.key"} <= changed
    assert not {"ca.crt", "ca.key", "front-proxy-ca.crt", "sa.key", "sa.pub"} & changed


def test_a_new_name_renews_the_server_certificate_only() -> None:
    more = keys.complete_plane(FILES, (*NAMES, "192.0.2.9"), NOW)
    changed = {name for name in FILES if FILES[name] != more[name]}
    assert changed == {"apiserver.crt", "apiserver.key"}
    assert "192.0.2.9" in pki.facts(more["apiserver.crt"]).sans


def test_a_lost_or_broken_file_comes_back() -> None:
    broken = {**FILES, "admin.crt": b"garbage"}
    del broken["sa.pub"]
    mended = keys.complete_plane(broken, NAMES, NOW)
    assert set(mended) == set(FILES)
    assert pki.issued_by(mended["admin.crt"], FILES["ca.crt"])


def test_the_tenant_of_an_etcd_is_its_common_name() -> None:
    authority = pki.make_ca("etcd", now=NOW)
    files = keys.complete_store(FILES, authority, "tenant-0c1d", NOW)
    assert pki.facts(files["etcd.crt"]).common_name == "tenant-0c1d"
    assert keys.complete_store(files, authority, "tenant-0c1d", NOW) == files
    other = keys.complete_store(files, pki.make_ca("etcd", now=NOW), "tenant-0c1d", NOW)
    assert other["etcd.crt"] != files["etcd.crt"], "an authority that was made anew signs anew"


def test_the_token_of_workers_is_made_once_and_the_authoritys_key_stays_away() -> None:
    join = keys.complete_join({}, CA, "https://10.96.0.7:6443", NOW)
    assert keys.complete_join(join, CA, "https://10.96.0.7:6443", NOW) == join
    moved = keys.complete_join(join, CA, "https://10.96.0.8:6443", NOW)
    assert moved["token"] == join["token"]
    assert load_kubeconfig(moved["bootstrap.kubeconfig"]).server == "https://10.96.0.8:6443"
    assert "ca.key" not in join
    ident, _, secret = join["token"].decode().partition(".")
    assert (len(ident), len(secret)) == (6, 16)


def test_the_connection_lasts_seven_days_and_is_renewed_before() -> None:
    server = "https://192.0.2.1:30001"
    text = intake.encode(keys.connection_kubeconfig(CA, server, "a", NOW))
    assert intake.connection_is_good(text, CA.cert, server, NOW + timedelta(days=4))
    assert not intake.connection_is_good(text, CA.cert, server, NOW + timedelta(days=5))
    assert not intake.connection_is_good(text, CA.cert, "https://192.0.2.2:30001", NOW)
    assert not intake.connection_is_good(text, pki.make_ca("edge-ca", now=NOW).cert, server, NOW)
    for garbage in ("", "%%%", intake.encode(b"{}"), intake.encode(b"a: [")):
        assert not intake.connection_is_good(garbage, CA.cert, server, NOW)
    known = pki.facts(load_kubeconfig(intake.decode(text)).cert)
    assert known.organizations == ("edge:connection",)
    assert known.not_after - NOW == timedelta(days=7)


@pytest.mark.parametrize(
    "server", ["https://127.0.0.1:6443", "https://[::1]:6443", "https://localhost", "https://0.0.0.0"]
)
def test_addresses_of_the_platform_itself_are_not_dialled(server: str) -> None:
    text = pki.kubeconfig(server, CA.cert, token="t")
    with pytest.raises(ConfigError, match="give"):
        intake.take_in(text)
    assert intake.take_in(text, allow_loopback=True).server == server


def test_a_file_that_is_far_too_large_is_not_parsed() -> None:
    with pytest.raises(ConfigError, match="at most"):
        intake.take_in(b" " * 70_000)
