"""Certificates, service-account keys and kubeconfigs, made in memory.

Nothing here reads a clock, a file or the network: the caller passes the time and stores what
it gets. Keys are EC P-256 (a whole control plane's set costs some tens of milliseconds);
service-account tokens are signed with RSA, which every client library can verify.

All certificates and keys are PEM bytes; all times are aware datetimes.
"""

import base64
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Usage = Literal["client", "server"]

CA_VALIDITY = timedelta(days=3650)
LEAF_VALIDITY = timedelta(days=365)
# A peer's clock may be behind ours: certificates are valid from an hour before they are made.
CLOCK_SKEW = timedelta(hours=1)

_EXTENDED_USAGE = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}


class KeyPair(NamedTuple):
    """A certificate and its private key, both PEM."""

    cert: bytes
    key: bytes


class SigningKey(NamedTuple):
    """The RSA pair that signs and verifies service-account tokens, both PEM."""

    private: bytes
    public: bytes


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says about itself."""

    common_name: str
    organizations: tuple[str, ...]
    sans: tuple[str, ...]
    not_before: datetime
    not_after: datetime


def make_ca(cn: str, *, now: datetime, valid: timedelta = CA_VALIDITY) -> KeyPair:
    """A self-signed certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    builder = _builder(subject, subject, key, key, now, valid, authority=True)
    return KeyPair(_pem(builder.sign(key, hashes.SHA256())), _private_pem(key))


def issue(
    ca: KeyPair,
    cn: str,
    *,
    now: datetime,
    org: Sequence[str] = (),
    sans: Sequence[str] = (),
    usage: Sequence[Usage] = ("client",),
    valid: timedelta = LEAF_VALIDITY,
) -> KeyPair:
    """A leaf signed by `ca`.

    `cn` may be empty: etcd's JSON gateway refuses clients whose certificate has a common name.
    `sans` are DNS names and IP addresses, told apart by their form; `usage` is any of client and
    server. The leaf never outlives its authority.
    """
    authority = x509.load_pem_x509_certificate(ca.cert)
    signer = _private_key(ca.key)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in org]
    subject = x509.Name([*names, *([x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else [])])
    valid = min(valid, authority.not_valid_after_utc - now)
    builder = _builder(subject, authority.subject, key, signer, now, valid, authority=False)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([_EXTENDED_USAGE[one] for one in usage]), critical=False
    )
    if sans:
        alternatives = [_alternative(one) for one in dict.fromkeys(sans)]
        # Without a subject, the alternative names are all there is to identify the holder (RFC 5280).
        nameless = not subject.rdns
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=nameless)
    return KeyPair(_pem(builder.sign(signer, hashes.SHA256())), _private_pem(key))


def make_signing_key() -> SigningKey:
    """The key pair for `--service-account-signing-key-file` and `--service-account-key-file`."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return SigningKey(_private_pem(key), public)


def facts(cert: bytes) -> CertificateFacts:
    """What `cert` says; ValueError when it is no PEM certificate."""
    parsed = x509.load_pem_x509_certificate(cert)
    common = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    orgs = parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    try:
        found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        sans = tuple(str(one.value) for one in found)
    except x509.ExtensionNotFound:
        sans = ()
    return CertificateFacts(
        common_name=str(common[0].value) if common else "",
        organizations=tuple(str(one.value) for one in orgs),
        sans=sans,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
    )


def renewal_due(cert: bytes, now: datetime) -> bool:
    """True from two thirds of the certificate's life on."""
    known = facts(cert)
    return now >= known.not_before + (known.not_after - known.not_before) * 2 / 3


def issued_by(cert: bytes, ca: bytes) -> bool:
    """True when the authority `ca` signed `cert`."""
    try:
        leaf, authority = x509.load_pem_x509_certificate(cert), x509.load_pem_x509_certificate(ca)
        leaf.verify_directly_issued_by(authority)
    except Exception:  # a signature that does not fit raises one of several library errors
        return False
    return True


def kubeconfig(
    server: str, ca: bytes, *, client: KeyPair | None = None, token: str = "", name: str = "default"
) -> bytes:
    """A kubeconfig with its credentials embedded.

    `server` is a URL (`https://host:port`); give either a client certificate or a bearer token.
    JSON is valid YAML and needs no quoting rules; equal input gives equal bytes.
    """
    user: dict[str, str] = {}
    if client is not None:
        user = {"client-certificate-data": _b64(client.cert), "client-key-data": _b64(client.key)}
    elif token:
        user = {"token": token}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _b64(ca)}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": user}],
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    now: datetime,
    valid: timedelta,
    *,
    authority: bool,
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + valid)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(usage, critical=True)
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("an authority's key must be an elliptic-curve key")
    return key


def _private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
