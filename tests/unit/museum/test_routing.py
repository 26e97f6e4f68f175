"""Which request means what, at every depth (K11)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.museum.routing import route


def _route(method: str, path: str, depth: int = 0, *, dynamic: bool = False, context: str = "") -> str:
    target = route(method, path, context_path=context, depth=depth, dynamic=dynamic)
    return f"{target.action}({target.repo}|{target.name}|{target.version})" if target else "404"


@pytest.mark.parametrize(
    ("method", "path", "depth", "meaning"),
    [
        ("GET", "/", 0, "welcome(||)"),
        ("GET", "/index.yaml", 0, "index(||)"),
        ("HEAD", "/index.yaml", 0, "index(||)"),
        ("GET", "/charts/web-1.0.0.tgz", 0, "file(|web-1.0.0.tgz|)"),
        ("GET", "/api/charts", 0, "list_charts(||)"),
        ("POST", "/api/charts", 0, "upload(||)"),
        ("POST", "/api/prov", 0, "upload_provenance(||)"),
        ("GET", "/api/charts/web", 0, "show_chart(|web|)"),
        ("HEAD", "/api/charts/web/1.0.0", 0, "show_version(|web|1.0.0)"),
        ("DELETE", "/api/charts/web/1.0.0", 0, "delete(|web|1.0.0)"),
        ("GET", "/api/charts/web/1.0.0/values", 0, "values(|web|1.0.0)"),
        ("GET", "/api/charts/web/1.0.0/templates", 0, "templates(|web|1.0.0)"),
        ("PUT", "/api/charts", 0, "404"),
        ("DELETE", "/api/charts", 0, "404"),
        ("GET", "/api/prov", 0, "404"),
        ("POST", "/index.yaml", 0, "404"),
        ("GET", "/a/index.yaml", 0, "404"),
        ("GET", "/a/index.yaml", 1, "index(a||)"),
        ("GET", "/index.yaml", 1, "404"),
        ("GET", "/a/b/charts/web-1.0.0.tgz", 2, "file(a/b|web-1.0.0.tgz|)"),
        ("POST", "/api/a/b/c/charts", 3, "upload(a/b/c||)"),
        ("GET", "/api/a/charts/charts/1.0.0", 1, "show_version(a|charts|1.0.0)"),
        ("GET", "/api/index.yaml", 1, "index(api||)"),
        ("GET", "/../index.yaml", 1, "404"),
        ("GET", "/.hidden/index.yaml", 1, "404"),
    ],
)
def test_a_request_means_what_upstream_takes_it_for(method: str, path: str, depth: int, meaning: str) -> None:
    assert _route(method, path, depth) == meaning


def test_a_dynamic_depth_takes_every_depth() -> None:
    assert _route("GET", "/index.yaml", dynamic=True) == "index(||)"
    assert _route("POST", "/api/a/b/charts", dynamic=True) == "upload(a/b||)"


def test_a_context_path_comes_before_everything_but_health() -> None:
    assert _route("GET", "/m/index.yaml", context="/m") == "index(||)"
    assert _route("GET", "/index.yaml", context="/m") == "404"
    assert _route("GET", "/health", context="/m") == _route("GET", "/m/health", context="/m") == "health(||)"


@given(st.text(alphabet="ab./%\\\0-", max_size=20), st.integers(0, 3), st.booleans())
def test_no_path_leaves_the_storage(path: str, depth: int, dynamic: bool) -> None:
    for suffix in ("/index.yaml", "/charts/x.tgz"):
        target = route("GET", f"/{path}{suffix}", context_path="", depth=depth, dynamic=dynamic)
        assert target is None or not {"..", "."} & set(target.repo.split("/"))
