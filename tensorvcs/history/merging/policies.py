"""Merge policies: what decides a sample that both sides changed, and not to the same.

A policy is the name of a strategy (``fail``, ``ours``, ``theirs``, ``newest``), the name of a
function over the values (``union``, ``mean``, ``max``, ``majority``; see
`tensorvcs.history.merging.combining`), or a function of the user. A merge takes one policy for all
columns, or a mapping from column to policy with ``"*"`` for all others. What it says of a column
comes before what it says of all, that before the policy kept in the column's schema, and without
any of them the sample stays a conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args

from tensorvcs.errors import ColumnNotFoundError, InvalidInputError, with_hint

if TYPE_CHECKING:
    from collections.abc import Collection

PolicyName = Literal["fail", "ours", "theirs", "newest", "union", "mean", "max", "majority"]

MergeFunction = Callable[[Any, Any, Any, Any], Any]
"""Called as ``f(base, ours, theirs, key)`` with the values of one sample, None where a side has
none; returns the value that is kept, `DELETED`, or `UNDECIDED`."""

Policy = Union[PolicyName, MergeFunction]
Strategy = Union[Policy, Mapping[str, Policy]]

SIDES = ("ours", "theirs", "newest")
"""The policies that take a side as it is, and so decide about a whole column as well."""

FUNCTIONS = ("union", "mean", "max", "majority")
"""The named policies that make a value of the values of both sides."""

ALL_OTHERS = "*"


class Verdict(Enum):
    """What a merge function may return instead of a value."""

    UNDECIDED = "the conflict stays"
    DELETED = "the sample is deleted"

    def __repr__(self) -> str:
        return f"tensorvcs.{self.name}"


UNDECIDED: Final = Verdict.UNDECIDED
"""Returned by a merge function that leaves the conflict open."""

DELETED: Final = Verdict.DELETED
"""Returned by a merge function for a sample that the merge shall not have."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of one merge.

    Attributes
    ----------
    by_column : mapping of str to policy
    default : policy
        For all other columns; with ``fail`` the policy kept in the column's schema counts.
    heeds_kept : bool
        Whether policies kept in schemas count at all.
    """

    by_column: Mapping[str, Policy] = field(default_factory=dict)
    default: Policy = "fail"
    heeds_kept: bool = True

    @classmethod
    def of(cls, strategy: Strategy) -> Policies:
        """Read what a caller gave.

        Raises
        ------
        InvalidInputError
            A policy is neither a known name nor a function.
        """
        if not isinstance(strategy, Mapping):
            return cls(default=_check_policy(strategy))
        by_column = {}
        for name, policy in strategy.items():
            if not isinstance(name, str):
                raise InvalidInputError(
                    f"merge strategies are by column name, a str, not {type(name).__name__}: "
                    f"{str(name)[:80]!r}"
                )
            by_column[name] = _check_policy(policy)
        default = by_column.pop(ALL_OTHERS, "fail")
        return cls(by_column, default)

    def check_columns(self, known: Collection[str]) -> None:
        """Raise ColumnNotFoundError when a policy is for a column that no side has."""
        for name in self.by_column:
            if name not in known:
                raise with_hint(
                    ColumnNotFoundError(
                        f"a merge strategy names the column {name!r}, which neither side has; "
                        f"there are: {', '.join(sorted(known)) or 'none'}"
                    ),
                    "'tvcs column list REV' lists the columns of a revision",
                )

    def named(self, names: Sequence[str]) -> Policy | None:
        """Return what was said of a column by one of its names, or None."""
        for name in names:
            if name in self.by_column:
                return self.by_column[name]
        return None

    def choose(self, names: Sequence[str], kept: str) -> Policy:
        """Return the policy of a column.

        Parameters
        ----------
        names : sequence of str
            Those it has on the sides; the first that is known counts.
        kept : str
            The policy in its schema; empty for none.
        """
        chosen = self.named(names)
        if chosen is None:
            chosen = self.default
            if chosen == "fail" and kept and self.heeds_kept:
                return kept  # type: ignore[return-value]
        return chosen


KEPT_POLICIES: Final = Policies()
"""The policies kept in the schemas, and no others."""

NO_POLICIES: Final = Policies(heeds_kept=False)
"""Every conflict stays open."""


def policy_name(policy: Policy) -> str:
    """Return how a policy is called in a report: a function by its name."""
    return policy if isinstance(policy, str) else getattr(policy, "__name__", repr(policy))


def _check_policy(policy: object) -> Policy:
    if isinstance(policy, str) and policy in get_args(PolicyName):
        return policy  # type: ignore[return-value]
    if callable(policy):
        return policy
    raise with_hint(
        InvalidInputError(
            f"merge strategy {policy!r} is not one of {', '.join(get_args(PolicyName))}, and no "
            "function of (base, ours, theirs, key)"
        ),
        "name a strategy, or a mapping from column to strategy with '*' for all others",
    )
