"""The index as Helm and people read it (K7)."""

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge.museum.chart import Chart
from edge.museum.index import Index, chart_version
from edge.museum.storage import Stamp


def _version(name: str, version: str, mtime_s: int = 0, **metadata: object):
    about = {"apiVersion": "v2", "name": name, "version": version, **metadata}
    stamp = Stamp(f"/{name}-{version}.tgz", 1, mtime_s * 10**9, 1)
    filename = f"{name}-{version}.tgz"
    return chart_version(Chart(about, {}), b"x", stamp, filename, f"charts/{filename}")


def test_versions_are_listed_newest_first_and_charts_by_name() -> None:
    index = Index(
        [_version("b", "1.9.0"), _version("b", "1.10.0"), _version("a", "1.0.0-rc.1"), _version("a", "1.0.0")]
    )
    assert [[v.version for v in group] for group in index.charts.values()] == [
        ["1.0.0", "1.0.0-rc.1"],
        ["1.10.0", "1.9.0"],
    ]
    assert list(index.charts) == ["a", "b"]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), _json, st.sampled_from(["1e3", "no", "0x10", "1.0", "~", "2024-01-01", "a: b", "x #y"]))
def test_the_text_is_yaml_that_means_the_metadata(description: str, annotation: object, version: str) -> None:
    index = Index([_version("web", "1.0.0", description=description, extra=annotation, appVersion=version)])
    entry = yaml.safe_load(index.body)["entries"]["web"][0]
    # YAML readers fold two line breaks that JSON may hold unescaped; json.dumps escapes them.
    assert entry == json.loads(json.dumps(index.charts["web"][0].document))
    assert entry["appVersion"] == version


def test_an_empty_museum_has_an_index_helm_accepts() -> None:
    assert yaml.safe_load(Index().body) == {
        "apiVersion": "v1", "entries": {}, "generated": "1970-01-01T00:00:00Z", "serverInfo": {},
    }  # fmt: skip


def test_equal_content_gives_equal_bytes() -> None:
    versions = [_version("a", "1.0.0"), _version("b", "2.0.0")]
    assert Index(versions).body == Index(reversed(versions)).body
    assert Index(versions).etag == Index(reversed(versions)).etag


def test_the_index_can_be_json() -> None:
    assert json.loads(Index([_version("a", "1.0.0")], as_json=True).body)["entries"]["a"][0]["name"] == "a"
