"""The words of the embedded mode: up, down, status, logs, clean. Also run by `make` and `edge`."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.embedded import (
    addons,
    charts,
    existing,
    gateway,
    images,
    instance,
    lifecycle,
    network,
    ociimage,
    places,
    ports,
    tools,
)
from edge.embedded.cluster import HostCluster
from edge.embedded.images import Archives
from edge.embedded.install import Installation, install
from edge.embedded.instance import Instance
from edge.embedded.loading import Loader
from edge.embedded.steps import Progress, StepError

_CHARTS = ("edge-platform", "edge-controller")


def up(kubeconfig: Path | None = None, registry: str = "", values: Sequence[Path] = ()) -> None:
    """A ready platform, on an instance of our own or on the cluster of `kubeconfig`; safe to repeat.

    `registry` and `values` (files for Helm) are for an existing cluster.
    """
    progress = Progress()
    if kubeconfig is not None:
        _up_existing(kubeconfig, registry, values, progress)
        return
    _need_root()
    name = _name()
    try:
        with instance.locked(name, wait=False):
            _up_embedded(name, progress)
    except BlockingIOError as error:
        raise StepError(f"another command is at work on instance {name}: wait for it to end") from error


def down() -> None:
    """Stop the instance and keep its data; fine when it does not run."""
    _need_root()
    with instance.locked(_name()):
        known = instance.find(_name())
        progress = Progress()
        if known is None:
            progress.say(f"instance {_name()} does not exist: nothing to stop")
            return
        HostCluster(known, _tools_of(known), progress).stop()
        progress.say(f"stopped in {progress.seconds():.1f} s; the data stay in {known.folder}")


def clean() -> None:
    """Stop the instance and drop its data."""
    _need_root()
    with instance.locked(_name()):
        if known := instance.find(_name()):
            HostCluster(known, _tools_of(known), Progress()).stop()
            instance.drop(known)
            print(f"dropped {known.folder}")


def status() -> int:
    """A table of the components; 0 when the instance runs, 3 when it does not."""
    known = instance.find(_name())
    if known is None or lifecycle.first_process(known) is None:
        print(f"instance {_name()} does not run; `make up` starts it")
        return 3
    cluster = HostCluster(known, _tools_of(known), Progress(quiet=True))
    print(f"instance {known.name}: node {known.node_ip}, services {known.service_cidr}, data {known.folder}")
    print(f"\n{'PROCESS':<26}{'STATE':<12}{'UP':>9}{'STARTS':>8}{'PSS':>10}")
    rows = cluster.status()
    for row in rows:
        state = "running" if row.pid else ("restarting" if row.wanted else "stopped")
        print(f"{row.name:<26}{state:<12}{row.up_s:>7.0f} s{row.starts:>8}{row.pss_mib:>6} MiB")
    print(f"{'':<26}{'':<12}{'':>9}{'sum':>8}{sum(row.pss_mib for row in rows):>6} MiB\n")
    try:
        print(cluster.kubectl("get", "components.ext.theriseunion.io,pods", "-n", "edge-system"))
    except StepError as error:
        print(error)
    gateway.tell(known)
    return 0


def logs(component: str = "", *, follow: bool = False) -> None:
    """The components' own logs; pods have theirs in `kubectl logs`."""
    known = instance.find(_name())
    if known is None:
        raise StepError(f"instance {_name()} does not exist: `make up` makes it")
    files = sorted(known.at("logs").glob(f"{component or '*'}.log"))
    if not files:
        there = ", ".join(sorted(file.stem for file in known.at("logs").glob("*.log")))
        raise StepError(f"there is no log of {component or 'any component'}; there are: {there or 'none'}")
    command = ["tail", "-n", "100", *(["-F"] if follow else []), *map(str, files)]
    subprocess.run(command, check=False)


def start_platform(cluster: HostCluster, built: Archives, progress: Progress) -> None:
    """From begun namespaces to an installed platform."""
    cluster.start(built.first)
    addons.ensure(cluster, progress)
    # Images of virtual clusters are loaded while the platform's own pods start.
    with Loader(cluster.instance, cluster.tools).loading(built.later):
        install(installation(cluster.instance, cluster.tools, built), progress)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edge", description=__doc__)
    add_verbs(parser.add_subparsers(dest="verb", required=True).add_parser)
    given = parser.parse_args(argv)
    return given.run(given)


AddVerb = Callable[..., argparse.ArgumentParser]
"""`add_parser` of a parser's sub-commands."""


