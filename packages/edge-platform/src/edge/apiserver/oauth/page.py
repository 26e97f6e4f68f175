"""The pages that a browser sees on its way to a program: sign-in, sign-out, and what is wrong.

Plain HTML from this process alone: no script, nothing from elsewhere, usable with a screen reader and
without a network. Nothing may frame them, and a form goes nowhere but here and to the program that asked.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from aiohttp import web

from edge.apiserver.answers import json_answer
from edge.iam.redirects import origin_of

HTML: Final = "text/html; charset=utf-8"
ANSWER: Final = "answer"
"""Field of the page that asks whether to go on; its buttons send CONTINUE or CANCEL."""
CONTINUE: Final = "continue"
CANCEL: Final = "cancel"
STYLE: Final = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{margin:0;display:grid;place-items:center;min-height:100vh;background:Canvas;color:CanvasText}
main{width:min(22rem,100% - 2rem)}
h1{font-size:1.4rem;font-weight:600}
label{display:block;margin-top:1rem}
input{box-sizing:border-box;width:100%;padding:.6rem;font:inherit;
border:1px solid GrayText;border-radius:.4rem}
button,.link{box-sizing:border-box;display:block;width:100%;margin-top:1.5rem;padding:.65rem;font:inherit;
font-weight:600;text-align:center;text-decoration:none;border:1px solid #1d4ed8;border-radius:.4rem}
button{background:#1d4ed8;color:#fff;cursor:pointer}
.link{color:LinkText;background:Canvas}
button.link{margin-top:.75rem}
:focus-visible{outline:3px solid #f59e0b;outline-offset:2px}
.error{margin:1rem 0;padding:.75rem 1rem;border-left:4px solid #dc2626;
background:color-mix(in srgb,#dc2626 12%,Canvas)}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class ProviderLink:
    """Another way to sign in: where it begins, and what it is called."""

    href: str
    title: str


def sign_in_page(
    *,
    client: str,
    hidden: Sequence[tuple[str, str]],
    redirect_uri: str,
    links: Sequence[ProviderLink] = (),
    name: str = "",
    error: str = "",
    status: int = 200,
) -> web.Response:
    """hidden: fields that come back with the form. redirect_uri: where the form's answer leads."""
    wrong = f'<p class="error" role="alert" id="wrong">{escape(error)}</p>' if error else ""
    described = ' aria-describedby="wrong" aria-invalid="true"' if error else ""
    others = "".join(
        f'<a class="link" href="{escape(link.href)}">Sign in with {escape(link.title)}</a>' for link in links
    )
    body = f"""<h1>Sign in</h1>
<p>to go on to <strong>{escape(client)}</strong></p>
{wrong}<form method="post" action="authorize" autocomplete="on">
{_hidden(hidden)}<label for="username">User name</label>
<input id="username" name="username" value="{escape(name)}" autocomplete="username" autocapitalize="none"
 spellcheck="false" required maxlength="253"{described}{"" if name else " autofocus"}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{described}\
{" autofocus" if name else ""}>
<button type="submit">Sign in</button>
</form>
{others}"""
    return _page("Sign in", body, status, form_action=f"'self' {origin_of(redirect_uri)}")


def consent_page(
    *, client: str, user: str, hidden: Sequence[tuple[str, str]], redirect_uri: str, other: str
) -> web.Response:
    """Asks who is signed in. hidden: fields that come back with the form. other: where others sign in."""
    body = f"""<h1>Go on as {escape(user)}?</h1>
<p><strong>{escape(client)}</strong>, a program on this device, asks to act as you.</p>
<p>Continue only if you have begun this yourself, a moment ago.</p>
<form method="post" action="authorize">
{_hidden(hidden)}<button type="submit" name="{ANSWER}" value="{CONTINUE}">Continue</button>
<button class="link" type="submit" name="{ANSWER}" value="{CANCEL}">Cancel</button>
</form>
<a class="link" href="{escape(other)}">Use another account</a>"""
    return _page("Go on?", body, 200, form_action=f"'self' {origin_of(redirect_uri)}")


def error_page(what: str, why: str = "", do: str = "", status: int = 400) -> web.Response:
    """Shown instead of sending anybody anywhere."""
    reason = f"<p>{escape(why)}</p>" if why else ""
    way_out = f"<p>{escape(do)}</p>" if do else ""
    body = f'<h1>This did not work</h1>\n<p class="error" role="alert">{escape(what)}</p>\n{reason}{way_out}'
    return _page("This did not work", body, status)


def sign_out_page(hidden: Sequence[tuple[str, str]]) -> web.Response:
    body = f"""<h1>Sign out?</h1>
<p>You stay signed in to programs that have their own session.</p>
<form method="post" action="logout/confirm">
{_hidden(hidden)}<button type="submit">Sign out</button>
</form>"""
    return _page("Sign out?", body, 200, form_action="'self'")


def signed_out_page() -> web.Response:
    return _page("Signed out", "<h1>You are signed out</h1>\n<p>You may close this page.</p>", 200)


def _hidden(fields: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">\n' for name, value in fields
    )


def _page(title: str, body: str, status: int, form_action: str = "'none'") -> web.Response:
    text = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Edge Platform</title><style>{STYLE}</style></head>
<body><main>
{body}
</main></body>
</html>
"""
    response = json_answer(text.encode(), status, HTML)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {form_action}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["X-Frame-Options"] = "DENY"
    # The forms need an Origin of their own, and the address holds a state that is nobody else's.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


def sent_on(where: str) -> web.Response:
    """303: a browser follows with GET, and does not send the password on (OAuth BCP §4.12)."""
    response = web.Response(status=303)
    response.headers["Location"] = where
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Frame-Options"] = "DENY"
    return response
