"""What can go wrong between a program and the gateway.

CallError
├── GatewayError             the gateway answered: status, code, request_id, details with causes
│   ├── BadRequest           400
│   ├── NotSignedIn          401
│   ├── Forbidden            403
│   ├── NotFound             404
│   ├── Conflict             409
│   ├── Gone                 410: what the call goes on from is not known any more
│   ├── TooLarge             413
│   ├── Invalid              422: the object breaks a rule; details.causes has every one
│   ├── TooMany              429, after the retries
│   └── ServerError          500 and above
└── Unreachable              no answer, or one that no gateway gives
"""

from typing import Literal

import msgspec

from edge_sdk.client.models.shared import EdgeError, OAuthRefusal, Status, StatusDetails


class CallError(Exception):
    """Base of all errors of the client."""


class Unreachable(CallError):
    """No answer came, or not one of a gateway. The text says why.

    http_status: of the answer, such as a page for people; 0 when there was none.
    """

    def __init__(self, text: str, http_status: int = 0) -> None:
        super().__init__(text)
        self.http_status = http_status


class GatewayError(CallError):
    """An error that the gateway, or a cluster behind it, answered with. The text says what to do."""

    def __init__(self, http_status: int, status: Status) -> None:
        super().__init__(status.message or status.reason or f"the gateway answered {http_status}")
        self.http_status = http_status
        self.status = status

    @property
    def edge(self) -> EdgeError:
        return self.status.edge if isinstance(self.status.edge, EdgeError) else EdgeError()

    @property
    def details(self) -> StatusDetails:
        return self.status.details if isinstance(self.status.details, StatusDetails) else StatusDetails()

    @property
    def code(self) -> str:
        """Stable, in CamelCase, such as AuthorizationStale; the Status' reason where a cluster answered."""
        return self.edge.code or self.status.reason

    @property
    def request_id(self) -> str:
        """Under which the gateway's log tells more."""
        return self.edge.request_id


class BadRequest(GatewayError): ...


class NotSignedIn(GatewayError): ...


class Forbidden(GatewayError): ...


class NotFound(GatewayError): ...


class Conflict(GatewayError): ...


class Gone(GatewayError): ...


class TooLarge(GatewayError): ...


class Invalid(GatewayError): ...


class TooMany(GatewayError): ...


class ServerError(GatewayError): ...


_BY_STATUS: dict[int, type[GatewayError]] = {
    400: BadRequest,
    401: NotSignedIn,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Invalid,
    429: TooMany,
}


class _Said(msgspec.Struct):
    """What every Status has, whoever made it."""

    kind: Literal["Status"]
    message: str = ""
    reason: str = ""
    code: int = 0


def _status_in(body: bytes) -> Status:
    """A newer gateway, or another API server, may tell more than is known here: the sentence still counts.

    Raises msgspec.MsgspecError for what is no Status.
    """
    try:
        return msgspec.json.decode(body, type=Status, strict=False)
    except msgspec.ValidationError:
        said = msgspec.json.decode(body, type=_Said, strict=False)
        return Status(message=said.message, reason=said.reason, code=said.code, status="Failure")


def error_of(http_status: int, body: bytes) -> CallError:
    """The exception for an answer that is no success."""
    cls = _BY_STATUS.get(http_status, ServerError if http_status >= 500 else GatewayError)
    try:
        status = _status_in(body)
    except msgspec.MsgspecError:
        return Unreachable(f"It answered {http_status}, and not as a gateway does.", http_status)
    if not status.message:
        try:
            refusal = msgspec.json.decode(body, type=OAuthRefusal)
        except msgspec.MsgspecError:
            return cls(http_status, status)
        text = refusal.error_description or refusal.error
        status = Status(message=text, reason=refusal.error, code=http_status, status="Failure")
    return cls(http_status, status)
