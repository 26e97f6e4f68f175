"""Which request means what. ChartMuseum's paths depend on DEPTH and on what a path ends in, so they are
matched here by hand, as a pure function, rather than by a router's patterns."""

from typing import NamedTuple

from edge.museum.storage import is_repository

_FILES = (".yaml", ".tgz", ".tgz.prov", ".prov")


class Target(NamedTuple):
    """action: name of the handler. anonymous: needs no credentials, ever. push: changes something."""

    action: str
    repo: str = ""
    name: str = ""
    version: str = ""
    push: bool = False
    anonymous: bool = False


_READ = ("GET", "HEAD")


def route(method: str, path: str, *, context_path: str, depth: int, dynamic: bool) -> Target | None:
    """None: 404, also for a wrong method, as upstream answers. `path` is percent-decoded."""
    if path in ("/health", context_path + "/health") and method in _READ:
        return Target("health", anonymous=True)
    if path in ("/readyz", context_path + "/readyz") and method in _READ:
        return Target("ready", anonymous=True)
    if context_path:
        if path != context_path and not path.startswith(context_path + "/"):
            return None
        path = path[len(context_path) :] or "/"
    if method in _READ:
        fixed = {
            "/": "welcome",
            "/info": "info",
            "/metrics": "metrics",
            "/artifacthub-repo.yml": "artifact_hub",
        }
        if path in fixed:
            return Target(fixed[path], anonymous=path in ("/info", "/metrics"))
    if path.startswith("/api/") and not path.endswith(_FILES):
        return _api(method, path.removeprefix("/api/").split("/"), depth, dynamic)
    return _repository(method, path.removeprefix("/").split("/"), depth, dynamic) if method in _READ else None


def _repository(method: str, segments: list[str], depth: int, dynamic: bool) -> Target | None:
    if segments[-1] == "index.yaml":
        repo = _repo(segments[:-1], depth, dynamic)
        return None if repo is None else Target("index", repo)
    if len(segments) >= 2 and segments[-2] == "charts" and segments[-1]:
        repo = _repo(segments[:-2], depth, dynamic)
        return None if repo is None else Target("file", repo, segments[-1])
    return None


def _api(method: str, segments: list[str], depth: int, dynamic: bool) -> Target | None:
    split = _keyword(segments) if dynamic else depth
    if split is None or split >= len(segments):
        return None
    repo = _repo(segments[:split], depth, dynamic)
    if repo is None:
        return None
    match method, segments[split:]:
        case "GET", ["charts"]:
            return Target("list_charts", repo)
        case "POST", ["charts"]:
            return Target("upload", repo, push=True)
        case "POST", ["prov"]:
            return Target("upload_provenance", repo, push=True)
        case "GET" | "HEAD", ["charts", name] if name:
            return Target("show_chart", repo, name)
        case "GET" | "HEAD", ["charts", name, version] if name and version:
            return Target("show_version", repo, name, version)
        case "DELETE", ["charts", name, version] if name and version:
            return Target("delete", repo, name, version, push=True)
        case "GET", ["charts", name, version, "templates"]:
            return Target("templates", repo, name, version)
        case "GET", ["charts", name, version, "values"]:
            return Target("values", repo, name, version)
        case _:
            return None


def _keyword(segments: list[str]) -> int | None:
    return next((i for i, segment in enumerate(segments) if segment in ("charts", "prov")), None)


def _repo(segments: list[str], depth: int, dynamic: bool) -> str | None:
    repo = "/".join(segments)
    if not dynamic and len(segments) != depth:
        return None
    return repo if is_repository(repo) else None
