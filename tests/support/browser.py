"""A browser as far as sign-in pages need one: cookies and forms; it follows no redirect by itself."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.support.gateway import PASSWORD, Answer, RunningGateway


class Page(HTMLParser):
    """Fields of the form of a page, its labels, and what it would load from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.fields: dict[str, str] = {}
        self.ids: set[str] = set()
        self.labelled: set[str] = set()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.action = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "form":
            self.action = found["action"]
        elif tag == "input":
            self.fields[found["name"]] = found.get("value", "")
        elif tag == "label":
            self.labelled.add(found["for"])
        elif tag == "a":
            self.links.append(found["href"])


@dataclass
class Browser:
    """One jar of cookies before one gateway, or before several that are replicas."""

    gateway: RunningGateway
    cookies: dict[str, str] = field(default_factory=dict)

    async def open(self, path: str, **options: Any) -> Answer:
        return self._kept(await self.gateway.get(path, headers=self._headers(options), **options))

    async def send(self, path: str, form: dict[str, str], **options: Any) -> Answer:
        headers = self._headers(options)
        return self._kept(await self.gateway.ask("POST", path, data=form, headers=headers, **options))

    async def sign_in(self, asked: dict[str, str], name: str = "ada", password: str = PASSWORD) -> Answer:
        """The sign-in page, filled in and sent; the answer to that."""
        page = await self.open(authorize(asked))
        assert page.status == 200, page.body
        form = Page(page.body.decode()).fields | {"username": name, "password": password}
        return await self.send("/oauth/authorize", form)

    def _headers(self, options: dict[str, Any]) -> dict[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return ({"Cookie": cookies} if cookies else {}) | options.pop("headers", {})

    def _kept(self, answer: Answer) -> Answer:
        for line in answer.headers.getall("Set-Cookie", []):  # type: ignore[attr-defined]
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in line:
                del self.cookies[name]
        return answer


@dataclass
class Pkce:
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def authorize(asked: dict[str, str] | list[tuple[str, str]]) -> str:
    return f"/oauth/authorize?{urlencode(asked)}"


def answered(answer: Answer, uri: str) -> dict[str, str]:
    """What a redirect to `uri` carries in its query."""
    assert answer.status == 303, answer.body
    location = answer.headers["Location"]
    assert location.split("?")[0] == uri.split("?")[0], location
    return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))
