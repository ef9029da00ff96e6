"""``tvcs bisect run``."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.shell import DATE

if TYPE_CHECKING:
    from tests.e2e.shell import Shell

WORST = """
import os, sys
import tensorvcs as tv
with tv.open(os.environ["TENSORVCS_REPOSITORY"]) as repo:
    labels = repo.checkout(os.environ["TENSORVCS_REVISION"])["labels"]
    wrong = sum(int(label) < 0 for label in labels.values())
"""


@pytest.fixture
def history(shell: Shell) -> Shell:
    """Six commits; the fourth sets two labels of four to -1."""
    shell.commit({"start": 0}, "Start")
    for at in range(1, 6):
        labels: dict[str | int, int | None] = {
            f"day-{at}/{n}": -1 if at == 3 and n > 2 else n for n in range(1, 5)
        }
        shell.commit(labels, f"Day {at}")
    return shell


def python(shell: Shell, end: str) -> list[str]:
    """Return the words that run a program which knows how many labels are `wrong`."""
    file = shell.folder / "worst.py"
    file.write_text(WORST + end)
    return ["--", sys.executable, str(file)]


def exit_with(shell: Shell, cases: dict[str, int], default: int = 0) -> list[str]:
    """Return the words that run a shell script with an exit code for each revision."""
    lines = [f'[ "$1" = {shell.id(name)} ] && exit {code}' for name, code in cases.items()]
    file = shell.folder / "test.sh"
    file.write_text("\n".join([*lines, f"exit {default}"]))
    return ["--", "sh", str(file), "{}"]


def document(shell: Shell, *words: str) -> Any:
    return json.loads(shell.ok("bisect", "run", "--json", *words))


def test_good_and_bad(history: Shell) -> None:
    found = history.ok("bisect", "run", "main~5", "main", *python(history, "sys.exit(wrong > 0)"))
    assert found == (
        f"good  {history.short('main~5')}  Start\n"
        f"bad   {history.short('main')}  Day 5\n"
        f"good  {history.short('main~3')}  Day 2\n"
        f"bad   {history.short('main~2')}  Day 3\n"
        "\n"
        f"{history.id('main~2')} is the first bad commit\n"
        f"commit {history.id('main~2')}\n"
        "Author: Ada <ada@example.org>\n"
        f"Date:   {DATE}\n"
        "\n"
        "    Day 3\n"
        "\n"
        " labels | +4 -0 ~0\n"
        " 1 column changed: 4 samples added, 0 deleted, 0 modified\n"
        "\n"
        "4 tests run\n"
    )


def test_scores_and_the_samples_within(history: Shell) -> None:
    words = python(history, "print('a line before')\nprint(-wrong)")
    found = history.ok("bisect", "run", "main~5", "main", "--score", "--within", *words)
    head, _, rest = found.partition("\n\n")
    lines = head.splitlines()
    assert lines[:4] == [
        f"good  {history.short('main~5')}  0  Start",
        f"bad   {history.short('main')}  -2  Day 5",
        f"good  {history.short('main~3')}  0  Day 2",
        f"bad   {history.short('main~2')}  -2  Day 3",
    ]
    assert [line.split("  ")[0] for line in lines[4:]] == ["part"] * (len(lines) - 4)
    assert lines[4].endswith("2 of 4 changes")
    assert rest[rest.index("Score:") :] == (
        "Score: 0 before, -2 after\n"
        f"{len(lines)} tests run\n"
        "\n"
        "Groups of changes: what is lost with one alone, and regained without it\n"
        "  harms  column  labels                                  4  2  2\n"
        "  harms  source  labels · Ada <ada@example.org>          4  2  2\n"
        "  harms  keys    labels · Ada <ada@example.org> · day-3  4  2  2\n"
        "\n"
        "Culprits\n"
        "  labels · Ada <ada@example.org> · day-3: 2 samples\n"
        "    day-3/3\n"
        "    day-3/4\n"
        "Without them: 0\n"
    )


def test_a_loss_over_the_range(history: Shell) -> None:
    words = python(history, "print(wrong / 10)")
    options = ["--score", "--lower-is-better", "--within-range"]
    found = document(history, "main~3", "main~1", *options, *words)
    assert found["commit"]["id"] == history.id("main~2")
    assert (found["before"], found["after"]) == (0, 0.2)
    narrowing = found["narrowing"]
    assert (narrowing["before"], narrowing["after"], narrowing["without"]) == (0, 0.2, 0)
    assert narrowing["change_count"] == 8
    assert [culprit["keys"] for culprit in narrowing["culprits"]] == [["day-3/3", "day-3/4"]]


def test_json(history: Shell) -> None:
    words = exit_with(history, {"main": 1, "main~1": 125})
    result = history.run("bisect", "run", "main~3", "main", "--json", *words)
    assert (result.code, result.stderr) == (1, "")
    found = result.document
    commit = found.pop("commit")
    assert commit is None
    ids = [history.id(f"main~{n}" if n else "main") for n in range(4)]
    assert found == {
        "before": None,
        "after": None,
        "suspects": [ids[1], ids[0]],
        "test_count": 4,
        "steps": [
            {"commit": ids[3], "outcome": True, "is_good": True, "is_repeated": False},
            {"commit": ids[0], "outcome": False, "is_good": False, "is_repeated": False},
            {"commit": ids[2], "outcome": True, "is_good": True, "is_repeated": False},
            {"commit": ids[1], "outcome": None, "is_good": None, "is_repeated": False},
        ],
        "note": "",
        "narrowing": None,
    }


def test_skipped_commits_leave_it_open(history: Shell) -> None:
    words = exit_with(history, {"main": 1, "main~1": 125, "main~2": 125})
    result = history.run("bisect", "run", "main~3", "main", "--within", *words)
    assert (result.code, result.stderr) == (1, "")
    assert result.stdout == (
        f"good  {history.short('main~3')}  Day 2\n"
        f"bad   {history.short('main')}  Day 5\n"
        f"skip  {history.short('main~2')}  Day 3\n"
        f"skip  {history.short('main~1')}  Day 4\n"
        "\n"
        "The first bad commit is one of these 3:\n"
        f"  {history.short('main~2')} Day 3\n"
        f"  {history.short('main~1')} Day 4\n"
        f"  {history.short('main')} Day 5\n"
        "4 tests run\n"
        "nothing was searched inside of a commit, since the first bad one is not known\n"
    )


@pytest.mark.parametrize("code", [1, 127])
def test_exit_codes_of_a_bad_commit(history: Shell, code: int) -> None:
    words = exit_with(history, {"main": code, "main~1": code})
    assert document(history, "main~5", "main", *words)["commit"]["message"] == "Day 4"


@pytest.mark.parametrize("code", [128, 255])
def test_exit_codes_that_stop_the_search(history: Shell, code: int) -> None:
    words = exit_with(history, {"main": code})
    result = history.run("bisect", "run", "main~5", "main", *words)
    assert result.code == 1
    assert result.stdout == f"good  {history.short('main~5')}  Start\n"
    assert result.stderr == (
        f"Error: 'sh' ended with exit code {code} on commit {history.short()}, which says nothing "
        "of it\n"
        "Hint: check the command by hand; of exit codes, 0 is good, 1 to 127 is bad, and 125 skips "
        "a commit\n"
    )


@pytest.mark.parametrize("code", [126, 127])
def test_a_command_that_cannot_run_on_the_good_commit(history: Shell, code: int) -> None:
    words = exit_with(history, {}, default=code)
    assert f"'sh' ended with exit code {code} on commit {history.short('main~5')}" in history.fails(
        "bisect", "run", "main~5", "main", *words
    )


def test_a_signal_stops_the_search(history: Shell) -> None:
    error = history.fails("bisect", "run", "main~5", "main", "--", "sh", "-c", "kill -9 $$")
    assert error.startswith("Error: 'sh' was killed by signal 9 on commit ")


def test_a_score_needs_success(history: Shell) -> None:
    words = exit_with(history, {}, default=3)
    assert history.fails("bisect", "run", "main~5", "main", "--score", *words) == (
        f"Error: 'sh' ended with exit code 3 on commit {history.short('main~5')}, which says "
        "nothing of it\n"
        "Hint: check the command by hand; of exit codes, 0 is a commit with a score, and 125 skips "
        "a commit\n"
    )


@pytest.mark.parametrize(
    ("text", "found"), [("nope", "'nope'"), ("", "nothing"), ("0.5\nfive", "'five'")]
)
def test_no_score(history: Shell, text: str, found: str) -> None:
    words = ["--", "printf", text]
    assert history.fails("bisect", "run", "main~5", "main", "--score", *words) == (
        f"Error: the command printed {found} in its last line on commit {history.short('main~5')}; "
        "expected a number\n"
        "Hint: print the score last, and exit with 125 where there is none\n"
    )


def test_a_score_that_is_no_number(history: Shell) -> None:
    error = history.fails("bisect", "run", "main~5", "main", "--score", "--", "echo", "nan")
    assert f"the score of commit {history.short('main~5')} is nan, no number" in error


def test_no_such_program(history: Shell) -> None:
    assert history.fails("bisect", "run", "main~5", "main", "--", "./nothing-here") == (
        "Error: cannot run './nothing-here': No such file or directory\n"
        "Hint: name a program in PATH or the path of one\n"
    )


def test_the_environment_and_the_place_of_the_commit(history: Shell) -> None:
    file = history.folder / "seen"
    script = f'echo "$1 $TENSORVCS_REVISION $TENSORVCS_REPOSITORY $PWD" >> {shlex.quote(str(file))}'
    history.fails(
        "bisect", "run", "main~1", "main", "--", "sh", "-c", f"{script}; exit 128", "x", "<{}>"
    )
    id_ = history.id("main~1")
    assert file.read_text() == f"<{id_}> {id_} {history.folder} {history.folder}\n"


def test_what_the_command_prints_is_beside_the_result(
    history: Shell, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--", "sh", "-c", f"echo training; [ $1 != {history.id()} ]", "x", "{}"]
    found = document(history, "main~1", "main", *words)
    assert found["commit"]["id"] == history.id()
    assert capfd.readouterr() == ("", "training\ntraining\n")


def test_one_more_good_commit_and_a_bound(history: Shell) -> None:
    words = exit_with(history, {"main": 1})
    found = history.run(
        "bisect", "run", "main~5", "main", "--good", "main~4", "--max-tests", "3", "--json", *words
    )
    assert found.code == 1
    assert found.document["test_count"] == 3
    assert len(found.document["suspects"]) == 4


def test_more_samples_than_are_listed(shell: Shell) -> None:
    shell.commit({"a": 0}, "Start")
    shell.commit(dict.fromkeys(range(25), -1), "Bad")
    words = ["--within", *exit_with(shell, {"main~1": 0}, default=1)]
    found = shell.ok("bisect", "run", "main~1", "main", *words)
    name = "labels · Ada <ada@example.org> · 0 … 24: 25 samples"
    assert f"  {name}\n    0\n    1\n" in found
    assert "    19\n    … and 5 more; --all lists them\nWithout them: good\n" in found
    found = shell.ok("bisect", "run", "main~1", "main", "--all", "--max-tests", "2", *words)
    name += " (not told apart)"
    assert f"    24\n  not searched further for want of tests: {name}\nWithout" in found


def test_wrong_usage(history: Shell) -> None:
    assert history.fails("bisect", "run", "main~1", "main", code=2) == (
        "Error: Missing argument '-- CMD [ARG...]'.\nHint: see 'tvcs bisect run --help'\n"
    )
    end = ["--", "true"]
    assert "needs --score" in history.fails(
        "bisect", "run", "main~1", "main", "--lower-is-better", *end, code=2
    )
    assert "exclude each other" in history.fails(
        "bisect", "run", "main~1", "main", "--within", "--within-range", *end, code=2
    )
    assert "no branch, tag or commit" in history.fails("bisect", "run", "nope", "main", *end)
    assert "'--max-tests': 1 is not in the range" in history.fails(
        "bisect", "run", "main~1", "main", "--max-tests", "1", *end, code=2
    )
    assert "says that the bad commit" in history.run("bisect", "run", "main~1", "main", *end).stderr
