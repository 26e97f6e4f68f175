"""A client of the gateway for Python programs: typed, asynchronous, and generated from its OpenAPI document.

    async with EdgeClient("https://edge.example.com:8443", token, ca="edge-ca.crt") as edge:
        me = await edge.calls.get_me()
        async for user in edge.kinds.users.pages():
            print(user.metadata.name, user.spec.email)

Errors are exceptions of `edge_sdk.client.errors`, each with the Status that the gateway sent and its code.
"""

from edge_sdk.client.errors import CallError, GatewayError
from edge_sdk.client.gateway import EdgeClient
from edge_sdk.client.http import Http, TokenSource
from edge_sdk.client.objects import Change, ObjectList, Objects

__all__ = [
    "CallError",
    "Change",
    "EdgeClient",
    "GatewayError",
    "Http",
    "ObjectList",
    "Objects",
    "TokenSource",
]
