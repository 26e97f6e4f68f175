"""The watch socket edge.watch.v1 before a real API server: windows, deltas, resume (G3; console §5.4)."""

import secrets

from tests.support.gateway import RunningGateway
from tests.support.watching import rows, watching
from tests.support.workspaces import WORKSPACES

from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.meta import Key, ObjectMeta


def made(name: str, **labels: str) -> Workspace:
    return Workspace(metadata=ObjectMeta(name=name, labels={"watched": "yes", **labels}))


async def label(kube: Client, name: str, **labels: str) -> None:
    await kube.merge(Workspace, Key("", name), {"metadata": {"labels": labels}})


class Watched:
    """Workspaces of one test, told apart from those of others by a label."""

    def __init__(self, kube: Client, gateway: RunningGateway) -> None:
        self._kube = kube
        self._gateway = gateway
        self.tail = secrets.token_hex(3)

    def name(self, name: str) -> str:
        return f"{name}-{self.tail}"

    @property
    def selector(self) -> str:
        return f"test={self.tail}"

    async def create(self, *names: str) -> None:
        """Known to the gateway afterwards: a window is of what is known when it is opened."""
        token = await self._gateway.token()
        for name in names:
            await self._kube.create(made(self.name(name), test=self.tail), manager="test")
            await self._gateway.until(f"{WORKSPACES}/{self.name(name)}", 200, token=token)


async def test_a_window_is_shown_then_only_what_changes_in_it(gateway: RunningGateway, kube: Client) -> None:
    mine = Watched(kube, gateway)
    await mine.create("a", "b")
    async with watching(gateway, await gateway.token()) as watcher:
        model = await watcher.sub(rows("workspaces", "name,labels", labelSelector=mine.selector))
        await watcher.until(lambda: len(model.names) == 2)
        assert watcher.frames[0]["t"] == "welcome"
        assert watcher.frames[0]["limits"] == {"subs": 64, "rows": 500, "unacked": 32}
        assert model.names == [mine.name("a"), mine.name("b")]
        await label(kube, mine.name("b"), colour="red")
        await watcher.until(lambda: model.row(mine.name("b"))["labels"].get("colour") == "red")
        (delta,) = watcher.seen("delta")
        assert [list(news) for _, news in delta["set"]] == [["labels"]]
        assert delta["pending"] == {"added": 0, "removed": 0, "reordered": False}


async def test_a_client_that_comes_back_with_what_it_has_is_told_that_it_is_current(
    gateway: RunningGateway, kube: Client
) -> None:
    mine = Watched(kube, gateway)
    await mine.create("a")
    what = rows("workspaces", "name,labels", labelSelector=mine.selector)
    async with watching(gateway, await gateway.token()) as watcher:
        before = await watcher.sub(what)
        await watcher.until(lambda: before.names)
        await label(kube, mine.name("a"), colour="red")
        await watcher.until(lambda: before.row(mine.name("a"))["labels"].get("colour") == "red")
    async with watching(gateway, await gateway.token()) as watcher:
        current, old = await watcher.sub(what, have=before), await watcher.sub(what)
        await watcher.until(lambda: watcher.seen("same") and old.names)
        assert watcher.seen("same")[0]["id"] == watcher.id_of(current)
        assert watcher.seen("same")[0]["rv"] == before.rv == old.rv
        await label(kube, mine.name("a"), colour="blue")
        await watcher.until(lambda: old.row(mine.name("a"))["labels"]["colour"] == "blue")
    async with watching(gateway, await gateway.token()) as watcher:
        behind = await watcher.sub(what, have=before)
        await watcher.until(lambda: behind.row(mine.name("a"))["labels"]["colour"] == "blue")
        assert [frame["t"] for frame in watcher.frames if "id" in frame] == ["snap"]


async def test_what_comes_and_goes_is_counted_until_the_client_asks_for_it(
    gateway: RunningGateway, kube: Client
) -> None:
    mine = Watched(kube, gateway)
    await mine.create("a", "c")
    async with watching(gateway, await gateway.token()) as watcher:
        model = await watcher.sub(rows("workspaces", labelSelector=mine.selector))
        await watcher.until(lambda: len(model.names) == 2)
        await mine.create("b")
        await kube.delete(Workspace, mine.name("c"))
        await watcher.until(
            lambda: model.pending == {"added": 1, "removed": 1, "reordered": False} and model.gone
        )
        assert [row["n"][0] for row in model.rows.values()] == [mine.name("a"), mine.name("c")]
        await watcher.send("mod", id=1, apply=True)
        await watcher.until(lambda: model.names == [mine.name("a"), mine.name("b")])
        assert model.total == 2


