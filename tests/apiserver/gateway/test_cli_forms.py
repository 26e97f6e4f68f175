"""`-o` in every command that shows something, progress, warnings, members, completion (issue 5 §2)."""

import asyncio
import json
import os
import pty
from pathlib import Path

import pytest
import yaml
from tests.support.gateway import RunningGateway
from tests.support.person import Person, path_with_edge

from edge_kube.harness import LightCluster

QUERIES = (
    "get users", "get user admin", "get configmaps -A", "explain cluster.spec", "auth can-i list users",
    "auth why list users", "auth who-can list users", "auth impact -f gone.yaml --delete", "kubeconfig list",
    "sessions", "oauth-client list", "version",
)  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
async def test_every_query_has_every_form(gateway: RunningGateway, tmp_path: Path, query: str) -> None:
    await asked_in_every_form(gateway, tmp_path, query)


async def test_queries_of_the_record_have_every_form(gateway_cluster: LightCluster, tmp_path: Path) -> None:
    flags = {"audit.folder": str(tmp_path / "trail"), "audit.acknowledgeWithin": "10s"}
    flags["audit.refuseAtPercent"] = "100"
    async with RunningGateway(gateway_cluster.connection, flags) as gateway:
        for query in ("audit query --limit 3", "audit verify"):
            await asked_in_every_form(gateway, tmp_path, query)


async def asked_in_every_form(gateway: RunningGateway, tmp_path: Path, query: str) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    gone = tmp_path / "gone.yaml"
    gone.write_text(json.dumps({"kind": "IAMRoleBinding", "metadata": {"name": "admin-platform-admin"}}))
    words = query.replace("gone.yaml", str(gone)).split()
    table, wide, as_json, as_yaml, names = [
        await person.gets(*words, "-o", form) for form in ("table", "wide", "json", "yaml", "name")
    ]
    assert table
    assert wide
    assert json.loads(as_json) is not None
    assert type(yaml.safe_load(as_yaml)) is type(json.loads(as_json))
    assert all(len(line.split()) == 1 for line in names.splitlines()), "one word a line"


async def test_progress_is_told_on_a_terminal_only(gateway: RunningGateway, tmp_path: Path) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    file = tmp_path / "two.yaml"
    maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in ("one", "two")]
    file.write_text(yaml.safe_dump_all(maps))
    words = ("apply", "-f", str(file), "--dry-run", "server")
    code, _, err = await person.types(*words)
    assert (code, err) == (0, "")
    ours, theirs = pty.openpty()
    try:
        process = await person.start(*words, stderr=theirs)
        out, _ = await asyncio.wait_for(process.communicate(), 120)
        told = ""
        while "2 of 2: ConfigMap two" not in told:  # the terminal hands over what there is, piece by piece
            told += (await asyncio.wait_for(asyncio.to_thread(os.read, ours, 65536), 60)).decode()
        assert "2 of 2" not in out.decode()
    finally:
        os.close(ours)
        os.close(theirs)


async def test_warnings_of_a_dry_run_are_shown_beside_the_result(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "old", "annotations": {"scheduler.alpha.kubernetes.io/critical-pod": ""}},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    code, out, err = await person.types(
        "apply", "-f", "-", "--dry-run=server", "-o", "name", stdin=json.dumps(pod)
    )
    assert (code, out) == (0, "pods/old\n"), err
    assert err.startswith("Warning: ")
    assert "critical-pod" in err


async def test_objects_of_a_member_cluster_are_shown_applied_and_deleted(
    gateway: RunningGateway, east: LightCluster, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    there = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "only-there"}}
    assert "created" in await person.gets("apply", "--cluster", "east", "-f", "-", stdin=json.dumps(there))
    assert east.kubectl("get", "configmap", "only-there", "-o", "name").strip() == "configmap/only-there"
    listed = await person.gets("get", "configmaps", "--cluster", "east", "-o", "name")
    assert "configmaps/only-there" in listed
    assert "only-there" not in await person.gets("get", "configmaps", "-o", "name")
    assert (await person.gets("get", "ns", "--cluster", "east")).split()[:3] == ["NAME", "STATUS", "AGE"]
    assert "deleted" in await person.gets("delete", "configmap", "only-there", "--cluster", "east")
    code, _, err = await person.types("get", "pods", "--cluster", "nowhere")
    assert (code, "nowhere" in err) == (1, True)


