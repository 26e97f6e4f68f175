"""The controller dies ten times in the middle of one installation; everything comes out as asked (P3, K5)."""

import json
import random
import time

from tests.e2e.instance import Platform, eventually

KILLS = 10
SEED = 20260
MANIFEST = """
apiVersion: scope.theriseunion.io/v1alpha1
kind: Cluster
metadata: {name: survivor}
spec: {type: virtual}
---
apiVersion: scope.theriseunion.io/v1alpha1
kind: NodeGroup
metadata: {name: survivors}
spec: {selector: {matchLabels: {kubernetes.io/os: linux}}}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: Application
metadata: {name: survivor}
spec: {}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: ApplicationVersion
metadata: {name: survivor-1.0.0}
spec:
  applicationRef: survivor
  version: 1.0.0
  workloadConfig:
    deployments:
      - name: web
        spec:
          template:
            spec:
              terminationGracePeriodSeconds: 1
              containers:
                - {name: web, image: localhost/edge/busybox:v1.0.0, command: [sleep, "3600"]}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: ApplicationDeployment
metadata: {name: survivor, namespace: default}
spec:
  application: survivor
  version: latest
  topologies:
    - nodeGroup: survivors
    - cluster: survivor
"""


def ready(platform: Platform, kind: str, name: str, namespace: str = "default") -> bool:
    seen = json.loads(platform.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
    conditions = seen.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def test_ten_kills_in_the_middle_of_an_installation_change_nothing_in_its_result(platform: Platform) -> None:
    # Without election a new pod leads at once; with it each kill would cost the rest of a lease.
    _elect(platform, "LEADER_ELECT=false")
    chance = random.Random(SEED)
    try:
        _kill(platform)
        eventually("the webhooks answer", lambda: _applied(platform), within_s=270)
        for _ in range(KILLS - 1):
            time.sleep(chance.uniform(0.2, 4.0))
            _kill(platform)
        platform.kubectl("wait", "--for=condition=Ready", "cluster/survivor", "--timeout=720s")
        eventually(
            "the application runs", lambda: ready(platform, "applicationdeployment", "survivor"), within_s=180
        )
        releases = json.loads(platform.helm("list", "-A", "-o", "json"))
        assert [one["status"] for one in releases if one["name"] == "survivor"] == ["deployed"]
        eventually("its two pods are there", lambda: len(_pods(platform, "vcluster-survivor")) == 2)
    finally:
        _elect(platform, "LEADER_ELECT-")
        eventually("all of it can be deleted", lambda: _deleted(platform), within_s=540)
    kinds = ("get", "namespaces,components,deployments", "-A", "-o", "name")
    eventually("nothing is left", lambda: "survivor" not in platform.kubectl(*kinds))


def _elect(platform: Platform, setting: str) -> None:
    """Set it, and wait until the old pod has ended: two that do not elect would both lead."""
    platform.kubectl("set", "env", "deploy/edge-controller", setting, "-n", "edge-system")
    platform.kubectl("rollout", "status", "deploy/edge-controller", "-n", "edge-system", "--timeout=360s")
    eventually("one controller is left", lambda: len(_controllers(platform)) == 1, within_s=180)


def _controllers(platform: Platform) -> list[str]:
    pods = platform.kubectl("get", "pods", "-l", "app=edge-controller", "-n", "edge-system", "-o", "name")
    return pods.split()


def _pods(platform: Platform, namespace: str) -> list[str]:
    return platform.kubectl("get", "pods", "-n", namespace, "-o", "name").split()


def _kill(platform: Platform) -> None:
    """SIGKILL: no grace, the pod's record goes at once and a new pod starts."""
    platform.kubectl(
        "delete", "pod", "-l", "app=edge-controller", "-n", "edge-system", "--force", "--grace-period=0"
    )


def _applied(platform: Platform) -> bool:
    platform.kubectl("apply", "-f", "-", stdin=MANIFEST)
    return True


def _deleted(platform: Platform) -> bool:
    platform.kubectl("delete", "-f", "-", "--ignore-not-found", "--timeout=450s", stdin=MANIFEST)
    return True
