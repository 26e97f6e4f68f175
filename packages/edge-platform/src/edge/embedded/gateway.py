"""The gateway on this machine's loopback, and what a person is told when the platform is ready."""

import json
import sys
import time
import urllib.request
from pathlib import Path

from edge.embedded.control import Component, Control
from edge.embedded.instance import Instance, write_json
from edge.embedded.steps import StepError

_ANSWERS_WITHIN_S = 60.0
_NAME = "gateway-ports"
# The documented sign-in, to the letter.
_FORM = (
    "grant_type=password&username=admin&password=P@88w0rd&client_id=edge-console&client_secret=edge-secret"
)


def publish(instance: Instance, tools: Path) -> None:
    """Carry the loopback ports that the instance was begun with to Service edge-apiserver."""
    names = list(_ports(instance))
    command = [sys.executable, "-m", "edge.embedded.forward", str(tools / "kubectl")]
    Control(instance.control_socket).start(
        Component(
            name=_NAME,
            argv=[*command, str(instance.kubeconfig), "edge-system", "edge-apiserver", *names],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            log=str(instance.at("logs", f"{_NAME}.log")),
            listeners=names,
        )
    )


def wait(instance: Instance) -> None:
    """Until the gateway answers on loopback: what is printed next is typed at once. Raises StepError."""
    url = f"http://127.0.0.1:{_ports(instance)['http']}/healthz"
    end, why = time.monotonic() + _ANSWERS_WITHIN_S, ""
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError as error:
            why = str(error)
        time.sleep(0.2)
    log = instance.at("logs", f"{_NAME}.log")
    raise StepError(f"{url} did not answer within {_ANSWERS_WITHIN_S:.0f} s ({why}); see {log}")


def remember(instance: Instance, ports: dict[str, int]) -> None:
    write_json(instance.at("run", "ports.json"), ports)


def tell(instance: Instance) -> None:
    """Addresses, how to sign in, where the kubeconfig is, what to try next."""
    ports = _ports(instance)
    url = f"http://127.0.0.1:{ports['http']}"
    also = f"http://127.0.0.1:{ports['metrics']}, https://127.0.0.1:{ports['https']}"
    print(f"""
  Gateway      {url}  (also {also})
  Sign in      admin / P@88w0rd
  kubectl      export KUBECONFIG={instance.kubeconfig} PATH={instance.at("tools")}:$PATH

Try next:
  kubectl get components,pods -n edge-system
  curl -s -X POST {url}/oauth/token -d "{_FORM}"
  the five minutes of README.md: a virtual cluster, and an application in it
  make status, make logs, make down
""")


def _ports(instance: Instance) -> dict[str, int]:
    return json.loads(instance.at("run", "ports.json").read_text())
