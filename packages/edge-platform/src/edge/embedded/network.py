"""The machine's end of an instance's network: a veth pair, a route to its ClusterIPs, masquerading.

Masquerading is a table of the instance's own, so that removing it is one command and no other
rule of the machine is ever read or written.
"""

import json
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

from edge.embedded.instance import Instance
from edge.embedded.steps import StepError

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_INOTIFY = {"max_user_instances": 8192, "max_user_watches": 1048576}


def networks_in_use() -> list[IPv4Network]:
    """What the machine already has routes to, other than its default route."""
    done = subprocess.run(["ip", "-4", "-j", "route", "show"], capture_output=True, text=True, check=False)
    routes: list[dict[str, str]] = json.loads(done.stdout or "[]") if done.returncode == 0 else []
    return [IPv4Network(one["dst"]) for one in routes if one["dst"] != "default"]


def connect(instance: Instance, pid: int) -> bool:
    """Join the machine and the namespaces of process `pid`; true when forwarding had to be turned on.

    inotify's limits count per user over all namespaces, so they are raised here (never lowered).
    """
    disconnect(instance)
    link = instance.link
    if owner := _owner(instance):
        raise StepError(
            f"link {link} with network {instance.network} belongs to {owner}: stop that instance, or "
            "drop this one with `make clean` so that it gets another address block"
        )
    _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _run("ip", "link", "set", link, "alias", str(instance.folder))
    _run("ip", "addr", "add", f"{instance.host_ip}/24", "dev", link)
    _run("ip", "link", "set", link, "up")
    _run("ip", "route", "replace", instance.service_cidr, "via", instance.node_ip)
    _nft(
        f"table ip {_table(instance)} {{\n"
        "  chain leave {\n"
        "    type nat hook postrouting priority 100;\n"
        f'    ip saddr {instance.network} oifname != "{link}" masquerade\n'
        "  }\n"
        "}\n"
    )
    for name, least in _INOTIFY.items():
        file = Path("/proc/sys/fs/inotify") / name
        if int(file.read_text()) < least:
            file.write_text(str(least))
    if _FORWARD.read_text().strip() == "1":
        return False
    _FORWARD.write_text("1")
    return True


def disconnect(instance: Instance) -> None:
    """Take away what `connect` made; fine when nothing is there, or when it is another's."""
    link = Path("/sys/class/net", instance.link)
    if _owner(instance) not in ("", str(instance.folder)):
        return
    try:
        if link.exists():
            _run("ip", "link", "del", instance.link)
    except StepError:
        if link.exists():  # else the kernel was quicker: it removes the pair with the namespace
            raise
    _nft(f"table ip {_table(instance)}; delete table ip {_table(instance)}")


def stop_forwarding() -> None:
    """Undo what `connect` reported; the caller knows that no other instance runs."""
    _FORWARD.write_text("0")


def _owner(instance: Instance) -> str:
    """The data folder of the instance that has the link; empty when the link is not there."""
    try:
        alias = Path("/sys/class/net", instance.link, "ifalias").read_text().strip()
    except OSError:
        return ""
    return alias or "something else on this machine"


def _table(instance: Instance) -> str:
    return f"edge_{instance.number}"


def _nft(script: str) -> None:
    _run("nft", "-f", "-", stdin=script)


def _run(*argv: str, stdin: str = "") -> None:
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise StepError(f"{' '.join(argv)}: {done.stderr.strip()}")
