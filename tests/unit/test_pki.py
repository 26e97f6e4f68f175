"""Certificates and kubeconfigs of tenants and of the embedded cluster (C3, C10)."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from edge import pki

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_a_leaf_carries_its_names_and_is_issued_by_its_authority() -> None:
    ca = pki.make_ca("edge-ca", now=NOW)
    leaf = pki.issue(
        ca, "kube-apiserver", org=["system:masters"], sans=["10.0.0.1", "kubernetes", "10.0.0.1"], now=NOW
    )
    known = pki.facts(leaf.cert)
    assert known.common_name == "kube-apiserver"
    assert known.organizations == ("system:masters",)
    assert known.sans == ("10.0.0.1", "kubernetes")
    assert pki.issued_by(leaf.cert, ca.cert)
    assert not pki.issued_by(leaf.cert, pki.make_ca("edge-ca", now=NOW).cert)


def test_a_leaf_does_not_outlive_its_authority() -> None:
    ca = pki.make_ca("edge-ca", now=NOW, valid=timedelta(days=10))
    leaf = pki.issue(ca, "client", now=NOW, valid=timedelta(days=365))
    assert pki.facts(leaf.cert).not_after == pki.facts(ca.cert).not_after


def test_renewal_is_due_from_two_thirds_of_the_life_on() -> None:
    ca = pki.make_ca("edge-ca", now=NOW)
    leaf = pki.issue(ca, "client", now=NOW, valid=timedelta(days=7))
    assert not pki.renewal_due(leaf.cert, NOW + timedelta(days=4))
    assert pki.renewal_due(leaf.cert, NOW + timedelta(days=5))


def test_what_is_no_certificate_is_issued_by_nobody() -> None:
    assert not pki.issued_by(b"no certificate", pki.make_ca("edge-ca", now=NOW).cert)


def test_a_kubeconfig_is_the_same_bytes_for_the_same_input_and_readable_as_yaml() -> None:
    ca = pki.make_ca("edge-ca", now=NOW)
    client = pki.issue(ca, "admin", org=["system:masters"], now=NOW)
    first = pki.kubeconfig("https://127.0.0.1:6443", ca.cert, client=client)
    assert first == pki.kubeconfig("https://127.0.0.1:6443", ca.cert, client=client)
    config = yaml.safe_load(first)
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
    by_token = yaml.safe_load(pki.kubeconfig("https://127.0.0.1:6443", ca.cert, token="abcdef.0123"))
    assert by_token["users"][0]["user"] == {"token": "abcdef.0123"}


def test_a_tls_library_accepts_what_is_made_here(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca = pki.make_ca("edge-ca", now=now)
    server = pki.issue(ca, "server", sans=["127.0.0.1"], usage=("server",), now=now)
    for name, data in {"ca": ca.cert, "crt": server.cert, "key": server.key}.items():
        (tmp_path / name).write_bytes(data)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    calling = ssl.create_default_context(cafile=str(tmp_path / "ca"))
    a_in, a_out, b_in, b_out = (ssl.MemoryBIO() for _ in range(4))
    client = calling.wrap_bio(a_in, a_out, server_hostname="127.0.0.1")
    host = serving.wrap_bio(b_in, b_out, server_side=True)
    done = [False, False]
    for _ in range(10):
        for index, side in enumerate((client, host)):
            try:
                side.do_handshake()
                done[index] = True
            except ssl.SSLWantReadError:
                pass
            b_in.write(a_out.read())
            a_in.write(b_out.read())
    assert done == [True, True]


def test_the_signing_key_verifies_its_own_tokens() -> None:
    import jwt

    key = pki.make_signing_key()
    token = jwt.encode({"sub": "system:serviceaccount:default:default"}, key.private, algorithm="RS256")
    assert jwt.decode(token, key.public, algorithms=["RS256"])["sub"].startswith("system:serviceaccount")
