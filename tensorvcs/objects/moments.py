"""Times as a person types them: a date, an age such as ``2 weeks ago``, a length such as ``2w``."""

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
_MAX_SECONDS = 10_000 * 365 * 86400
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LENGTH = re.compile(rf"([0-9]{{1,6}}) ?(?:({'|'.join(_UNITS)})|({'|'.join(_SECONDS)})s?)?")
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


def seconds_of(length: dt.timedelta | float | str) -> float:
    """Return a length of time in seconds.

    Parameters
    ----------
    length : timedelta, number of seconds, or str
        A text is a number and a unit: ``2w``, ``3d``, ``12h``, ``30min``, ``90s`` or ``2 weeks``;
        ``0`` needs none.

    Raises
    ------
    InvalidInputError
        It is none of these, or negative.

    Examples
    --------
    >>> seconds_of("2w") == seconds_of("14 days") == 14 * 86400
    True
    """
    seconds: float | None = None
    if isinstance(length, dt.timedelta):
        seconds = length.total_seconds()
    elif isinstance(length, (int, float)) and not isinstance(length, bool):
        seconds = float(length)
    elif isinstance(length, str):
        match = _LENGTH.fullmatch(length.strip().lower())
        if match is not None and (match[2] or match[3]):
            seconds = int(match[1]) * (_UNITS | _SECONDS)[match[2] or match[3]]
        elif match is not None and not int(match[1]):
            seconds = 0.0
    if seconds is None or not 0 <= seconds <= _MAX_SECONDS:
        raise InvalidInputError(f"{length!r} is no length of time; write 2w, 3d, 12h, 30min or 0")
    return seconds


def _midnight(now: dt.datetime) -> dt.datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _earlier(now: dt.datetime, seconds: int) -> dt.datetime:
    try:
        return now - dt.timedelta(seconds=seconds)
    except OverflowError:
        return EARLIEST