async def test_bash_completes_with_the_script(gateway: RunningGateway, tmp_path: Path) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    script = await person.gets("completion", "bash") + (
        'COMP_WORDS=(edge get users ad); COMP_CWORD=3; _edge; echo "${COMPREPLY[@]}"\n'
        "COMP_WORDS=(edge sess); COMP_CWORD=1; _edge; echo ${COMPREPLY[@]}\n"
    )
    env = {**person.env, "PATH": path_with_edge(tmp_path / "bin")}
    process = await asyncio.create_subprocess_exec("bash", "-ec", script, env=env, stdout=-1)
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert out.decode().splitlines() == ["ada admin", "sessions"]


async def runs(shell: str, script: str, person: Person, here: Path) -> str:
    """What a shell says that has `edge`."""
    env = {**person.env, "PATH": path_with_edge(here / "bin")}
    process = await asyncio.create_subprocess_exec(
        *(shell, "-c", script),
        env=env,
        cwd=here,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_a_name_that_looks_like_a_command_is_never_carried_out(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    token, name = await gateway.token(), "$(touch carried-out)"
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    assert (await gateway.ask("POST", path, token=token, json=role)).status == 201
    try:
        person = Person(gateway, tmp_path, token)
        bash = await person.gets("completion", "bash") + (
            "COMP_WORDS=(edge get clusterroles '$'); COMP_CWORD=3; _edge\n"
            "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
        )
        assert await runs("bash", bash, person, tmp_path) == "\\$\\(touch\\ carried-out\\)\n"
        fish = await person.gets("completion", "fish") + "complete -C 'edge get clusterroles '\n"
        assert "touch carried-out" in await runs("fish", fish, person, tmp_path)
        zsh = await zsh_completes(person, tmp_path, "get", "clusterroles", "$")
        assert zsh.splitlines() == [name]
        assert not (tmp_path / "carried-out").exists()
    finally:
        await gateway.ask("DELETE", f"{path}/$(touch%20carried-out)", token=token)


async def zsh_completes(person: Person, here: Path, *words: str) -> str:
    """With `_edge` in a folder of `fpath`, as a new shell calls it for the first time."""
    folder = here / "functions"
    folder.mkdir(exist_ok=True)
    (folder / "_edge").write_text(await person.gets("completion", "zsh"))
    line = " ".join(f"'{word}'" for word in ("edge", *words))
    return await runs(
        "zsh",
        f"fpath=({folder} $fpath); autoload -U compinit; compinit -D; compadd() {{ print -rl -- $found }}\n"
        f"words=({line}); CURRENT=$#words; _edge\n",
        person,
        here,
    )


async def test_zsh_completes_with_the_script_at_the_first_try(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    assert (await zsh_completes(person, tmp_path, "get", "users", "ad")).splitlines() == ["ada", "admin"]
    assert "users" in (await zsh_completes(person, tmp_path, "get", "")).splitlines()


async def test_fish_completes_with_the_script_and_names_of_files_where_edge_has_none(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path, await gateway.token())
    (tmp_path / "rollout.yaml").touch()
    script = await person.gets("completion", "fish") + (
        "complete -C 'edge get users ad'\necho =\ncomplete -C 'edge apply -f roll'\necho =\n"
        "complete -C 'edge get '\n"
    )
    names, files, kinds = (await runs("fish", script, person, tmp_path)).split("=\n")
    assert names.split() == ["ada", "admin"]
    assert files.split() == ["rollout.yaml"]
    assert "users" in kinds.split()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_other_shells_load_the_script(gateway: RunningGateway, tmp_path: Path, shell: str) -> None:
    person = Person(gateway, tmp_path)
    load = "autoload -U compinit; compinit -D\n" if shell == "zsh" else ""
    script = load + await person.gets("completion", shell)
    process = await asyncio.create_subprocess_exec(shell, "-c", script, env=person.env, stderr=-1)
    _, err = await asyncio.wait_for(process.communicate(), 120)
    assert (process.returncode, err) == (0, b"")
