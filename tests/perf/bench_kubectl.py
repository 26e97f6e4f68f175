"""What a person feels of the proxy: `kubectl cp`, `exec` and `logs -f` of 100 MB, through it and direct (G2).

On the whole platform, with the kubectl that it ships, to a pod of the host. Both ways are asked in turn, so
that they see the same machine; kubectl itself takes most of a core on either.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e import instance
from tests.e2e.instance import Platform, eventually
from tests.e2e.test_gateway import BUSYBOX, PASSWORD, PERSON, USER, Through, token_of
from tests.support.figures import figure

NAMESPACE = "bench-kubectl"
MEGABYTES = 100
ROUNDS = 5
MADE_WITHIN = 5

POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: talker, namespace: {NAMESPACE}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: talker
    image: {BUSYBOX}
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "head -c {MEGABYTES}000000 /dev/urandom > /tmp/blob; touch /tmp/ready; sleep 100000"]
    readinessProbe: {{exec: {{command: [test, -f, /tmp/ready]}}}}
"""

# The kubelet turns a log of more than 10 MiB over, looks every 10 s, and only while the container runs.
PRINTER = f"""
apiVersion: v1
kind: Pod
metadata: {{name: printer, namespace: {NAMESPACE}}}
spec:
  restartPolicy: Never
  containers:
  - name: printer
    image: {BUSYBOX}
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "yes {"x" * 999} | head -c {MEGABYTES}000000"]
"""


def main() -> int:
    with instance.platform() as platform:
        platform.kubectl("apply", "-f", "-", stdin=PERSON)
        platform.kubectl("create", "namespace", NAMESPACE)
        eventually("the pod is accepted", lambda: platform.kubectl("apply", "-f", "-", stdin=POD) or True)
        platform.kubectl("wait", "--for=condition=Ready", "pod/talker", "-n", NAMESPACE, "--timeout=180s")
        eventually("one can sign in", lambda: token_of(platform, USER, PASSWORD).count(".") == 2)
        through = Through(platform, token_of(platform, USER, PASSWORD))
        compare(platform, through)
    return 0


def compare(platform: Platform, through: Through) -> None:
    folder = platform.instance.at("bench")
    folder.mkdir(exist_ok=True)
    pod = f"{NAMESPACE}/talker:/tmp/blob"
    measured = {
        "kubectl cp out of a pod": ("cp", pod, str(folder / "blob")),
        "kubectl cp into a pod": ("cp", str(folder / "blob"), f"{NAMESPACE}/talker:/tmp/back"),
        "kubectl exec, 100 MB out": ("exec", "-n", NAMESPACE, "talker", "--", "cat", "/tmp/blob"),
    }
    for name, words in measured.items():
        tell(name, rates(platform, through, words))
    print_much(platform)
    tell("kubectl logs -f", rates(platform, through, ("logs", "-f", "-n", NAMESPACE, "printer")))


def print_much(platform: Platform) -> None:
    """A pod whose whole log is there. Raises RuntimeError when it was turned over each time."""
    for _ in range(MADE_WITHIN):
        platform.kubectl("apply", "-f", "-", stdin=PRINTER)
        done = "--for=jsonpath={.status.phase}=Succeeded"
        platform.kubectl("wait", done, "pod/printer", "-n", NAMESPACE, "--timeout=120s")
        if len(platform.kubectl("logs", "-n", NAMESPACE, "printer")) == MEGABYTES * 1_000_000:
            return
        platform.kubectl("delete", "pod", "printer", "-n", NAMESPACE, "--timeout=60s")
    raise RuntimeError(f"{MADE_WITHIN} logs of {MEGABYTES} MB were turned over while they were written")


def rates(platform: Platform, through: Through, words: tuple[str, ...]) -> tuple[float, float]:
    """Medians in MB/s: through the gateway, straight."""
    ways = (["kubectl"], platform.environment), (through.command, through.environment)
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for times, (command, environment) in zip(found, ways, strict=True):
            start = time.perf_counter()
            subprocess.run([*command, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
            times.append(MEGABYTES / (time.perf_counter() - start))
    straight, ours = map(statistics.median, found)
    return ours, straight


def tell(name: str, measured: tuple[float, float]) -> None:
    ours, straight = measured
    figure(name, ours, "MB/s", "", f"{straight:.0f} MB/s direct")
    figure(f"{name}, of direct", ours / straight * 100, "%", ">= 70")


if __name__ == "__main__":
    sys.exit(main())
