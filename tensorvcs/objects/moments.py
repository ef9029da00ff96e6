"""Times as a person types them: a date, a time, or an age such as ``2 weeks ago``."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from tensorvcs.errors import InvalidInputError

Moment = Callable[[dt.datetime], dt.datetime]
"""A time that may depend on the time now; both are aware."""

EARLIEST = dt.datetime(1, 1, 2, tzinfo=dt.UTC)
"""What an age gives that goes back before all dates."""

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_SECONDS |= {"month": 30 * 86400, "year": 365 * 86400}
_AGE = re.compile(rf"([0-9]{{1,4}})[ .]?({'|'.join(_SECONDS)})s?([ .]ago)?")


def parse_moment(text: str) -> Moment:
    """Read a date, a time or an age, and return a function of the time now.

    A date is its first moment, and so are ``today`` and ``yesterday``. What names no time zone is
    in local time. A month counts 30 days and a year 365.

    Raises
    ------
    InvalidInputError
        The text is none of these.

    Examples
    --------
    >>> now = dt.datetime(2026, 1, 31, 12, 30, tzinfo=dt.UTC)
    >>> parse_moment("2 weeks ago")(now).isoformat()
    '2026-01-17T12:30:00+00:00'
    >>> parse_moment("yesterday")(now).isoformat()
    '2026-01-30T00:00:00+00:00'
    """
    plain = text.strip().lower()
    if plain == "now":
        return lambda now: now
    if plain in ("today", "yesterday"):
        days = int(plain == "yesterday")
        return lambda now: _midnight(now) - dt.timedelta(days=days)
    age = _AGE.fullmatch(plain)
    if age is not None:
        seconds = int(age[1]) * _SECONDS[age[2]]
        return lambda now: _earlier(now, seconds)
    try:
        moment = dt.datetime.fromisoformat(text.strip())
        aware = moment if moment.tzinfo is not None else moment.astimezone()
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{text[:80]!r} is no time; write 2026-01-31, 2026-01-31T12:00 or '2 weeks ago'"
        ) from None
    return lambda _: aware


def _midnight(now: dt.datetime) -> dt.datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _earlier(now: dt.datetime, seconds: int) -> dt.datetime:
    try:
        return now - dt.timedelta(seconds=seconds)
    except OverflowError:
        return EARLIEST
