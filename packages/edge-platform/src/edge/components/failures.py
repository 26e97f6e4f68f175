"""Error classes of Helm, what each means for the next try, and what people read. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from edge_kube.meta import Model


class ErrorClass(NamedTuple):
    """retries: trying the same again can help. counts: it is an attempt of the spec, not of the network."""

    name: str
    retries: bool
    counts: bool
    advice: str


CLASSES = {
    c.name: c
    for c in (
        ErrorClass("Ownership", True, False, "To hand these objects over, set spec.adopt to TakeOwnership."),
        ErrorClass("SchemaInvalid", False, True, "Correct spec.values; `helm show values` lists them."),
        ErrorClass("Render", False, True, "Correct spec.values, or the chart's template."),
        ErrorClass("KindMissing", True, False, "Install what brings that kind, or name it in dependencies."),
        ErrorClass("NamespaceTerminating", True, False, "It goes on when the namespace is gone."),
        ErrorClass("TooLarge", False, True, "Take files that no template needs out of the chart."),
        ErrorClass("HookFailed", True, True, "Look at the hook's Job and pod."),
        ErrorClass("Conflict", True, True, "Another manager owns the field; let it give the field up."),
        ErrorClass("Forbidden", True, True, "Grant the right, or install with an account that has it."),
        ErrorClass("Invalid", True, True, "Correct spec.values, or the chart's template."),
        ErrorClass("Locked", True, False, "Another operation on the release runs; it is waited for."),
        ErrorClass("Unreachable", True, False, "It is tried again until the cluster answers."),
        ErrorClass("Timeout", True, True, "Raise spec.timeout if the chart's hooks need longer."),
        ErrorClass("Killed", True, False, "Helm was stopped from outside; the release is recovered."),
        ErrorClass("NotHealthy", True, True, "Look at the workload's events and pods."),
        ErrorClass("Unknown", True, True, "See the message of Helm."),
    )
}  # fmt: skip

_TABLE: Sequence[tuple[str, Sequence[str]]] = (
    ("Ownership", (r"invalid ownership metadata",)),
    ("SchemaInvalid", (r"values don't meet the specifications of the schema",)),
    ("TooLarge", (r"Too long: may not be more than", r"request is too large")),
    ("KindMissing", (r"no matches for kind", r"resource mapping not found")),
    ("NamespaceTerminating", (r"is being terminated",)),
    ("Locked", (r"another operation \(install/upgrade/rollback\) is in progress",)),
    (
        "Unreachable",
        (
            r"kubernetes cluster unreachable",
            r"connection (refused|reset)",
            r"no such host",
            r"no route to host",
            r"i/o timeout",
            r"TLS handshake",
            r"\bEOF\b",
            r"etcdserver: ",
            r"the server is currently unable",
        ),
    ),
    ("HookFailed", (r"(failed|BackOff) (pre|post)-(install|upgrade|rollback|delete)", r"hooks? failed")),
    ("Forbidden", (r"is forbidden: ", r"cannot (get|list|create|patch|update|delete) resource")),
    ("Conflict", (r"conflict(s)? (with|occurred)", r"Apply failed with \d+ conflict")),
    (
        "Render",
        (
            r"execution error at",
            r"parse error",
            r"nil pointer evaluating",
            r"error calling",
            r"template: ",
            r"executing \"",
            r"chart requires kubeVersion",
            r"found in Chart.yaml, but missing",
        ),
    ),
    ("Invalid", (r"is invalid: ", r"strict decoding error", r"unknown field", r"denied the request")),
    ("Timeout", (r"context deadline exceeded", r"timed out waiting")),
)
_PATTERNS = tuple((re.compile("|".join(patterns)), name) for name, patterns in _TABLE)

_MESSAGE_MAX = 2000


def classify(stderr: str) -> str:
    """The name of the error class; the first pattern that is found wins, since causes precede symptoms."""
    return next((name for pattern, name in _PATTERNS if pattern.search(stderr)), "Unknown")


def readable(stderr: str) -> str:
    """Helm's message without log lines that repeat it, on one line, cut."""
    lines = [line for line in stderr.splitlines() if line and not line.startswith("level=")]
    text = " ".join(" ".join(lines).split()).removeprefix("Error: ")
    return text if len(text) <= _MESSAGE_MAX else text[: _MESSAGE_MAX - 1] + "…"


class Failure(Model):
    """A failed operation. verb: upgrade, rollback or uninstall. hash: what was to be installed. token: what
    the attempt was made for (`step.retry_token`)."""

    kind: str
    message: str
    verb: str
    hash: str
    at_s: float
    token: str = ""


def backoff_s(attempt: int, base_s: float = 10.0, cap_s: float = 300.0) -> float:
    """Wait after the n-th failed attempt: min(base × 2ⁿ⁻¹, cap)."""
    return min(base_s * 2 ** min(max(attempt - 1, 0), 30), cap_s)
