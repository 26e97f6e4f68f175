"""OCI archives, the build cache and packed charts: equal input gives equal bytes (D9)."""

import io
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest

from edge.embedded import charts, keyed, ociimage
from edge.embedded.images import catalogue
from edge.embedded.ociimage import Config, File, Folder, Link
from edge.embedded.steps import StepError

NAMES = ["localhost/edge/one:v1", "docker.io/library/one:v1"]


def archive(folder: Path, content: bytes = b"hello") -> Path:
    folder.mkdir()
    program = folder / "program"
    program.write_bytes(content)
    entries = [Folder("/data", 0o755, 65532), File("/bin/program", program, 0o755), Link("/bin/p", "program")]
    layer = ociimage.write_layer(folder / "layer.tar", entries)
    ociimage.write_archive(folder / "a.tar", NAMES, [layer], Config(entrypoint=["/bin/p"], user="65532"))
    return folder / "a.tar"


def test_equal_input_gives_equal_bytes_and_other_input_another_digest(tmp_path: Path) -> None:
    one, two, other = archive(tmp_path / "1"), archive(tmp_path / "2"), archive(tmp_path / "3", b"bye")
    assert one.read_bytes() == two.read_bytes()
    assert ociimage.digest(one) != ociimage.digest(other)


def test_an_archive_names_the_image_under_each_reference(tmp_path: Path) -> None:
    with tarfile.open(archive(tmp_path / "1")) as file:
        index = json.loads(read(file, "index.json"))
        manifest = json.loads(read(file, blob(index["manifests"][0]["digest"])))
        config = json.loads(read(file, blob(manifest["config"]["digest"])))
        layer = read(file, blob(manifest["layers"][0]["digest"]))
    assert [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]] == NAMES
    assert config["config"]["User"] == "65532"
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        assert [(m.name, m.uid, oct(m.mode), m.mtime) for m in inner] == [
            ("bin", 0, "0o755", 0),
            ("bin/p", 0, "0o777", 0),
            ("bin/program", 0, "0o755", 0),
            ("data", 65532, "0o755", 0),
        ]


def test_a_foreign_archive_has_no_digest_of_ours(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        file.addfile(tarfile.TarInfo("oci-layout"))
    with pytest.raises(ValueError, match="was not written"):
        ociimage.digest(tmp_path / "x.tar")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edge-platform"


def test_an_interrupted_build_leaves_no_product_and_is_made_again(cache: Path) -> None:
    def broken(draft: Path) -> None:
        (draft / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keyed.product("things", "a", "k1", broken)
    assert not (cache / "things" / "a-k1").exists()
    done = keyed.product("things", "a", "k1", lambda draft: (draft / "whole").touch())
    assert [file.name for file in done.iterdir()] == ["whole"]


def test_only_the_last_used_products_of_a_name_are_kept(cache: Path) -> None:
    keys = [f"{number:016x}" for number in range(3)]
    for number, one in enumerate(keys):
        done = keyed.product("things", "a", one, lambda _: None, keep=2)
        os.utime(done, (number, number))
    keyed.product("things", "a-b", keys[0], lambda _: None, keep=1)
    keyed.product("things", "a", keys[1], lambda _: None, keep=2)
    keyed.product("things", "a", "f" * 16, lambda _: None, keep=2)
    left = sorted(folder.name for folder in (cache / "things").iterdir() if folder.is_dir())
    assert left == sorted([f"a-{keys[1]}", f"a-{'f' * 16}", f"a-b-{keys[0]}"])


def test_two_builders_of_one_product_make_it_once(cache: Path) -> None:
    made: list[str] = []

    def build() -> None:
        keyed.product("things", "a", "k", lambda _: made.append("made"))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["made"]


def chart(root: Path, name: str, extra: str = "") -> None:
    (root / name / "templates").mkdir(parents=True)
    (root / name / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n{extra}")
    (root / name / "templates" / "a.yaml").write_text("a: 1\n")


def test_a_packed_chart_carries_the_charts_it_depends_on(cache: Path, tmp_path: Path) -> None:
    root = tmp_path / "charts"
    chart(root, "part")
    need = "dependencies: [{name: part, version: 1.0.0, repository: 'file://../part'}]\n"
    chart(root, "whole", need)
    packed = charts.packed(root)
    with tarfile.open(packed / "whole-1.0.0.tgz") as file:
        assert "whole/charts/part/Chart.yaml" in file.getnames()
    first = (packed / "whole-1.0.0.tgz").read_bytes()
    (root / "part" / "Chart.yaml").touch()
    assert (charts.packed(root) / "whole-1.0.0.tgz").read_bytes() == first


def test_a_missing_dependency_is_named(cache: Path, tmp_path: Path) -> None:
    chart(tmp_path / "charts", "whole", "dependencies: [{name: gone, repository: 'file://../gone'}]\n")
    with pytest.raises(StepError, match="gone"):
        charts.packed(tmp_path / "charts")


def test_every_recipe_names_an_image_of_our_own_first() -> None:
    recipes = catalogue()
    assert {"pause", "busybox", "coredns", "kube", "etcd", "edge-platform", "worker"} <= set(recipes)
    for image in recipes.values():
        assert image.names[0].startswith("localhost/edge/")
        assert image.layers


def test_only_the_worker_and_the_shell_run_as_root() -> None:
    root = {name for name, image in catalogue().items() if not image.config.user}
    assert root == {"worker", "busybox"}


def read(file: tarfile.TarFile, name: str) -> bytes:
    member = file.extractfile(name)
    assert member is not None
    return member.read()


def blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
