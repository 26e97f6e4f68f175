"""Chart archives that nobody has vouched for (K7; bad input: malformed chart)."""

import gzip
import io
import tarfile

import pytest
from tests.support.charts import chart, pack, provenance

from edge.museum import chart as subject
from edge.museum.chart import BadChart, read_chart
from edge.museum.provenance import BadProvenance, provenance_filename


def _with(member: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO(gzip.decompress(chart("web")))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        tar.addfile(member)
    return gzip.compress(buffer.getvalue())


def test_a_chart_gives_its_metadata_and_the_files_asked_for() -> None:
    read = read_chart(chart("web", "1.2.3-rc.1"), keep=("values.yaml", "templates/"))
    assert read.filename == "web-1.2.3-rc.1.tgz"
    assert set(read.files) == {"values.yaml", "templates/configmap.yaml"}


@pytest.mark.parametrize(
    ("archive", "named"),
    [
        (b"no archive at all", "helm package"),
        (gzip.compress(b"not a tar"), "helm package"),
        (chart("web")[:200], "helm package"),
        (pack({}), "0 top folders"),
        (pack({"web/values.yaml": ""}), "Chart.yaml is missing"),
        (pack({"web/Chart.yaml": "name: a\nversion: 1.0.0\n"}), "apiVersion is None"),
        (pack({"web/Chart.yaml": "apiVersion: v3\nname: a\nversion: 1.0.0\n"}), "accepted are v1 and v2"),
        (pack({"web/Chart.yaml": "apiVersion: v2\nversion: 1.0.0\n"}), "name is None"),
        (pack({"web/Chart.yaml": "apiVersion: v2\nname: ../up\nversion: 1.0.0\n"}), 'name is "../up"'),
        (pack({"web/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0\n"}), "version is 1.0; a text"),
        (pack({"web/Chart.yaml": "apiVersion: v2\nname: a\nversion: v1.0.0\n"}), 'version is "v1.0.0"'),
        (pack({"web/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\ntype: x\n"}), 'type is "x"'),
        (pack({"web/Chart.yaml": "a: [\n"}), "Chart.yaml is no YAML"),
        (pack({"web/Chart.yaml": "- a\n"}), "no map"),
        (pack({"Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\n"}), "outside the chart's folder"),
        (chart("web", files={"../../etc/passwd": "x"}), "leaves the chart's folder"),
        (pack({"/web/Chart.yaml": "x"}), "leaves the chart's folder"),
        (pack({"web/Chart.yaml": "x", "other/a": ""}), "2 top folders"),
    ],
    ids=lambda value: value if isinstance(value, str) else "archive",  # whose bytes tell the time
)
def test_what_is_no_chart_is_refused_with_the_field_and_the_reason(archive: bytes, named: str) -> None:
    with pytest.raises(BadChart) as refusal:
        read_chart(archive)
    assert named in str(refusal.value)


def test_a_link_out_of_the_chart_is_refused() -> None:
    link = tarfile.TarInfo("web/templates/secret.yaml")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
    with pytest.raises(BadChart, match="is a link"):
        read_chart(_with(link))


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_UNPACKED_BYTES", 1024 * 1024)
    bomb = chart("web", files={"zeroes": bytes(2 * 1024 * 1024)})
    assert len(bomb) < 20_000
    with pytest.raises(BadChart, match="unpacks to more than"):
        read_chart(bomb)


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_FILES", 10)
    with pytest.raises(BadChart, match="more than 10 files"):
        read_chart(chart("web", files={f"f{i}": "" for i in range(20)}))


def test_a_provenance_file_is_called_after_what_it_signs() -> None:
    assert provenance_filename(provenance("web", "1.0.0")) == "web-1.0.0.tgz.prov"


@pytest.mark.parametrize(
    "content",
    [b"", b"name: a\nversion: 1.0.0\n", provenance("", "1"), provenance("../../up", "1.0.0"),
     provenance("a/b", "1.0.0")],
)  # fmt: skip
def test_other_text_is_no_provenance_file(content: bytes) -> None:
    with pytest.raises(BadProvenance, match="invalid provenance file"):
        provenance_filename(content)
