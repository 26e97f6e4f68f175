"""Problems as pages: what other callers get as a Status, a person reads."""

from aiohttp import web

from edge.apiserver.oauth.page import error_page
from edge_kube.errors import KubeError
from edge_sdk.problem import Problem, TooMuch, Unavailable


def problem_page(problem: Problem) -> web.Response:
    page = error_page(f"{problem.what}.", problem.why, problem.do, problem.status)
    if isinstance(problem, TooMuch):
        page.headers["Retry-After"] = str(problem.retry_after_s)
    return page


def told(what: str, error: KubeError) -> Unavailable:
    """what: that has not been done."""
    return Unavailable(
        "not-recorded",
        what=what,
        why=f"the Kubernetes API did not take the record: {error}",
        do="try again in a second",
    )
