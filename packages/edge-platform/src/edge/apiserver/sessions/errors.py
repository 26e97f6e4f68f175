"""What the OAuth endpoints answer when they say no (RFC 6749 §5.2)."""


class OAuthError(Exception):
    """error: a word of the RFC. The text is for developers of clients."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error


class TokenReused(OAuthError):
    """A refresh token was used again long after it was swapped: its session has been ended."""

    def __init__(self, user: str, session: str) -> None:
        super().__init__(400, "invalid_grant", NO_GOOD)
        self.user = user
        self.session = session


class GoneFromDirectory(OAuthError):
    """The directory does not let a user in any more who came through it: all that did has been ended."""

    def __init__(self, user: str) -> None:
        why = "the directory does not let you in any more: your sessions and kubeconfigs have been ended"
        super().__init__(400, "invalid_grant", why)
        self.user = user


NO_GOOD = "the refresh token is not good: sign in again"
"""One text for every reason: whoever holds a stolen token learns nothing from it."""
