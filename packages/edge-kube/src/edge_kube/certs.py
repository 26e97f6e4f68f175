"""A certificate authority of our own and one server certificate, kept in a Secret (webhook TLS).

The authority lives ten years, the server certificate one; it is renewed after two thirds of that. A new
authority is only ever added: the bundle holds the old one as long as it is valid, so that a replica that
still serves the old certificate is trusted.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
SERVER_DAYS = 365
_SKEW = timedelta(hours=1)  # clocks of API servers may be behind ours


@dataclass(frozen=True, slots=True)
class ServingCertificates:
    """PEM texts. ca: bundle that clients trust, newest authority first; the keys never leave the Secret."""

    ca: bytes
    ca_key: bytes
    cert: bytes
    key: bytes

    def __repr__(self) -> str:
        return "ServingCertificates(***)"


def renewed(
    have: ServingCertificates | None, names: Sequence[str], now: datetime
) -> ServingCertificates | None:
    """Certificates that are good for `names` at `now`; None when what is there still is.

    names: DNS names or addresses of the server. What cannot be read is replaced like what has expired.
    """
    authority = _authority(have, now)
    if authority is None:
        ca_cert, ca_key = _make_authority(now)
        old = _valid_part(have.ca, now) if have is not None else b""
        bundle = _pem(ca_cert) + old
    else:
        ca_cert, ca_key = authority
        bundle = have.ca if have is not None else b""
        if have is not None and _is_fresh(have, ca_cert, names, now):
            return None
    cert, key = _make_server(names, ca_cert, ca_key, now)
    return ServingCertificates(bundle, _key_pem(ca_key), _pem(cert), _key_pem(key))


def _authority(
    have: ServingCertificates | None, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    if have is None:
        return None
    try:
        cert = x509.load_pem_x509_certificate(have.ca)
        key = serialization.load_pem_private_key(have.ca_key, None)
    except ValueError:
        return None
    ours = isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == cert.public_key()
    # A year before its end: every server certificate must end before its authority does.
    if not ours or cert.not_valid_after_utc - now < timedelta(days=SERVER_DAYS):
        return None
    return cert, cast("ec.EllipticCurvePrivateKey", key)


def _is_fresh(
    have: ServingCertificates, authority: x509.Certificate, names: Sequence[str], now: datetime
) -> bool:
    try:
        cert = x509.load_pem_x509_certificate(have.cert)
        key = serialization.load_pem_private_key(have.key, None)
        listed = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        cert.verify_directly_issued_by(authority)
    except Exception:  # whatever is wrong with it, a new one is the cure
        return False
    in_time = now < cert.not_valid_after_utc - timedelta(days=SERVER_DAYS) / 3
    matches = isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == cert.public_key()
    return in_time and matches and {_alternative(name) for name in names} <= set(listed)


def _valid_part(bundle: bytes, now: datetime) -> bytes:
    try:
        certs = x509.load_pem_x509_certificates(bundle)
    except ValueError:
        return b""
    return b"".join(_pem(cert) for cert in certs[:2] if cert.not_valid_after_utc > now)


def _make_authority(now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edge-webhook-ca-{now:%Y%m%d%H%M%S}")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    cert = (
        _builder(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return cert, key


def _make_server(
    names: Sequence[str], ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    cert = (
        _builder(subject, ca.subject, key, now, SERVER_DAYS)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return cert, key


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def utc_now() -> datetime:
    return datetime.now(UTC)
