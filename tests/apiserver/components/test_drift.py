"""Drift: what is deleted comes back, what is changed is set right, and people's edits on the platform's own
workloads stay (K5, P13, X11)."""

from tests.support.charts import chart
from tests.support.engine import NAMESPACE, Engine, has

RANDOM = """\
apiVersion: v1
kind: Secret
metadata: {name: "{{ .Release.Name }}-password"}
stringData: {password: {{ randAlphaNum 16 | quote }}}
"""
WORKLOAD = """\
apiVersion: v1
kind: Service
metadata:
  name: "{{ .Release.Name }}"
  labels: {app.kubernetes.io/name: %(name)s}
spec: {selector: {app: x}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: "{{ .Release.Name }}"
  labels: {app.kubernetes.io/name: %(name)s}
spec:
  replicas: 0
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}"}}
    spec:
      containers:
        - name: main
          image: busybox:1
          env: [{name: LOG_FORMAT, value: json}]
          resources: {limits: {cpu: "0.5"}}
"""


async def test_a_deleted_object_comes_back_within_seconds_without_helm(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("lost")
    await engine.ready("lost")
    engine.kubectl("delete", "configmap", "lost-settings")
    repaired = await engine.until("lost", lambda c: bool(c.status.drift and c.status.drift.count))
    assert repaired.status.drift
    assert repaired.status.drift.last_repair
    assert engine.kubectl("get", "configmap", "lost-settings", "-o", "jsonpath={.data.colour}") == "blue"
    assert engine.verbs() == ["upgrade"]


async def test_a_changed_value_is_set_right_without_a_new_revision(engine: Engine) -> None:
    engine.upload(chart("secretive", templates={"a.yaml": RANDOM + "---\n" + WORKLOAD % {"name": "other"}}))
    await engine.start()
    await engine.create("secretive", chart={"name": "secretive"})
    await engine.settle("secretive", "Deployment")
    await engine.ready("secretive")
    before = engine.kubectl("get", "secret", "secretive-password", "-o", "jsonpath={.data.password}")
    engine.kubectl("set", "env", "deployment/secretive", "LOG_FORMAT=text")
    await engine.until("secretive", lambda c: bool(c.status.drift and c.status.drift.count))
    env = "jsonpath={.spec.template.spec.containers[0].env[0].value}"
    assert engine.kubectl("get", "deployment", "secretive", "-o", env) == "json"
    assert engine.kubectl("get", "secret", "secretive-password", "-o", "jsonpath={.data.password}") == before
    ready = await engine.until("secretive", lambda c: c.status.release_version == 1)
    assert ready.status.release_version == 1
    assert engine.verbs() == ["upgrade"]


async def test_peoples_edits_on_the_platforms_own_workloads_are_kept_and_told(engine: Engine) -> None:
    engine.upload(chart("own", templates={"a.yaml": WORKLOAD % {"name": "edge-platform"}}))
    await engine.start()
    await engine.create("own", chart={"name": "own"})
    await engine.settle("own", "Deployment")
    await engine.ready("own")
    engine.kubectl("set", "env", "deployment/own", "LOG_FORMAT=text")
    engine.kubectl("patch", "service", "own", "-p", '{"spec":{"selector":{"app":"y"}}}')
    engine.kubectl("scale", "deployment/own", "--replicas=2")
    kept = await engine.until("own", lambda c: bool(c.status.drift and len(c.status.drift.kept) == 2))
    told = " ".join(kept.status.drift.kept) if kept.status.drift else ""
    assert "spec.replicas by kubectl" in told
    assert "env" in told
    assert "spec.selector.app by kubectl" in told
    assert has("EditsKept", "True")(kept)
    assert engine.kubectl("get", "deployment", "own", "-o", "jsonpath={.spec.replicas}") == "2"
    engine.kubectl("delete", "service", "own")
    await engine.until("own", lambda c: bool(c.status.drift and c.status.drift.count == 1))
    assert engine.kubectl("get", "service", "own", "-o", "name") == "service/own\n"
    assert engine.kubectl("get", "deployment", "own", "-o", "jsonpath={.spec.replicas}") == "2"


async def test_drift_may_be_reported_only(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("watched", driftPolicy="Report")
    await engine.ready("watched")
    engine.kubectl("delete", "configmap", "watched-settings")
    told = await engine.until("watched", has("Degraded", "True", "Drifted"))
    assert f"ConfigMap {NAMESPACE}/watched-settings" in told.status.conditions[2].message


async def test_a_fight_over_an_object_is_given_up_and_told(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("fought")
    await engine.ready("fought")
    for count in range(1, 4):
        engine.kubectl("patch", "configmap", "fought-settings", "-p", '{"data":{"colour":"theirs"}}')
        await engine.until("fought", lambda c, n=count: bool(c.status.drift and c.status.drift.count == n))
        await engine.until("fought", has("Degraded", "False"))
    engine.kubectl("patch", "configmap", "fought-settings", "-p", '{"data":{"colour":"theirs"}}')
    told = await engine.until("fought", has("Degraded", "True", "DriftFight"))
    assert "fought-settings" in told.status.conditions[2].message
