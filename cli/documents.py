"""How commits, keys and differences look to a program: JSON values with stable names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorvcs import Commit, Conflict, Diff, Identity, Schema

Document = dict[str, Any]


def identity_document(who: Identity) -> Document:
    """Return a person."""
    return {"name": who.name, "email": who.email}


def commit_document(commit: Commit) -> Document:
    """Return all that a commit says of itself."""
    return {
        "id": commit.id,
        "parents": list(commit.parents),
        "snapshot": commit.snapshot,
        "author": identity_document(commit.author),
        "committer": identity_document(commit.committer),
        "time": commit.time.isoformat(),
        "message": commit.message,
        "metadata": dict(commit.metadata),
    }


def key_document(key: Any) -> Any:
    """Return a sample key: a text or a number; of a subsample a list of two."""
    return [key_document(part) for part in key] if isinstance(key, tuple) else key


def schema_document(schema: Schema | None) -> Document | None:
    """Return the schema of a column, None where there is no column."""
    return None if schema is None else schema.to_fields()


def diff_document(difference: Diff, *, has_keys: bool) -> Document:
    """Return what differs by column: counts, schemas and, when asked for, the keys."""
    columns: Document = {}
    for name, column in difference.columns.items():
        stat = column.stat()
        change = column.schema
        columns[name] = {
            "added": stat.added,
            "deleted": stat.deleted,
            "modified": stat.modified,
            "schema": None
            if change is None
            else {"before": schema_document(change[0]), "after": schema_document(change[1])},
        }
        if has_keys:
            columns[name] |= {
                "added_keys": [key_document(key) for key in column.added],
                "deleted_keys": [key_document(key) for key in column.deleted],
                "modified_keys": [key_document(key) for key in column.modified],
            }
    return {"columns": columns}


def conflict_document(conflict: Conflict) -> Document:
    """Return one conflict of a merge."""
    return {
        "column": conflict.column,
        "key": key_document(conflict.key),
        "kind": conflict.kind,
    }
