"""The chart as a real API server takes it, and as documents promise it (P9, X11, D1, S4)."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.gateway import PATIENCE_S

from edge.apiserver.configuration.reading import read_settings
from edge.iam.keyring import PLACEHOLDERS
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import tool

CHART = Path(__file__).parents[3] / "charts" / "edge-apiserver"


def render(*settings: str, values: Path | None = None) -> str:
    command = [tool("helm"), "template", "apiserver", CHART, "--namespace", "edge-system"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    arguments += ["--values", str(values)] if values is not None else []
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(*settings: str, values: Path | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    documents = [found for found in yaml.safe_load_all(render(*settings, values=values)) if found]
    return {(found["kind"], found["metadata"]["name"]): found for found in documents}


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("ha.enabled=false", "service.type=NodePort", "tls.enabled=false"),
        ("authorization.webhook.enabled=true",),
        (
            "ingress.enabled=true",
            "ingress.hosts[0].host=api.edge.example.com",
            "authentication.jwt.secret=abc",
        ),
        (
            "image.repository=registry/edge/apiserver",
            "image.tag=v1.0.0",
            "replicaCount=3",
            "autoscaling.enabled=true",
        ),
    ],
)
def test_a_real_api_server_takes_all_of_it(gateway_cluster: LightCluster, settings: tuple[str, ...]) -> None:
    said = gateway_cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=render(*settings))
    assert "deployment.apps/edge-apiserver created (server dry run)" in said


def test_names_labels_and_ports_are_the_documented_ones() -> None:
    found = objects()
    service = found["Service", "edge-apiserver"]
    assert [(port["name"], port["port"]) for port in service["spec"]["ports"]] == [
        ("http", 9090), ("metrics", 8080), ("https", 8443),
    ]  # fmt: skip
    assert service["metadata"]["annotations"]["prometheus.io/port"] == "9090"
    pod = found["Deployment", "edge-apiserver"]["spec"]["template"]
    assert pod["metadata"]["labels"]["app"] == "edge-apiserver"
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "edge-platform"
    assert "app.kubernetes.io/name" not in found["Service", "apiserver"]["metadata"]["labels"]


def test_nothing_is_rendered_that_people_patch() -> None:
    found = objects()
    assert "replicas" not in found["Deployment", "edge-apiserver"]["spec"]  # the autoscaler's
    assert "type" not in found["Service", "edge-apiserver"]["spec"]
    assert "LOG_LEVEL" not in render()
    assert found["HorizontalPodAutoscaler", "edge-apiserver"]["spec"]["minReplicas"] == 3


def test_the_pod_is_confined() -> None:
    pod = objects()["Deployment", "edge-apiserver"]["spec"]["template"]["spec"]
    (box,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert box["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"startupProbe", "livenessProbe", "readinessProbe", "resources"} <= box.keys()


def test_its_own_rights_are_reading_impersonating_and_little_else() -> None:
    rules = objects()["ClusterRole", "edge-apiserver"]["rules"]
    writes = [rule for rule in rules if not {"get", "list", "watch"} >= set(rule["verbs"])]
    assert {(tuple(rule["resources"]), tuple(rule["verbs"])) for rule in writes} == {
        (("users", "groups"), ("impersonate",)),
        (("serviceaccounts",), ("impersonate",)),
        (("tokenreviews",), ("create",)),
        (("users",), ("create",)),
        (("loginrecords",), ("create",)),
        (("users", "users/status"), ("patch",)),
        (("roletemplates/status", "iamroles/status", "iamrolebindings/status"), ("patch",)),
    }
    assert [rule["resourceNames"] for rule in writes if rule["resources"][0] == "roletemplates/status"] == [
        ["edge-heartbeat"]
    ]
    assert "*" not in json.dumps(rules)


def test_the_rendered_file_is_one_that_the_gateway_reads(tmp_path: Path) -> None:

    file = tmp_path / "edge.yaml"
    file.write_text(objects()["ConfigMap", "edge-apiserver"]["data"]["edge.yaml"])
    settings = read_settings(file=file, environ={"OAUTH_CLIENTS": "edge-console:edge-secret"}, flags={})
    assert (settings.rate_limit.qps, settings.rate_limit.burst) == (1000, 2000)
    assert settings.authentication.jwt.expire.s == 24 * 3600
    assert (settings.kubeconfig.ttl.s, settings.kubeconfig.max_ttl.s) == (24 * 3600, 30 * 86400)


def test_the_authorization_webhook_has_its_port_and_certificates_when_it_is_on(tmp_path: Path) -> None:
    assert "name: reviews" not in render()
    found = objects("authorization.webhook.enabled=true", "authorization.webhook.bindAddress=0.0.0.0:9555")
    assert found["Service", "edge-apiserver"]["spec"]["ports"][-1]["port"] == 9555
    pod = found["Deployment", "edge-apiserver"]["spec"]["template"]["spec"]
    (secret,) = [one["secret"] for one in pod["volumes"] if one["name"] == "reviews"]
    assert secret["secretName"] == "edge-authz-webhook"
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "reviews"]
    file = tmp_path / "edge.yaml"
    file.write_text(found["ConfigMap", "edge-apiserver"]["data"]["edge.yaml"])
    webhook = read_settings(file=file, environ={}, flags={}).authorization.webhook
    assert (webhook.enabled, webhook.bind) == (True, ("0.0.0.0", 9555))  # noqa: S104
    assert Path(webhook.cert_file).parent == Path(webhook.client_ca_file).parent == Path(mount["mountPath"])


def test_sessions_have_their_settings(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    yaml_text = objects(
        "authentication.session.perUser=7", "authentication.session.origins={https://c.example}"
    )
    file.write_text(yaml_text["ConfigMap", "edge-apiserver"]["data"]["edge.yaml"])
    session = read_settings(file=file, environ={}, flags={}).authentication.session
    assert (session.idle.s, session.longest.s) == (30 * 86400, 90 * 86400)
    assert (session.per_user, session.origins) == (7, ("https://c.example",))


def test_what_is_set_for_listeners_reaches_the_file(tmp_path: Path) -> None:
    found = objects(
        "logLevel=debug",
        "cors.allowedOrigins={https://portal.example.com}",
        "tls.clientCASecretName=people-ca",
        "rateLimit.shared=false",
    )
    file = tmp_path / "edge.yaml"
    file.write_text(found["ConfigMap", "edge-apiserver"]["data"]["edge.yaml"])
    settings = read_settings(file=file, environ={}, flags={})
    assert settings.log.level == "debug"
    assert settings.server.cors.allowed_origins == ("https://portal.example.com",)
    assert settings.server.tls.client_ca_secret == "people-ca"
    assert not settings.rate_limit.shared
    (secrets,) = [
        rule
        for rule in found["Role", "edge-apiserver"]["rules"]
        if "get" in rule["verbs"] and "people-ca" in rule.get("resourceNames", ())
    ]
    assert secrets["verbs"] == ["get"]
    (slices,) = [
        rule for rule in found["Role", "edge-apiserver"]["rules"] if rule["resources"] == ["endpointslices"]
    ]
    assert slices["verbs"] == ["get", "list", "watch"]


def test_published_secrets_are_not_used_as_keys() -> None:
    for published in sorted(PLACEHOLDERS - {""}):
        assert "JWT_SECRET" not in render(f"authentication.jwt.secret={published}"), published
    assert "JWT_SECRET" in render("authentication.jwt.secret=a-real-one")


def test_secrets_of_digits_are_secrets_as_well() -> None:
    """--set makes numbers of them."""
    client = "authentication.oauth.clients[0]"
    found = objects("authentication.jwt.secret=1234567", f"{client}.id=one", f"{client}.secret=7654321")
    kept = found["Secret", "edge-apiserver-auth"]["stringData"]
    assert (kept["jwt-secret"], kept["clients"]) == ("1234567", "one:7654321")


@pytest.mark.parametrize("secret", ["with #a sharp", "a: b", "'quoted'", '"', "{x}", "0123", "true", "*"])
def test_a_clients_secret_arrives_as_it_was_given(tmp_path: Path, secret: str) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        json.dumps({"authentication": {"oauth": {"clients": [{"id": "one", "secret": secret}]}}})
    )
    kept = objects(values=values)["Secret", "edge-apiserver-auth"]["stringData"]
    settings = read_settings(file=None, environ={"OAUTH_CLIENTS": kept["clients"]}, flags={})
    assert settings.authentication.oauth.by_id()["one"].reveal() == secret


def test_records_of_sessions_and_kubeconfigs_are_within_its_rights_and_nothing_beside_its_namespace(
    gateway_cluster: LightCluster,
) -> None:
    gateway_cluster.kubectl("apply", "-f", "-", stdin=render("tls.enabled=true"))
    account = "--as=system:serviceaccount:edge-system:edge-apiserver"
    for verb, namespace, expected in (
        *((verb, "edge-system", True) for verb in ("get", "list", "watch", "create", "patch", "delete")),
        ("update", "edge-system", False),
        ("list", "default", False),
        ("patch", "default", False),
    ):
        asked = ("auth", "can-i", verb, "secrets", "-n", namespace, account)
        ends_at = time.monotonic() + PATIENCE_S
        wanted = "yes" if expected else "no"
        while gateway_cluster.kubectl(*asked, check=False).strip().splitlines()[0] != wanted:
            # The API server's RBAC hears of roles and bindings by watches of its own.
            assert time.monotonic() < ends_at, (verb, namespace)
    gateway_cluster.kubectl("delete", "-f", "-", stdin=render("tls.enabled=true"))
