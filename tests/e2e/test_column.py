"""``tvcs column``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def test_create_and_list(shell: Shell) -> None:
    created = [
        ("images", "--dtype", "uint8", "--shape", "32x32x3"),
        ("photos", "--dtype", "uint8", "--shape", "*x*x3", "--variable"),
        ("labels", "--dtype", "int64"),
        ("captions", "--kind", "str", "--nested"),
        ("files", "--kind", "bytes"),
    ]
    assert shell.ok("column", "create", *created[0]) == (
        "Staged the new column images: uint8 (32, 32, 3)\n"
    )
    for arguments in created[1:]:
        shell.ok("column", "create", *arguments)
    assert shell.ok("column", "list") == (
        "captions  nested str         0 samples\n"
        "files     bytes              0 samples\n"
        "images    uint8 (32, 32, 3)  0 samples\n"
        "labels    int64 ()           0 samples\n"
        "photos    uint8 ≤(*, *, 3)   0 samples\n"
    )


def test_list_of_a_revision_and_of_what_is_staged(shell: Shell) -> None:
    shell.commit({"a": 1, "b": 1}, "First")
    shell.stage({"a": 2, "b": None, "c": 1, "d": 1})
    shell.stage({"a": 1}, column="other")
    assert shell.ok("column", "list", "HEAD") == "labels  int64 ()  2 samples\n"
    assert shell.ok("column", "list") == (
        "labels  int64 ()  3 samples\nother   int64 ()  1 sample\n"
    )
    shell.ok("column", "rename", "labels", "classes")
    assert shell.ok("column", "list") == (
        "classes  int64 ()  3 samples\nother    int64 ()  1 sample\n"
    )
    listed = shell.json("column", "list")
    assert [(column["name"], column["sample_count"]) for column in listed] == [
        ("classes", 3),
        ("other", 1),
    ]
    assert listed[0]["schema"]["dtype"] == "int64"


def test_rename_and_delete(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    assert shell.ok("column", "rename", "labels", "classes") == (
        "Staged the column labels under the name classes\n"
    )
    assert shell.ok("column", "delete", "classes") == "Staged the deletion of column classes\n"
    assert shell.ok("column", "list") == ""
    assert shell.fails("column", "delete", "classes") == (
        "Error: no column 'classes'; there are: none\n"
    )


def test_a_list_of_deletions_is_all_or_nothing(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.fails("column", "delete", "labels", "nope")
    assert shell.ok("column", "list") == "labels  int64 ()  1 sample\n"


def test_refused(shell: Shell) -> None:
    shell.ok("column", "create", "labels", "--dtype", "int64")
    assert shell.fails("column", "create", "labels", "--dtype", "int64") == (
        "Error: a column 'labels' of int64 () exists already\n"
    )
    hint = "Hint: see 'tvcs column create --help'\n"
    assert shell.fails("column", "create", "x", code=2) == (
        f"Error: an ndarray column needs a --dtype, such as uint8\n{hint}"
    )
    assert shell.fails("column", "create", "x", "--kind", "str", "--dtype", "int8", code=2) == (
        f"Error: a str column has no --dtype, --shape or --variable\n{hint}"
    )
    assert shell.fails("column", "create", "x", "--dtype", "int8", "--shape", "axb", code=2) == (
        "Error: Invalid value for '--shape': 'axb' is not of the form 32x32x3, "
        f"or *x*x3 with --variable\n{hint}"
    )
    assert shell.fails("column", "lst", code=2).startswith("Error: No such command 'lst'")
    assert "'nonsense'" in shell.fails("column", "create", "x", "--dtype", "nonsense")
