"""The real program starts with the public installer's file and does what it says (contract 9.2)."""

import asyncio
import json
import ssl
import sys
from pathlib import Path

import aiohttp
import yaml
from tests.support.clientcerts import Authority
from tests.support.gateway import PASSWORD
from tests.support.installer import installers_file
from tests.support.rolling import GatewayProcess

from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port


async def test_the_installers_file_starts_the_gateway_and_what_it_says_is_done(
    gateway_cluster: LightCluster, tmp_path: Path
) -> None:
    gateway = GatewayProcess(gateway_cluster.kubeconfig, tmp_path / "log")
    tls_port, certificate = free_port(), Authority(tmp_path).issue("gateway.example.com")
    tree = installers_file()
    tree["server"] |= {
        "host": "127.0.0.1",
        "port": gateway.port,
        "timeout": {"read": "30s", "write": "30s", "idle": "1s"},
        "tls": {"enabled": True, "certFile": str(certificate), "keyFile": str(certificate)},
    }
    file = tmp_path / "apiserver.yaml"
    file.write_text(yaml.safe_dump(tree))
    command = (
        sys.executable, "-m", "edge.apiserver.main", f"--config={file}", "--server.onlyFirst=true",
        f"--server.kubeconfig={gateway.kubeconfig}", f"--server.tls.port={tls_port}",
        "--authentication.lockout.perAddress=0",  # all tests come from one address
    )  # fmt: skip
    with gateway.log.open("wb") as log:
        gateway.process = await asyncio.create_subprocess_exec(*command, stderr=log, stdout=log)
    try:
        async with asyncio.timeout(180), aiohttp.ClientSession() as session:
            while not await gateway.is_ready(session):  # noqa: ASYNC110 - it starts elsewhere
                await asyncio.sleep(0.1)
        # On a connection of its own: one that was idle for a second may be closed at this very moment.
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            form = {"grant_type": "password", "username": "admin", "password": PASSWORD}
            form |= {"client_id": "test-client", "client_secret": "test-secret"}
            async with session.post(f"{gateway.url}/oauth/token", data=form) as answer:
                assert answer.status == 200, await answer.text()
        await _shows_the_certificate(tls_port, certificate)
        await _closes_an_idle_connection(gateway.port)
    finally:
        await gateway.kill()
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{")]
    (told,) = [line for line in lines if line["event"] == "settings_not_used"]
    assert {"metrics.prometheus.endpoint", "terminal.node.image"} <= set(told["keys"])


async def _shows_the_certificate(port: int, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    served = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    assert ssl.DER_cert_to_PEM_cert(served).strip() in certificate.read_text()


async def _closes_an_idle_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
    async with asyncio.timeout(50):  # far below the 75 s that are usual
        await reader.read()
    writer.close()
