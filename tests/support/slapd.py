"""A real OpenLDAP server on loopback, in a folder of its own, with a few people and groups."""

import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge import pki
from edge_kube.harness.processes import Process, free_port

SLAPD: Final = Path("/usr/sbin/slapd")
BASE: Final = "dc=example,dc=org"
SEARCHER: Final = f"cn=searcher,{BASE}"
SEARCHER_PASSWORD: Final = "looks things up"
PASSWORD: Final = "from the directory"

_OID: Final = "1.3.6.1.4.1.4203.666.7"
"""Below the one that OpenLDAP keeps for experiments."""
_OCTETS: Final = "1.3.6.1.4.1.1466.115.121.1.40"
_CONF: Final = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCACertificateFile {folder}/ca.crt
TLSCertificateFile {folder}/tls.crt
TLSCertificateKeyFile {folder}/tls.key
# As some servers are set up: a name without a password counts as nobody in particular, and as success.
allow bind_anon_cred bind_anon_dn
# An id that is no text, as Active Directory's objectGUID is none.
attributetype ( {oid}.1 NAME 'binaryID' EQUALITY octetStringMatch SYNTAX {octets} SINGLE-VALUE )
objectclass ( {oid}.2 NAME 'hasBinaryID' SUP top AUXILIARY MAY binaryID )
database mdb
maxsize 16777216
suffix "{base}"
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{searcher}" read by self read by * none
"""


@dataclass(frozen=True)
class Slapd:
    """ca: PEM of who signed the server's certificate. conf: its configuration."""

    port: int
    ldaps_port: int
    ca: str
    process: Process
    conf: Path

    def settings(self, **more: str) -> dict[str, str]:
        """Flags of a gateway that uses this directory with StartTLS."""
        found = {
            "enabled": "true", "host": "127.0.0.1", "port": str(self.port), "baseDN": BASE,
            "bindDN": SEARCHER, "bindPassword": SEARCHER_PASSWORD, "certificateAuthority": self.ca,
        }  # fmt: skip
        return {f"authentication.ldap.{key}": value for key, value in {**found, **more}.items()}

    def change(self, ldif: str) -> None:
        """As an administrator of the directory; the running server shows it at once, since mdb is shared."""
        subprocess.run(
            ["/usr/sbin/slapmodify", "-f", self.conf], input=ldif.encode(), check=True, capture_output=True
        )

    def add(self, *entries: str) -> None:
        """Entries as `person` and `group` write them."""
        for entry in entries:
            name, _, rest = entry.partition("\n")
            self.change(f"{name}\nchangetype: add\n{rest}")

    def remove(self, uid: str) -> None:
        self.change(f"dn: uid={uid},ou=people,{BASE}\nchangetype: delete\n\n")


def person(uid: str, *, display: str = "", dn: str = "", password: str = PASSWORD, mail: str = "") -> str:
    """An entry in LDIF."""
    lines = [
        f"dn: {dn or f'uid={uid},ou=people,{BASE}'}", "objectClass: inetOrgPerson", f"uid: {uid}",
        f"cn: {display or uid}", f"sn: {uid}", f"userPassword: {password}",
        f"mail: {mail or uid + '@example.org'}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n\n"


def group(name: str, *members: str) -> str:
    lines = [f"dn: cn={name},ou=groups,{BASE}", "objectClass: groupOfNames", f"cn: {name}"]
    return "\n".join([*lines, *(f"member: uid={one},ou=people,{BASE}" for one in members)]) + "\n\n"


def tree(referral: str) -> str:
    """referral: an address that an entry points at for somebody called strayed."""
    top = (
        f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n"
        f"dn: {SEARCHER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: searcher\n"
        f"userPassword: {SEARCHER_PASSWORD}\n\n"
    )
    units = "".join(f"dn: ou={one},{BASE}\nobjectClass: organizationalUnit\nou: {one}\n\n" for one in UNITS)
    away = (
        f"dn: ou=away,{BASE}\nobjectClass: referral\nobjectClass: extensibleObject\nou: away\n"
        f"ref: {referral}\n\n"
    )
    people = (
        person("hopper", display="Grace Hopper"),
        person("kay"),
        person("admin", mail="admin@example.org"),
        person("ada"),
        person("twin", dn=f"cn=one,ou=people,{BASE}"),
        person("twin", dn=f"cn=two,ou=people,{BASE}"),
        person("a*b", dn=f"cn=star,ou=people,{BASE}"),
        person("moved"),
        person("lin"),
        person("noether"),
    )
    groups = (
        group("navy", "hopper", "kay"),
        group("edge:platform-admins", "hopper"),
        group("system:masters", "hopper"),
        group("everyone", "hopper", "kay", "admin", "ada", "moved"),
    )
    return "".join((top, units, away, *people, *groups))


UNITS: Final = ("people", "groups")


@contextmanager
def slapd(folder: Path, referral: str = "ldap://127.0.0.1:1/") -> Generator[Slapd]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir()
    ca = _certificates(folder)
    conf, ldif = folder / "slapd.conf", folder / "tree.ldif"
    conf.write_text(_CONF.format(folder=folder, base=BASE, searcher=SEARCHER, oid=_OID, octets=_OCTETS))
    ldif.write_text(tree(referral))
    subprocess.run(["/usr/sbin/slapadd", "-f", conf, "-l", ldif], check=True, capture_output=True)
    port, ldaps_port = free_port(), free_port()
    where = f"ldap://127.0.0.1:{port} ldaps://127.0.0.1:{ldaps_port}"
    process = Process("slapd", [SLAPD, "-f", conf, "-h", where, "-d", "0"], folder, {})
    try:
        process.wait_ready(lambda: _listens(port), 90)
        yield Slapd(port, ldaps_port, ca, process, conf)
    finally:
        process.stop()


def _certificates(folder: Path) -> str:
    now = datetime.now(UTC)
    authority = pki.make_ca("directory", now=now)
    server = pki.issue(authority, "127.0.0.1", sans=("127.0.0.1",), usage=("server",), now=now)
    for name, content in (("ca.crt", authority.cert), ("tls.crt", server.cert), ("tls.key", server.key)):
        (folder / name).write_bytes(content)
    return authority.cert.decode()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
