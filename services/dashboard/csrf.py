"""Actions come from our own pages, or they are refused: a token, a cookie that no other site sends, the origin."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from shared.errors import SkimError

COOKIE = "skim_session"
FIELD = "csrf_token"
_SESSION_BYTES = 16


class Refused(SkimError):
    """A request that changes something, and does not come from a page of ours."""


class Csrf:
    """Makes the tokens of forms, and checks them.

    A token is a MAC of the session: another program on this host may set our cookie (cookies know no ports), but
    makes no token for it.

    Args:
        secret: of this process. After a restart a page that was open before is refused once.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def session(self, given: str | None) -> str:
        """Return the session a browser gave, or a new one."""
        is_ours = given is not None and len(given) == 2 * _SESSION_BYTES and given.isalnum()
        return given if is_ours and given else secrets.token_hex(_SESSION_BYTES)

    def token(self, session: str) -> str:
        """Return the token that forms of a session carry."""
        return hmac.new(self._secret, session.encode(), hashlib.sha256).hexdigest()

    def check(
        self, *, session: str | None, token: str, origin: str | None, host: str, site: str | None
    ) -> None:
        """Return if a form was sent by a page of ours.

        Args:
            session: the cookie.
            token: the form's.
            origin: the header `Origin`; browsers send it with every form.
            host: the header `Host`.
            site: the header `Sec-Fetch-Site`; older browsers send none.

        Raises:
            Refused: it was not.
        """
        if origin is None or urlsplit(origin).netloc != host:
            raise Refused(f"the form comes from {origin or 'nowhere'}, expected a page of {host}")
        if site not in (None, "same-origin"):
            raise Refused("the form comes from another site")
        if session is None or not hmac.compare_digest(self.token(session), token):
            raise Refused("the form is of a page that is out of date; load it again")
