"""What Hangar takes and this library does not, or spells otherwise: names, people, messages.

Each function depends on its argument alone, so that a later import of the same history gives
the same commits.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from tensorvcs.errors import InvalidColumnError, RefNameError
from tensorvcs.history.refs import check_ref_name
from tensorvcs.objects.commit import Identity
from tensorvcs.objects.schema import Schema, check_column_name

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def legal_column(name: str) -> str:
    """Return the column that one of Hangar becomes: ``-x`` and ``.x`` get a ``_`` in front."""
    try:
        return check_column_name(name)
    except InvalidColumnError:
        return "_" + name


def legal_branch(name: str) -> str:
    """Return the branch that one of Hangar becomes, such as ``hangar-HEAD`` for ``HEAD``."""
    try:
        return check_ref_name(name)
    except RefNameError:
        return "hangar-" + re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def legal_identity(name: str, email: str) -> Identity:
    """Return who a commit is by; what an identity cannot hold is taken out."""
    return Identity(_person(name) or "unknown", _person(email) or "unknown")


def _person(text: str) -> str:
    return _unicode(re.sub(r"[<>\n\r\0]+", " ", text)).strip()


def legal_message(message: str) -> str:
    """Return the message of a commit; one without text says so."""
    found = _unicode(message)
    return found if found.strip() else "(no message)"


def _unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def moment_of(seconds: float) -> dt.datetime:
    """Return seconds since 1970 as a time in UTC, which is all that Hangar knows.

    Raises
    ------
    ValueError, OverflowError
        It is no time between the years 1 and 9999.
    """
    return _EPOCH + dt.timedelta(microseconds=round(seconds * 1e6))


def schema_of(fields: dict[str, Any]) -> Schema:
    """Return the schema of a column of Hangar.

    Raises
    ------
    InvalidColumnError
        It has a dtype that there is not here, such as longdouble.
    """
    if fields["kind"] != "ndarray":
        return Schema(fields["kind"], nested=bool(fields["nested"]))
    return Schema(
        "ndarray",
        str(fields["dtype"]),
        tuple(int(extent) for extent in fields["shape"]),
        variable_shape=bool(fields["variable_shape"]),
        nested=bool(fields["nested"]),
    )
