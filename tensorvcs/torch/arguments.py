"""Arguments of loaders, checked where they come in: what is wrong is told there, by its name."""

from __future__ import annotations

from numbers import Real
from operator import index as as_int
from typing import TYPE_CHECKING, Any

from tensorvcs.errors import InvalidInputError, with_hint

if TYPE_CHECKING:
    from collections.abc import Mapping


def as_count(name: str, value: Any, least: int | None = None) -> int:
    """Return a whole number as a plain int, which JSON can hold; numpy integers are taken.

    Raises
    ------
    InvalidInputError
        It is no whole number, or less than `least`.
    """
    try:
        # True is an int to Python, and as a number of things a slip.
        number = None if isinstance(value, bool) else as_int(value)
    except TypeError:
        number = None
    if number is None:
        raise InvalidInputError(f"{name} is a whole number, not {value!r}")
    if least is not None and number < least:
        raise InvalidInputError(f"{name} is at least {least}, not {number}")
    return number


def check_seconds(name: str, value: Any) -> None:
    """Raise InvalidInputError for what is no number of seconds above 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value) > 0:
        raise InvalidInputError(f"{name} is a number of seconds above 0, not {value!r}")


def check_readable(source: Any) -> None:
    """Raise InvalidInputError for what is no checkout, such as the repository itself."""
    if hasattr(source, "columns") and hasattr(source, "base"):
        return
    error = InvalidInputError(f"samples come from a checkout, not from {source!r:.80}")
    if hasattr(source, "checkout"):
        raise with_hint(error, "check a commit out: repo.checkout('main')")
    raise with_hint(error, "open one with tensorvcs.open(path).checkout()")


def check_functions(name: str, given: Any) -> None:
    """Raise InvalidInputError for what can neither be called nor is a mapping of such."""
    if given is None or callable(given):
        return
    by_column: Mapping[Any, Any] | None = given if hasattr(given, "items") else None
    if by_column is None:
        raise InvalidInputError(f"{name} is a function, or one for each column, not {given!r}")
    for column, function in by_column.items():
        if not callable(function):
            raise InvalidInputError(f"{name} of column {column!r} is a function, not {function!r}")
