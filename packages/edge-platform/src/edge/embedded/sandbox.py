"""Namespaces of an instance and what is mounted in them. Runs inside, as root, before any component."""

import ctypes
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from edge.embedded import cgroups

_CLONE_NEWNS = 0x00020000
_CLONE_NEWCGROUP = 0x02000000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000

_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MS_SHARED = 0x100000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x2, 0x4, 0x8

# The kubelet sets these for the whole machine when they differ. It is shown files with the
# values it wants instead, so that an instance changes no kernel setting of its host.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
_OWN_SETTINGS = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Furniture:
    """`binds` maps a folder of the machine to the instance's own folder shown in its place."""

    hostname: str
    resolv_conf: str
    scratch: str
    binds: dict[str, str] = field(default_factory=dict[str, str])


def unshare() -> None:
    """New namespaces for everything but users; the next child is process 1 of the pid namespace."""
    flags = _CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNET
    if _libc.unshare(flags) != 0:
        _fail("unshare")


def furnish(plan: Furniture) -> None:
    """Private mounts that containers may share among themselves, but never with the machine."""
    _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    _libc.sethostname(plan.hostname.encode(), len(plan.hostname))
    known = cgroups.hierarchies()
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("sysfs", "/sys", "sysfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount_cgroups(known)
    resolv = _readable_resolv_conf()
    Path(plan.resolv_conf).write_text(resolv)
    for point, source in plan.binds.items():
        Path(source).mkdir(parents=True, exist_ok=True)
        _mount(source, point, flags=_MS_BIND)
    _mount("tmpfs", "/run", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
    _show_kernel_settings(Path(plan.scratch))
    _mount("none", "/", flags=_MS_REC | _MS_SHARED)
    for key, value in _OWN_SETTINGS.items():
        file = Path("/proc/sys") / key
        if file.exists():
            file.write_text(value)
    _ip("link", "set", "lo", "up")


def address_link(node_ip: str, gateway: str) -> None:
    _ip("addr", "add", f"{node_ip}/24", "dev", "eth0")
    _ip("link", "set", "eth0", "up")
    _ip("route", "add", "default", "via", gateway)


def _mount_cgroups(known: list[cgroups.Hierarchy]) -> None:
    """Mounted anew, each hierarchy begins at the instance's own group."""
    if not any(one.mount == cgroups.ROOT for one in known):
        _mount("tmpfs", str(cgroups.ROOT), "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=755")
    for one in known:
        one.mount.mkdir(exist_ok=True)
        _mount("cgroup", str(one.mount), one.kind, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, one.options)


def _readable_resolv_conf() -> str:
    """Name servers that can be reached from another network namespace (not systemd's on 127.0.0.53)."""
    for file in (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf")):
        if file.exists():
            lines = file.read_text().splitlines()
            kept = [line for line in lines if not line.startswith(("nameserver 127.", "nameserver ::1"))]
            if any(line.startswith("nameserver") for line in kept):
                return "\n".join(kept) + "\n"
    return "# this machine has no name server that a container could reach\n"


def _show_kernel_settings(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    for key, value in _KERNEL_SETTINGS.items():
        setting, shown = Path("/proc/sys") / key, scratch / key.replace("/", "-")
        if setting.exists():
            shown.write_text(value + "\n")
            _mount(str(shown), str(setting), flags=_MS_BIND)


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True)


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    done = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    if done != 0:
        _fail(f"mount {kind or source} at {target}")


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
