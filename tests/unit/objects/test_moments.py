from __future__ import annotations

import datetime as dt

import pytest

from tensorvcs.errors import InvalidInputError
from tensorvcs.objects.moments import EARLIEST, parse_moment, seconds_of

NOW = dt.datetime(2026, 1, 31, 12, 30, 15, tzinfo=dt.timezone(dt.timedelta(hours=2)))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", "2026-01-31T12:30:15+02:00"),
        ("today", "2026-01-31T00:00:00+02:00"),
        (" Yesterday ", "2026-01-30T00:00:00+02:00"),
        ("90 seconds ago", "2026-01-31T12:28:45+02:00"),
        ("1 minute", "2026-01-31T12:29:15+02:00"),
        ("2.hours.ago", "2026-01-31T10:30:15+02:00"),
        ("2 weeks ago", "2026-01-17T12:30:15+02:00"),
        ("1month", "2026-01-01T12:30:15+02:00"),
        ("1 year ago", "2025-01-31T12:30:15+02:00"),
        ("2026-01-02T03:04:05+01:00", "2026-01-02T03:04:05+01:00"),
        ("2026-01-02T03:04Z", "2026-01-02T03:04:00+00:00"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert parse_moment(text)(NOW).isoformat() == moment


@pytest.mark.parametrize("text", ["2026-01-02", "2026-01-02 00:00", "20260102"])
def test_a_moment_without_a_zone_is_local(text: str) -> None:
    assert parse_moment(text)(NOW) == dt.datetime(2026, 1, 2).astimezone()


def test_an_age_before_all_dates_is_the_first_one() -> None:
    assert parse_moment("9999 years ago")(NOW) == EARLIEST


@pytest.mark.parametrize(
    "text",
    ["", " ", "soon", "2 fortnights", "-1 days", "2026-13-01", "12:00", "99999 days", "٣ days"],
)
def test_no_moment(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is no time"):
        parse_moment(text)


@pytest.mark.parametrize(
    ("length", "seconds"),
    [
        ("2w", 14 * 86400), ("3d", 3 * 86400), ("12 h", 43200), ("30min", 1800), ("90s", 90),
        ("2 weeks", 14 * 86400), (" 1 Day ", 86400), ("0", 0), ("0d", 0), (1.5, 1.5),
        (dt.timedelta(minutes=2), 120),
    ],
)  # fmt: skip
def test_lengths_of_time(length: dt.timedelta | float | str, seconds: float) -> None:
    assert seconds_of(length) == seconds


@pytest.mark.parametrize(
    "length", ["", "2", "w", "2 parsecs", "-1d", "1.5h", "9999999d", -1, True, None, float("nan")]
)
def test_what_is_no_length_of_time(length: object) -> None:
    with pytest.raises(InvalidInputError, match="no length of time"):
        seconds_of(length)  # type: ignore[arg-type]