def add_verbs(add: AddVerb) -> None:
    """Each verb's `run` takes what was given and returns the exit code."""
    starting = add("up", help="start the platform")
    starting.add_argument("--kubeconfig", type=Path, help="install on this cluster instead")
    starting.add_argument("--registry", default="", help="prefix of all images, with --kubeconfig")
    starting.add_argument(
        "--values", type=Path, action="append", default=[], help="for Helm, with --kubeconfig"
    )
    reading = add("logs", help="show logs")
    reading.add_argument("component", nargs="?", default="")
    reading.add_argument("-f", "--follow", action="store_true")
    plain = {
        "down": "stop, keep data",
        "clean": "stop, drop data",
        "status": "what runs",
        "images": "build all images and print their archives",
        "charts": "pack all charts and print their folder",
        "tools": "build the executables and print their folder",
    }
    for parser in (starting, reading, *(add(verb, help=text) for verb, text in plain.items())):
        parser.set_defaults(run=_run_safely)


def _run_safely(given: argparse.Namespace) -> int:
    try:
        return _run(given)
    except StepError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `edge status | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _run(given: argparse.Namespace) -> int:
    match given.verb:
        case "up":
            up(given.kubeconfig, given.registry, given.values)
        case "down":
            down()
        case "clean":
            clean()
        case "logs":
            logs(given.component, follow=given.follow)
        case "charts":
            print(charts.packed(places.checkout() / "charts"))
        case "tools":
            print(tools.ensure(Progress()))
        case "images":
            progress = Progress()
            built = images.Builder(tools.ensure(progress), progress).all()
            for name, path in [*built.first.items(), *built.later.items()]:
                print(f"{name} {path}")
        case _:
            return status()
    return 0


def _up_embedded(name: str, progress: Progress) -> None:
    running = (known := instance.find(name)) is not None and lifecycle.first_process(known) is not None
    wanted = ports.wanted()
    listeners = {} if running else ports.bind(wanted)  # before minutes of building
    folder = tools.ensure(progress)
    built = images.Builder(folder, progress).all()
    one = instance.ensure(name, "up", durable=True, avoid=network.networks_in_use())
    if not running:
        with progress.step("namespaces, link and address"):
            lifecycle.begin(one, listeners)
        for listener in listeners.values():
            listener.close()
        gateway.remember(one, wanted)
    cluster = HostCluster(one, folder, progress)
    start_platform(cluster, built, progress)
    with progress.step("gateway answers on this machine"):
        gateway.publish(one, folder)
        gateway.wait(one)
    progress.say(f"\nEdge Platform is ready ({progress.seconds():.0f} s).")
    gateway.tell(one)


def installation(one: Instance, folder: Path, built: Archives) -> Installation:
    """The platform on an instance, with images from this machine."""
    chart = places.checkout() / "charts" / "edge-controller"
    # The tag of a locally built image stays the same; its digest makes the pods follow it.
    image = ociimage.digest(built["localhost/edge/edge-platform:v1.0.0"]).removeprefix("sha256:")[:16]
    parts = (
        "podAnnotations",
        "components.apiserver.values.podAnnotations",
        "components.chartmuseum.values.podAnnotations",
    )
    return Installation(
        kubeconfig=one.kubeconfig,
        helm=folder / "helm",
        kubectl=folder / "kubectl",
        chart=chart,
        values=[chart / "embedded-values.yaml"],
        overrides={f"{part}.image": f"sha-{image}" for part in parts},
    )


def _up_existing(kubeconfig: Path, registry: str, values: Sequence[Path], progress: Progress) -> None:
    folder = tools.ensure(progress, ["kube", "helm"])
    existing.check(existing.Cluster(folder / "kubectl", kubeconfig), progress)
    chart = places.checkout() / "charts" / "edge-controller"
    overrides = {"global.imageRegistry": registry} if registry else {}
    install(Installation(kubeconfig, folder / "helm", folder / "kubectl", chart, values, overrides), progress)
    progress.say(f"\nEdge Platform is ready on the cluster of {kubeconfig} ({progress.seconds():.0f} s).")
    progress.say(f"  kubectl --kubeconfig {kubeconfig} get svc -n edge-system")


def _tools_of(known: Instance) -> Path:
    """The executables with which the instance was started last, for stopping and looking."""
    link = known.at("tools")
    return link.resolve() if link.exists() else places.cache() / "tools" / "dev"


def _name() -> str:
    return os.environ.get("EDGE_INSTANCE") or "dev"


def _need_root() -> None:
    if os.geteuid() != 0:
        raise StepError(
            "embedded mode makes namespaces, links and mounts: run it as root, for example with sudo"
        )
