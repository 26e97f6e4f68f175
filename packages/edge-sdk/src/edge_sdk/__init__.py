"""All that a room or a plugin of Edge Platform imports, besides `edge_kube.meta` and `edge_kube.runtime`."""

from edge_sdk.clock import Clock, SystemClock
from edge_sdk.problem import (
    Conflict,
    Forbidden,
    Invalid,
    Missing,
    NotAuthenticated,
    Problem,
    TooLarge,
    TooMuch,
    Unavailable,
    Violation,
)
from edge_sdk.room import Loop, Rights, Room, Route, Webhook
from edge_sdk.secret import Secret

__all__ = [
    "Clock",
    "Conflict",
    "Forbidden",
    "Invalid",
    "Loop",
    "Missing",
    "NotAuthenticated",
    "Problem",
    "Rights",
    "Room",
    "Route",
    "Secret",
    "SystemClock",
    "TooLarge",
    "TooMuch",
    "Unavailable",
    "Violation",
    "Webhook",
]
