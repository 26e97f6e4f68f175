"""What goes wrong with a release, and how it heals (K5, R14; bad input: absent chart, values against the
schema, component cycle, a namespace being deleted)."""

import json

from tests.support.charts import chart
from tests.support.engine import NAMESPACE, Engine, condition, has

from edge.components.types import Component
from edge_kube.core import Namespace

INVALID = """\
apiVersion: v1
kind: Service
metadata: {name: "{{ .Release.Name }}"}
spec: {ports: [{port: {{ .Values.port }}}]}
"""
WORKLOAD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec: {containers: [{name: main, image: busybox}]}
"""
HOOK = """\
apiVersion: batch/v1
kind: Job
metadata: {name: wait, annotations: {helm.sh/hook: pre-install}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}}}
"""


async def test_a_failed_upgrade_returns_to_the_last_good_revision(engine: Engine) -> None:
    engine.upload(chart("service", templates={"service.yaml": INVALID}, values={"port": 80}))
    await engine.start()
    await engine.create("service", chart={"name": "service"})
    good = await engine.ready("service")
    await engine.change("service", values={"port": 99999}, maxRetries=2)
    back = await engine.until("service", has("Stalled", "True"))
    assert back.status.observed_hash == good.status.observed_hash
    assert back.status.failed_hash not in ("", good.status.observed_hash)
    assert back.status.retry_count == 2
    assert back.status.last_failure_time
    assert condition(back, "Ready") == ("False", "RolledBack")
    assert condition(back, "Degraded") == ("True", "RolledBack")
    assert "99999" in back.status.message
    assert engine.kubectl("get", "service", "service", "-o", "jsonpath={.spec.ports[0].port}") == "80"
    assert engine.verbs() == ["upgrade", "upgrade", "rollback", "upgrade", "rollback"]
    await engine.change("service", values={"port": 8080})
    healed = await engine.ready("service")
    assert (healed.status.failed_hash, healed.status.retry_count) == ("", 0)
    assert engine.kubectl("get", "service", "service", "-o", "jsonpath={.spec.ports[0].port}") == "8080"


async def test_an_upgrade_whose_workloads_do_not_get_ready_returns_too(engine: Engine) -> None:
    engine.upload(chart("sick", templates={"a.yaml": WORKLOAD}, values={"replicas": 0}))
    await engine.start()
    await engine.create("sick", chart={"name": "sick"}, maxRetries=2)
    await engine.settle("sick", "Deployment")
    good = await engine.ready("sick")
    await engine.change("sick", values={"replicas": 1}, timeout="3s")
    back = await engine.until("sick", has("Stalled", "True"))
    assert (back.status.retry_count, back.status.observed_hash) == (2, good.status.observed_hash)
    assert condition(back, "Ready") == ("False", "RolledBack")
    assert "Not ready 3 s after the upgrade: Deployment default/sick" in back.status.message
    assert engine.kubectl("get", "deployment", "sick", "-o", "jsonpath={.spec.replicas}") == "0"
    assert engine.verbs() == ["upgrade", "upgrade", "rollback", "upgrade", "rollback"]


async def test_a_hook_that_does_not_end_is_stopped_by_the_timeout(engine: Engine) -> None:
    engine.upload(chart("hooked", templates={"job.yaml": HOOK}))
    await engine.start()
    await engine.create("hooked", chart={"name": "hooked"}, timeout="3s", maxRetries=1)
    failed = await engine.until("hooked", has("Stalled", "True"))
    assert condition(failed, "Ready") == ("False", "HookFailed")
    assert "Job/default/wait" in failed.status.message
    await engine.kube.delete(Component, "hooked", NAMESPACE)
    await engine.kube.gone(Component, "hooked", namespace=NAMESPACE)
    engine.kubectl("delete", "job", "wait", "--ignore-not-found")


async def test_a_skipped_component_is_left_alone_and_lets_go(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("paused")
    await engine.ready("paused")
    skip = {"metadata": {"annotations": {"ext.theriseunion.io/skip-reconcile": "true"}}}
    await engine.kube.patch(Component, "paused", {**skip, "spec": {"values": {"colour": "red"}}}, NAMESPACE)
    engine.kubectl("delete", "configmap", "paused-settings")
    await engine.create("busy")
    await engine.ready("busy")
    assert engine.helm_calls == ["upgrade paused", "upgrade busy"]
    assert "paused-settings" not in engine.kubectl("get", "configmap", "-o", "name")
    await engine.kube.delete(Component, "paused", NAMESPACE)
    await engine.kube.gone(Component, "paused", namespace=NAMESPACE)
    assert "upgrade paused" in engine.helm_calls[0]
    assert "uninstall paused" not in engine.helm_calls


async def test_a_stalled_component_tries_again_when_asked(engine: Engine) -> None:
    engine.upload(chart("late", templates={"service.yaml": INVALID}, values={"port": 0}))
    await engine.start()
    await engine.create("late", chart={"name": "late"}, maxRetries=1)
    stalled = await engine.until("late", has("Stalled", "True"))
    assert condition(stalled, "Ready") == ("False", "Invalid")
    calls = len(engine.helm_calls)
    annotation = {"metadata": {"annotations": {"ext.theriseunion.io/retry": "1"}}}
    await engine.kube.patch(Component, "late", annotation, NAMESPACE)
    await engine.until("late", lambda c: c.status.retry_token.endswith(":1") and has("Stalled", "True")(c))
    assert len(engine.helm_calls) > calls


async def test_values_against_the_charts_schema_are_named_and_not_retried(engine: Engine) -> None:
    schema = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
    engine.upload(chart("strict", files={"values.schema.json": json.dumps(schema)}))
    await engine.start()
    await engine.create("strict", chart={"name": "strict"}, values={"replicas": "many"})
    refused = await engine.until("strict", has("Stalled", "True"))
    assert condition(refused, "Ready") == ("False", "SchemaInvalid")
    assert "/replicas" in refused.status.message
    assert "want integer" in refused.status.message
    assert engine.verbs() == ["upgrade"]
    await engine.change("strict", values={"replicas": 2})
    await engine.ready("strict")


async def test_an_absent_chart_is_named_with_url_status_and_what_there_is(engine: Engine) -> None:
    for version in ("1.0.0", "1.1.0"):
        engine.upload(chart("shelf", version))
    await engine.start()
    await engine.create("shelf", "3.0.0", chart={"name": "shelf"})
    missing = await engine.until("shelf", has("Ready", "False", "ChartNotFound"))
    assert f"{engine.museum.url}/charts/shelf-3.0.0.tgz (404)" in missing.status.message
    assert "1.1.0, 1.0.0" in missing.status.message
    assert engine.helm_calls == []
    engine.upload(chart("shelf", "3.0.0"))
    await engine.kube.patch(Component, "shelf", {"metadata": {"annotations": {"a": "b"}}}, NAMESPACE)
    await engine.ready("shelf")


async def test_a_museum_that_does_not_answer_is_waited_for(engine: Engine) -> None:
    await engine.start(museum_url="http://127.0.0.1:9")
    await engine.create("patient")
    waiting = await engine.until("patient", has("Ready", "False", "ChartUnavailable"))
    assert "http://127.0.0.1:9/charts/web-1.0.0.tgz does not answer" in waiting.status.message


async def test_what_runs_keeps_running_while_the_museum_is_away(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("steady")
    await engine.ready("steady")
    await engine.stop()
    await engine.start(museum_url="http://127.0.0.1:9")
    await engine.kube.patch(Component, "steady", {"metadata": {"annotations": {"a": "b"}}}, NAMESPACE)
    steady = await engine.ready("steady")
    assert steady.status.phase == "Running"
    assert engine.verbs() == ["upgrade"]


async def test_a_release_made_by_hand_is_left_alone_until_it_is_handed_over(engine: Engine) -> None:
    engine.upload(chart("web"))
    archive = engine.folder / "web.tgz"
    archive.write_bytes(chart("web"))
    assert engine.helm is None
    await engine.start()
    engine.by_hand("install", "manual", str(archive), "--set", "colour=own")
    await engine.create("manual")
    left = await engine.until("manual", has("InstalledByHand", "True"))
    assert left.status.phase == "InstalledByHand"
    assert condition(left, "Ready") == ("True", "InstalledByHand")
    assert engine.verbs() == []
    await engine.change("manual", adopt="Auto")
    await engine.until("manual", lambda c: c.status.phase == "Running" and c.status.release_version == 2)
    assert engine.kubectl("get", "configmap", "manual-settings", "-o", "jsonpath={.data.colour}") == "blue"


async def test_objects_of_another_release_are_left_alone(engine: Engine) -> None:
    engine.upload(chart("web"))
    archive = engine.folder / "web.tgz"
    same_name = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine-settings}\ndata: {colour: theirs}\n"
    archive.write_bytes(chart("web", templates={"a.yaml": same_name}))
    await engine.start()
    engine.by_hand("install", "umbrella", str(archive))
    await engine.create("mine")
    left = await engine.until("mine", has("InstalledByHand", "True"))
    assert "mine-settings" in left.status.message
    assert "TakeOwnership" in left.status.message
    assert engine.kubectl("get", "configmap", "mine-settings", "-o", "jsonpath={.data.colour}") == "theirs"
    await engine.change("mine", adopt="TakeOwnership")
    await engine.until("mine", lambda c: c.status.phase == "Running")
    assert engine.kubectl("get", "configmap", "mine-settings", "-o", "jsonpath={.data.colour}") == "blue"


async def test_of_two_components_with_one_release_the_older_has_it(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("first", chart={"releaseName": "shared"})
    await engine.ready("first")
    await engine.create("second", chart={"releaseName": "shared"})
    blocked = await engine.until("second", has("Ready", "False", "ReleaseNameTaken"))
    assert "Component default/first" in blocked.status.message
    await engine.kube.delete(Component, "second", NAMESPACE)
    await engine.kube.gone(Component, "second", namespace=NAMESPACE)
    assert engine.verbs() == ["upgrade"]


async def test_a_namespace_being_deleted_is_waited_for(engine: Engine) -> None:
    engine.upload(chart("web"))
    engine.kubectl("create", "namespace", "dying")
    engine.kubectl("create", "configmap", "held", "-n", "dying")
    engine.kubectl("delete", "namespace", "dying", "--wait=false")
    await engine.start()
    await engine.create("dying", chart={"namespace": "dying"})
    waiting = await engine.until("dying", has("Ready", "False", "NamespaceTerminating"))
    assert waiting.status.retry_count == 0
    assert await engine.kube.find(Namespace, "dying") is not None


async def test_messages_hold_no_secret_values(engine: Engine) -> None:
    told = '{{ fail (printf "the password is %s" .Values.password) }}'
    engine.upload(chart("loud", templates={"a.yaml": told}))
    await engine.start()
    await engine.create("loud", chart={"name": "loud"}, values={"password": "tell-nobody"})
    failed = await engine.until("loud", has("Ready", "False", "Render"))
    assert "the password is ***" in failed.status.message
    assert "tell-nobody" not in failed.status.message
