"""`edge` as a person uses it, against a real gateway (issue 5 §2)."""

import asyncio
import json
import secrets
import stat
from pathlib import Path

import yaml
from tests.support.gateway import PASSWORD, PATIENCE_S, RunningGateway
from tests.support.person import Person
from tests.support.workspaces import Tenant


async def test_a_session_is_kept_for_its_owner_until_logout(gateway: RunningGateway, tmp_path: Path) -> None:
    person = Person(gateway, tmp_path)
    code, _, err = await person.types("get", "users")
    assert (code, "edge login" in err) == (1, True)
    code, out, _ = await person.types("login", "-u", "admin", "--password-stdin", stdin=PASSWORD + "\n")
    assert code == 0, out
    kept = tmp_path / ".config" / "edge" / "session.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert PASSWORD not in kept.read_text()
    assert "admin" in await person.gets("get", "users", "-o", "name")
    code, _, err = await person.types("get", "users", "--server", "http://127.0.0.1:1")
    assert (code, "not signed in to http://127.0.0.1:1" in err) == (1, True), (
        "no other gateway is shown the token"
    )
    assert f"Signed out of {gateway.url}" in await person.gets("logout")
    assert not kept.exists()


async def test_objects_are_shown_in_every_form(gateway: RunningGateway, tmp_path: Path) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    head, *rows = (await person.gets("get", "users", "--sort-by", ".metadata.name")).splitlines()
    assert head.split() == ["NAME", "EMAIL", "DISPLAYNAME", "STATE", "AGE"]
    assert [row.split()[0] for row in rows] == sorted(row.split()[0] for row in rows)
    assert json.loads(await person.gets("get", "user", "ada", "-o", "json"))["spec"]["groups"] == ["ops"]
    assert yaml.safe_load(await person.gets("get", "user", "ada", "-o", "yaml"))["kind"] == "User"
    assert await person.gets("get", "users", "ada", "-o", "name") == "users.iam.theriseunion.io/ada\n"
    wide = await person.gets("get", "ns", "-o", "wide")
    assert "edge-system" in wide
    maps = await person.gets("get", "configmaps", "-A")
    assert maps.split()[:4] == ["NAMESPACE", "NAME", "DATA", "AGE"], "by the API server's own table"
    assert await person.gets("get", "configmaps", "-n", "edge-system", "-l", "no=thing") == ""
    code, out, err = await person.types("get", "userz")
    assert (code, out) == (2, "")
    assert "users" in err
    code, _, err = await person.types("get", "repositories")
    assert (code, "repositories.image.theriseunion.io" in err) == (2, True)
    code, _, err = await person.types("get", "users", "nobody-here")
    assert (code, "nobody-here" in err) == (1, True)


async def test_changes_are_shown_as_they_come_and_applied_from_a_file(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    person, name = Person(gateway, tmp_path, await gateway.token()), f"shelf-{secrets.token_hex(3)}"
    watching = await person.start("get", "categories", "-w", "-o", "name")
    manifest = {
        "apiVersion": "iam.theriseunion.io/v1alpha1",
        "kind": "Category",
        "metadata": {"name": name},
        "spec": {"icon": "box"},
    }
    file = tmp_path / "shelf.yaml"
    file.write_text(yaml.safe_dump(manifest))
    try:
        tried = await person.gets("apply", "-f", str(file), "--dry-run=server")
        assert tried == f"categories.iam.theriseunion.io/{name} created (server dry run)\n"
        assert (await person.types("get", "category", name))[0] == 1
        assert "created" in await person.gets("apply", "-f", str(file))
        assert watching.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while name not in (await watching.stdout.readline()).decode():
                pass
    finally:
        watching.kill()
        await watching.communicate()
    fields = json.loads(await person.gets("get", "category", name, "-o", "json"))
    assert fields["spec"]["icon"] == "box"
    code, out, err = await person.types("apply", "-f", "-", stdin=json.dumps(manifest))
    assert (code, out) == (0, f"categories.iam.theriseunion.io/{name} applied\n"), err
    assert "deleted" in await person.gets("delete", "category", name)
    assert await person.gets("delete", "-f", str(file), "--ignore-not-found") == ""
    code, _, err = await person.types("apply", "-f", str(tmp_path / "nothing"))
    assert (code, "was not read" in err) == (2, True)


async def test_a_dry_run_tells_what_a_change_would_bring_and_a_refusal_what_to_do(
    gateway: RunningGateway, tenant: Tenant, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path, await gateway.token(tenant.user))
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "colours"},
        "data": {"sky": "blue"},
    }
    text = json.dumps(manifest)
    code, _, err = await person.types("apply", "-f", "-", "-n", "edge-system", stdin=text)
    assert code == 1
    assert "cannot" in err
    code, _, err = await person.types("apply", "-f", "-", "-n", "a", stdin='{"kind": "ConfigMap"}')
    assert (code, "has no metadata.name" in err) == (2, True)


async def test_fields_are_explained(gateway: RunningGateway, tmp_path: Path) -> None:
    person = Person(gateway, tmp_path)
    assert "spec <object>" in await person.gets("explain", "cluster")
    assert "kubeconfig" in await person.gets("explain", "cluster.spec.connection", "-o", "name")
    code, _, err = await person.types("explain", "cluster.spec.nothing")
    assert (code, "It has" in err) == (2, True)
    assert "image" in await person.gets("explain", "repositories.image.theriseunion.io")


async def test_shells_complete_verbs_kinds_names_and_choices(gateway: RunningGateway, tmp_path: Path) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    assert (await person.gets("__complete", "ge")).split() == ["get"]
    assert "users" in (await person.gets("__complete", "get", "u")).split()
    assert (await person.gets("__complete", "get", "users", "ad")).split() == ["ada", "admin"]
    assert (await person.gets("__complete", "get", "users", "-o", "y")).split() == ["yaml"]
    assert "--selector" in (await person.gets("__complete", "get", "users", "--s")).split()
    for shell in ("bash", "zsh", "fish"):
        assert "edge __complete" in await person.gets("completion", shell)
    script = f"{await person.gets('completion', 'bash')}\ncomplete -p edge"
    process = await asyncio.create_subprocess_exec("bash", "-ec", script, stdout=asyncio.subprocess.PIPE)
    assert b"_edge" in (await process.communicate())[0]


async def test_versions_are_told_even_when_no_gateway_answers(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path)
    assert "gateway v" in await person.gets("version")
    assert json.loads(await person.gets("version", "--client", "-o", "json")).keys() == {"client"}
    code, out, err = await person.types("version", "--server", "http://127.0.0.1:1")
    assert (code, out.startswith("edge v"), "was not reached" in err) == (1, True, True)
