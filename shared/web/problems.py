"""Errors become RFC 9457 problem+json here, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from shared.errors import (
    Conflict,
    Damaged,
    Expired,
    Forbidden,
    InFlight,
    InvalidInput,
    NotFound,
    RateLimited,
    SkimError,
    Starting,
    TooLarge,
    Unanswered,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)

STATUS: Mapping[type[SkimError], HTTPStatus] = {
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Expired: HTTPStatus.GATEWAY_TIMEOUT,
    Unanswered: HTTPStatus.BAD_GATEWAY,
    Starting: HTTPStatus.SERVICE_UNAVAILABLE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Damaged: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_TYPES: Mapping[type[SkimError], str] = {
    Unauthorized: "unauthorized",
    Forbidden: "forbidden",
    UnsupportedMedia: "unsupported-media-type",
    RateLimited: "too-many-requests",
    TooLarge: "too-large",
    InvalidInput: "invalid-input",
    NotFound: "not-found",
    Conflict: "conflict",
    Expired: "expired",
    Unanswered: "unanswered",
    Starting: "starting",
    Unavailable: "unavailable",
    Damaged: "damaged",
}
_TITLES = {int(status): status.phrase for status in HTTPStatus}
_PARAMETER = re.compile(r"\{[^}]*\}")
_UNEXPECTED = "Something went wrong here; the log has the details."
_CHALLENGES = ('Bearer realm="skim"', 'Basic realm="skim (any name, a key as the password)"')
"""A header each: of two in one, Chromium reads the first only, and asks nobody for a password."""
_log = structlog.get_logger()


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,  # noqa: ANN401  (RFC 9457 extension members are of any JSON type)
) -> Response:
    """Return a problem+json response; `kind` is the stable last part of its `type`."""
    return Response(
        orjson.dumps(_fields(status, kind, detail) | members),
        status_code=int(status),
        media_type="application/problem+json",
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Make `app` answer every error as a problem."""

    @app.exception_handler(SkimError)
    async def _ours(_: Request, error: SkimError) -> Response:
        return problem_of(error)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> Response:
        errors = [
            {"where": _pointer(item["loc"]), "message": item["msg"]} for item in error.errors()
        ]
        first = errors[0]
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-input",
            f"{first['where']}: {first['message']}",
            errors=errors,
        )

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["allow"] = ", ".join(_methods_of(app, request)) or headers["allow"]
        return problem(
            error.status_code,
            _kind_of(error.status_code),
            str(error.detail),
            headers=headers,
        )


def unexpected(path: str, error: Exception) -> Response:
    """Return the problem of an error that nobody foresaw; the log has it, the answer does not."""
    _log.error("unexpected_error", path=path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", _UNEXPECTED)


def problem_of(error: SkimError) -> Response:
    """Return the problem of one of our errors, by the most specific class listed."""
    headers = {}
    if isinstance(error, Unavailable | InFlight):
        headers["retry-after"] = str(error.retry_after_seconds)
    answer = problem(*_status_and_kind(error), str(error), headers=headers)
    if isinstance(error, Unauthorized):
        for challenge in _CHALLENGES:
            answer.headers.append("www-authenticate", challenge)
    return answer


def fields_of(error: BaseException) -> dict[str, Any]:
    """Return the fields of an error's problem, for an answer that has several; log what is not ours."""
    if isinstance(error, SkimError):
        return _fields(*_status_and_kind(error), str(error))
    _log.error("unexpected_error", exc_info=error)
    return _fields(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", _UNEXPECTED)


def _fields(status: int, kind: str, detail: str) -> dict[str, Any]:
    return {
        "type": f"urn:skim:problem:{kind}",
        "title": _TITLES[int(status)],
        "status": int(status),
        "detail": detail,
    }


def _status_and_kind(error: SkimError) -> tuple[HTTPStatus, str]:
    kind = type(error)
    known = (
        kind
        if kind in STATUS
        else next(each for each in kind.__mro__ if each in STATUS or each is SkimError)
    )
    status = STATUS.get(known, HTTPStatus.INTERNAL_SERVER_ERROR)
    return status, _TYPES.get(known, "internal-error")


def _kind_of(status: int) -> str:
    """Return the same kind our own errors have at that status, else one made from its phrase."""
    ours = {int(STATUS[error]): kind for error, kind in _TYPES.items()}
    return ours.get(status, HTTPStatus(status).phrase.lower().replace(" ", "-"))


def _methods_of(app: FastAPI, request: Request) -> list[str]:
    """Return the methods of the path that was asked for; Starlette names those of its first route only.

    Of several paths that fit, the one with most text of its own is meant: `/v1/jobs/{id}:cancel` rather than
    `/v1/jobs/{id}`.
    """
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    fitting = [path for path in paths if compile_path(path)[0].match(request.url.path)]
    meant = max(fitting, key=lambda path: len(_PARAMETER.sub("", path)), default=None)
    return sorted(map(str.upper, paths[meant])) if meant else []


def _pointer(location: tuple[int | str, ...]) -> str:
    """Return `body.documents.3.id` for a pydantic location."""
    return ".".join(str(part) for part in location)
