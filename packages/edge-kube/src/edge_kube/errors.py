"""What can go wrong between us and a Kubernetes API server.

KubeError
├── ApiError                 the server answered: status, reason, message, details of metav1.Status
│   ├── BadRequest           400
│   ├── Unauthorized         401
│   ├── Forbidden            403
│   ├── NotFound             404
│   ├── AlreadyExists        409, reason AlreadyExists
│   ├── Conflict             409, any other reason
│   ├── Gone                 410: the resourceVersion or continue token is too old
│   ├── TooLarge             413
│   ├── Invalid              422: the object breaks its schema, or an admission webhook says no
│   ├── Throttled            429
│   └── ServerError          500 and above
├── ConnectionFailed         no answer: refused, reset, TLS, name not found
│   └── DeadlineExceeded     no answer in time
├── ClusterUnavailable       a member's breaker is open; raised without dialling
└── NotLeader                the write gate is closed: this process does not hold its lease
"""

from collections.abc import Mapping
from typing import Any


class KubeError(Exception):
    """Base of all errors of edge_kube."""


class ApiError(KubeError):
    """The server's answer. `details` is the `details` of metav1.Status, with causes and field paths."""

    def __init__(
        self, status: int, reason: str = "", message: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message or reason or f"HTTP {status}")
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.retry_after_s: float | None = None

    @property
    def code(self) -> int:
        return self.status

    def __str__(self) -> str:
        return f"{self.message or 'no message'} ({self.status} {self.reason})".rstrip()


class BadRequest(ApiError): ...


class Unauthorized(ApiError): ...


class Forbidden(ApiError): ...


class NotFound(ApiError): ...


class AlreadyExists(ApiError): ...


class Conflict(ApiError): ...


class Gone(ApiError): ...


class TooLarge(ApiError): ...


class Invalid(ApiError): ...


class Throttled(ApiError): ...


class ServerError(ApiError): ...


class ConnectionFailed(KubeError):
    """No answer came. sent: whether the request may have reached the server."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class DeadlineExceeded(ConnectionFailed): ...


class ClusterUnavailable(KubeError):
    """A member cluster does not answer; nothing was sent to it."""

    def __init__(self, cluster: str, why: str = "") -> None:
        super().__init__(f"cluster {cluster} does not answer{': ' + why if why else ''}")
        self.cluster = cluster
        self.why = why


class NotLeader(KubeError):
    """A write was stopped because this process no longer holds its lease."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Invalid,
    429: Throttled,
}


def error_of(status: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> ApiError:
    """The exception for an answer, or for the Status body of a watch's ERROR event."""
    cls = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if status == 409 and reason == "AlreadyExists":
        cls = AlreadyExists
    return cls(status, reason, message, details)
