"""What can go wrong, named by fact. `shared/web` turns these into HTTP, `services/cli` into one line.

SkimError
├── InvalidInput     the caller's data is at fault; sending it again will not help
│   └── TooLarge     it exceeds a stated limit
├── NotFound         there is nothing under that name
├── Conflict         it clashes with what is already there
│   └── InFlight     with the same thing that is under way; it may be over soon
├── Unauthorized     the caller shows no key that is known here
├── Forbidden        the caller is known, or not asked for a key, and may not do this
├── UnsupportedMedia the body comes in a form that is not read here
├── Damaged          a stored file is not what its manifest or checksum says
└── Unavailable      something we need does not answer now; trying again may help
    ├── Starting     it is still being loaded
    ├── Full         it has no room for what it is given
    ├── Unanswered   it took the request and then broke off, failed or fell silent: maybe for what was asked
    ├── Expired      it was not there by the deadline
    ├── RateLimited  the caller asks more often than it may
    └── KeyRefused   a service does not take our own key: an operator must act, what waits can go on waiting
"""

from __future__ import annotations


class SkimError(Exception):
    """Base of every error of ours. Its message says what, which value, and what was expected."""


class InvalidInput(SkimError):
    """The caller's data is at fault."""


class TooLarge(InvalidInput):
    """The caller's data exceeds a stated limit."""


class NotFound(SkimError):
    """There is nothing under that name."""


class Conflict(SkimError):
    """It clashes with what is already there."""


class InFlight(Conflict):
    """The same is under way.

    Args:
        message: what is.
        retry_after_seconds: when to look again.
    """

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unauthorized(SkimError):
    """The caller shows no key that is known here."""


class Forbidden(SkimError):
    """The caller may not do this, whoever it is."""


class UnsupportedMedia(SkimError):
    """The body comes in a form that is not read here."""


class Damaged(SkimError):
    """A stored file is not what its manifest, checksum or format says."""


class Unavailable(SkimError):
    """Something we need does not answer now.

    Args:
        message: what is unavailable, and why.
        retry_after_seconds: when to try again.
    """

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Starting(Unavailable):
    """It is still being loaded."""


class Full(Unavailable):
    """It has no room for what it is given."""


class Unanswered(Unavailable):
    """It took the request, and broke off, failed or fell silent over it: maybe for what was asked."""


class Expired(Unavailable):
    """It was not there by the deadline that it was asked for."""


class RateLimited(Unavailable):
    """The caller asks more often than it may."""


class KeyRefused(Unavailable):
    """A service does not take our own key.

    It is the fault of no document and no job, so whoever works them off waits as for a service that is away.
    """