async def test_a_window_can_be_moved_sorted_and_searched_in(gateway: RunningGateway, kube: Client) -> None:
    mine = Watched(kube, gateway)
    await mine.create("a", "b", "c")
    names = [mine.name(name) for name in "abc"]
    async with watching(gateway, await gateway.token()) as watcher:
        model = await watcher.sub(rows("workspaces", labelSelector=mine.selector, limit=2))
        await watcher.until(lambda: model.names == names[:2])
        assert model.total == 3
        await watcher.send("mod", id=1, window={"offset": 2, "limit": 2})
        await watcher.until(lambda: model.names == names[2:])
        await watcher.send("mod", id=1, window={"offset": 0, "limit": 3}, sort="-name")
        await watcher.until(lambda: model.names == names[::-1])
        await watcher.send("mod", id=1, q=names[1].upper())
        await watcher.until(lambda: model.names == [names[1]])
        await watcher.send("unsub", id=1)
        await watcher.send("mod", id=1, sort="name")  # nobody is there any more: no error
        again = await watcher.sub(rows("workspaces", labelSelector=mine.selector, facets="name"), id_=1)
        await watcher.until(lambda: again.names)
        assert watcher.seen("snap")[-1]["facets"] == {"name": dict.fromkeys(names, 1)}


async def test_one_object_is_shown_whole_and_ends_with_it(gateway: RunningGateway, kube: Client) -> None:
    mine = Watched(kube, gateway)
    await mine.create("a")
    what = {"group": "scope", "version": "v1alpha1", "resource": "workspaces", "name": mine.name("a")}
    async with watching(gateway, await gateway.token()) as watcher:
        whole = await watcher.sub({"object": what})
        status = await watcher.sub({"object": {**what, "fields": "status"}})
        absent = await watcher.sub({"object": {**what, "name": "nobody"}})
        await watcher.until(lambda: whole.object and status.object and absent.ended)
        assert absent.ended == "NotFound"
        assert whole.object["metadata"]["labels"]["watched"] == "yes"
        assert "labels" not in status.object["metadata"]
        await label(kube, mine.name("a"), colour="red")
        await watcher.until(lambda: whole.object["metadata"]["labels"].get("colour") == "red")
        assert len([frame for frame in watcher.seen("snap") if frame["id"] == watcher.id_of(status)]) == 1
        await kube.delete(Workspace, mine.name("a"))
        await watcher.until(lambda: whole.ended and status.ended)
        assert whole.ended == "NotFound"


async def test_a_bad_question_ends_that_subscription_alone(gateway: RunningGateway) -> None:
    async with watching(gateway, await gateway.token()) as watcher:
        cases = {
            "UnknownColumn": rows("workspaces", "name,nothing"),
            "BadRequest": rows("workspaces", labelSelector="a in ("),
            "NotFound": rows("pods", group="", version="v9"),
        }
        models = {code: await watcher.sub(what) for code, what in cases.items()}
        over = await watcher.sub(rows("workspaces", limit=501))
        good = await watcher.sub(rows("workspaces"))
        await watcher.until(lambda: good.hash and all(one.ended for one in (*models.values(), over)))
        assert {code: model.ended for code, model in models.items()} == {code: code for code in models}
        assert over.ended == "BadRequest"
        assert watcher.seen("end")[0]["edge"]["do"]


async def test_kinds_that_are_not_known_by_heart_are_watched_once_for_all(
    gateway: RunningGateway, kube: Client
) -> None:
    name = f"watched-{secrets.token_hex(3)}"
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}
    await kube.create(settings, manager="test")
    what = rows("configmaps", "name,labels", group="", version="v1", namespace="default", q=name)
    async with watching(gateway, await gateway.token()) as watcher:
        first, second = await watcher.sub(what), await watcher.sub(what)
        one = {"group": "", "version": "v1", "resource": "configmaps", "namespace": "default", "name": name}
        whole = await watcher.sub({"object": one})
        await watcher.until(lambda: first.names == second.names == [name] and whole.object)
        assert len(gateway.server._upstreams) == 1
        meta = {"name": name, "namespace": "default", "labels": {"colour": "red"}}
        await kube.apply({**settings, "metadata": meta}, manager="test")
        await watcher.until(
            lambda: first.row(name)["labels"] == second.row(name)["labels"] == {"colour": "red"}
        )
        await watcher.until(lambda: whole.object["metadata"].get("labels") == {"colour": "red"})


async def test_secrets_are_shown_without_what_is_secret(gateway: RunningGateway, kube: Client) -> None:
    name = f"watched-{secrets.token_hex(3)}"
    meta = {"name": name, "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"key": "do-not-tell"}}
    await kube.create(secret, manager="test")
    one = {"group": "", "version": "v1", "resource": "secrets", "namespace": "default", "name": name}
    async with watching(gateway, await gateway.token()) as watcher:
        model = await watcher.sub({"object": one})
        user = await watcher.sub(
            {"object": {"group": "iam", "version": "v1alpha1", "resource": "users", "name": "ada"}}
        )
        await watcher.until(lambda: model.object and user.object)
        assert "data" not in model.object
        assert "encryptedPassword" not in user.object["spec"]
