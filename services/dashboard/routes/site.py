"""What every page shares: its frame and headers, its forms, and how it says that something is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined

from services.dashboard import shown
from services.dashboard.csrf import COOKIE, FIELD, Csrf, Refused
from services.dashboard.settings import DashboardSettings
from services.dashboard.suite import ActionFailed
from shared.contracts.base import ID_PATTERN
from shared.report_page.plots import draw, marker

PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # with no-referrer, forms would come from nowhere
    "x-content-type-options": "nosniff",
}
NAVIGATION = (
    ("/", "Overview"),
    ("/jobs", "Jobs"),
    ("/dead-letters", "Dead letters"),
    ("/documents", "Documents"),
    ("/search", "Search"),
    ("/reviews", "Label review"),
    ("/reports", "Reports"),
    ("/bundles", "Bundles"),
)
DONE = {
    "cancelled": "The job is cancelled: what is in hand is finished, nothing more is begun.",
    "replayed": "Dead letters were taken in again, in this job.",
    "nothing": "There was nothing to do.",
    "purged": "Dead letters purged: {n}.",
    "reviewed": "Verdicts kept: {n}.",
    "activated": "This bundle is served now.",
    "rolled-back": "The bundle before is served again.",
    "reloaded": "What is published is served now.",
}
"""What a page says after an action; the address holds the key only, so that no link can put words here."""
_MAX_FIELDS = 5_000
_FORM = "application/x-www-form-urlencoded"
_HERE = Path(__file__).parents[1]

Form = Mapping[str, Sequence[str]]


class PageProblem(Exception):
    """Shown as a page of its own.

    Args:
        line: what is wrong, for a person.
        status: of HTTP.
    """

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.status = status


class Site:
    """Renders pages and reads forms.

    Args:
        settings: of the dashboard.
        csrf: makes and checks the tokens of forms.
    """

    def __init__(self, settings: DashboardSettings, csrf: Csrf) -> None:
        self.settings = settings
        self._csrf = csrf
        self._templates = Environment(
            loader=ChoiceLoader(
                [FileSystemLoader(_HERE / "templates"), PackageLoader("shared.report_page")]
            ),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "drawn": draw,
            "marker": lambda style: marker(style, 17, 7),
            "number": shown.number,
            "significant": shown.significant,
            "difference": shown.difference,
            "milliseconds": shown.milliseconds,
            "duration": shown.duration,
            "moment": shown.moment,
            "version_moment": shown.version_moment,
            "line": shown.line,
            "fieldvalue": shown.fieldvalue,
            "inpath": lambda text: quote(str(text), safe=""),
        }
        self._templates.globals["navigation"] = NAVIGATION
        self._templates.globals["csrf_field"] = FIELD

    def page(
        self, request: Request, template: str, *, status: int = 200, **context: object
    ) -> HTMLResponse:
        """Return a page with its headers, and the session that its forms belong to."""
        session = self._csrf.session(request.cookies.get(COOKIE))
        html = self._templates.get_template(template).render(
            path=request.url.path,
            token=self._csrf.token(session),
            said=_said(request),
            refresh_seconds=self.settings.refresh_seconds,
            **context,
        )
        page = HTMLResponse(html, status_code=status, headers=PAGE_HEADERS)
        if request.cookies.get(COOKIE) != session:
            page.set_cookie(
                COOKIE,
                session,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
        return page

    async def form(self, request: Request) -> Form:
        """Return the fields of a form that a page of ours sent.

        Raises:
            Refused: another page did, or it is no form.
        """
        if request.headers.get("content-type", "").partition(";")[0] != _FORM:
            raise Refused(f"expected a form ({_FORM})")
        try:
            body = (await request.body()).decode()
            fields = parse_qs(body, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        except ValueError as error:
            raise Refused("the form cannot be read") from error
        self._csrf.check(
            session=request.cookies.get(COOKIE),
            token=fields.get(FIELD, [""])[-1],
            origin=request.headers.get("origin"),
            host=request.headers.get("host", ""),
            site=request.headers.get("sec-fetch-site"),
        )
        return fields

    def back(self, path: str, done: str, n: int | None = None) -> Response:
        """Return the way to a page that says what was done; loading it again does nothing again."""
        query = {"done": done} if n is None else {"done": done, "n": n}
        return RedirectResponse(f"{path}?{urlencode(query)}", status_code=303)

    def install(self, app: FastAPI) -> None:
        """Make `app` say as a page what is wrong with a request to a page."""

        @app.exception_handler(PageProblem)
        async def _problem(request: Request, error: PageProblem) -> Response:
            return self._wrong(request, str(error), error.status)

        @app.exception_handler(ActionFailed)
        async def _failed(request: Request, error: ActionFailed) -> Response:
            return self._wrong(request, str(error), error.status)

        @app.exception_handler(Refused)
        async def _refused(request: Request, error: Refused) -> Response:
            return self._wrong(request, f"Refused: {error}.", 403)

    def _wrong(self, request: Request, line: str, status: int) -> Response:
        return self.page(request, "problem.html", status=status, line=line)


def identifier(text: str) -> str:
    """Return an id from an address; a page says so if it is none."""
    if not re.match(ID_PATTERN, text) or text.endswith("\n"):
        raise PageProblem(f"{shown.line(text, 100)!r} is no id.", 404)
    return text


def _said(request: Request) -> str:
    n = request.query_params.get("n", "")
    said = DONE.get(request.query_params.get("done", ""), "")
    return said.format(n=int(n) if n.isdecimal() and len(n) < 10 else "some")
