"""``tvcs column``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, get_args

from tensorvcs.history.merging.policies import PolicyName

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


def test_a_renamed_column_keeps_its_count(shell: Shell) -> None:
    shell.commit({"a": 1, "b": 1, "c": 1}, "First")
    shell.ok("column", "rename", "labels", "classes")
    shell.stage({"c": None, "d": 1, "e": 1}, column="classes")
    assert shell.ok("column", "list") == "classes  int64 ()  4 samples\n"


def test_policy(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    assert shell.ok("column", "policy", "labels") == "fail\n"
    assert shell.ok("column", "policy", "labels", "newest") == (
        "Staged the merge policy newest for column labels\n"
    )
    assert shell.ok("column", "policy", "labels") == "newest\n"
    assert shell.json("column", "policy", "labels") == {"name": "labels", "merge": "newest"}
    assert shell.ok("column", "list") == "labels  int64 ()  1 sample, merged by newest\n"
    assert shell.json("column", "list")[0]["schema"]["merge"] == "newest"
    assert shell.ok("column", "list", "HEAD") == "labels  int64 ()  1 sample\n"
    assert "merge policy fail to newest" in shell.ok("diff", "--stat")
    shell.ok("commit", "-m", "Policy")
    assert shell.json("column", "policy", "labels", "fail") == {"name": "labels", "merge": "fail"}
    assert shell.ok("column", "policy", "labels") == "fail\n"
    assert "merge" not in shell.json("column", "list")[0]["schema"]


def test_a_policy_decides_a_merge(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    created = shell.ok("column", "create", "scores", "--dtype", "float64", "--merge", "mean")
    assert created == "Staged the new column scores: float64 (), merged by mean\n"
    shell.ok("column", "policy", "labels", "max")
    shell.ok("commit", "-m", "Policies")
    shell.ok("switch", "-c", "dev")
    shell.commit({"a": 5}, "On dev")
    shell.ok("switch", "main")
    shell.commit({"a": 3}, "On main")
    shell.ok("merge", "dev")
    with shell.repository() as repo:
        assert int(repo.checkout()["labels", "a"]) == 5


def test_policies_are_the_same_everywhere() -> None:
    command = importlib.import_module("tensorvcs_cli.commands.column")
    assert get_args(PolicyName) == command.POLICIES


def test_policies_that_are_refused(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    assert shell.fails("column", "policy", "labels", "mine", code=2).startswith(
        "Error: Invalid value for '[POLICY]': 'mine' is not one of 'fail', 'ours'"
    )
    assert shell.fails("column", "policy", "labels", "union") == (
        "Error: merge policy 'union' is for bool arrays, arrays of variable shape and texts, "
        "not for values of int64 ()\n"
    )
    for policy in ((), ("ours",)):
        assert shell.fails("column", "policy", "nope", *policy) == (
            "Error: no column 'nope'; there are: labels\n"
        )
    assert shell.fails("column", "create", "x", "--kind", "bytes", "--merge", "mean") == (
        "Error: merge policy 'mean' is for arrays of numbers, not for values of bytes\n"
    )
    assert not shell.json("status")["is_dirty"]


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
