"""Errors that reach a user. Each says what happened, why, and what to do; code is stable, text may change.

    Problem                  400  the caller's fault: a wrong body, field or parameter
    ├── Invalid              422  an object that breaks a rule; lists every violation
    ├── NotAuthenticated     401  no token, a wrong one, or an expired one
    ├── Forbidden            403  signed in, and the right is missing
    ├── Missing              404  not there, or its existence is not shown to the caller
    ├── Conflict             409  it exists already, or someone changed it meanwhile
    ├── Expired              410  what the caller goes on from is not known any more: list again
    ├── TooLarge             413  a body above the limit
    ├── TooMuch              429  too many requests; retry_after_s says when to come back
    └── Unavailable          503  another part does not answer (502 and 504 by `status`)

Anything else is a bug of ours: the user gets 500 and a request id, the stack goes to the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

REASONS: Final[Mapping[int, str]] = {
    405: "MethodNotAllowed",
    409: "Conflict",
    415: "UnsupportedMediaType",
    504: "Timeout",
}
"""Of statuses that no class below stands for, as Kubernetes calls them: client programs go by these words."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with an object. Every rejection names all four.

    field: path as the user writes it, "spec.taints[1].effect"; value: what was found there;
    why: the rule; accepted: what would be accepted, as text or as the list of values.
    """

    field: str
    value: object
    why: str
    accepted: str | Sequence[str] = ""

    def __str__(self) -> str:
        accepted = self.accepted if isinstance(self.accepted, str) else ", ".join(self.accepted)
        shown = f'"{self.value}"' if isinstance(self.value, str) else str(self.value)
        text = f"{self.field}: {shown} is refused: {self.why}"
        return f"{text}; accepted: {accepted}" if accepted else text


class Problem(Exception):
    """code: kebab-case, stable. what: what happened, in the user's words. why: the rule. do: the way out.

    params: values that a translation of the code needs.
    """

    status = 400
    reason = "BadRequest"  # reason of a Kubernetes Status, for kubectl

    def __init__(
        self,
        code: str,
        *,
        what: str,
        why: str = "",
        do: str = "",
        status: int | None = None,
        reason: str | None = None,
        params: Mapping[str, object] | None = None,
    ) -> None:
        """status, reason: other than the class's own. params: values that a translation of the text needs."""
        super().__init__(" ".join(_sentence(part) for part in (what, why, do) if part))
        self.code = code
        self.what = what
        self.why = why
        self.do = do
        self.params = dict(params or {})
        if status is not None:
            self.status = status
            self.reason = REASONS.get(status, self.reason)
        if reason is not None:
            self.reason = reason

    def details(self) -> dict[str, Any]:
        """What the console shows: title (what), text (why), way out (do), and the code in small print."""
        return {"code": self.code, "what": self.what, "why": self.why, "do": self.do}

    def to_status(self) -> dict[str, Any]:
        """A `metav1.Status`, so that kubectl and client-go print it well."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "details": self.details(),
            "code": self.status,
        }


class Invalid(Problem):
    status = 422
    reason = "Invalid"

    def __init__(self, code: str, violations: Sequence[Violation], *, what: str, do: str = "") -> None:
        super().__init__(code, what=what, why="; ".join(str(item) for item in violations), do=do)
        self.violations = tuple(violations)

    def details(self) -> dict[str, Any]:
        causes = [
            {"reason": "FieldValueInvalid", "message": str(item), "field": item.field}
            for item in self.violations
        ]
        return {**super().details(), "causes": causes}


class NotAuthenticated(Problem):
    status = 401
    reason = "Unauthorized"


class Forbidden(Problem):
    status = 403
    reason = "Forbidden"


class Missing(Problem):
    status = 404
    reason = "NotFound"


class Conflict(Problem):
    status = 409
    reason = "Conflict"


class Expired(Problem):
    status = 410
    reason = "Expired"


class TooLarge(Problem):
    status = 413
    reason = "RequestEntityTooLarge"


class TooMuch(Problem):
    status = 429
    reason = "TooManyRequests"

    def __init__(self, code: str, *, what: str, retry_after_s: int, why: str = "", do: str = "") -> None:
        super().__init__(code, what=what, why=why, do=do)
        self.retry_after_s = retry_after_s

    def details(self) -> dict[str, Any]:
        return {**super().details(), "retryAfterSeconds": self.retry_after_s}


class Unavailable(Problem):
    status = 503
    reason = "ServiceUnavailable"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
