"""``tvcs log``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.shell import DATE

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def merged(shell: Shell) -> dict[str, str]:
    """Make a criss-cross of two branches and a merge of both; return the short ids."""
    made: dict[str, str] = {}

    def commit(name: str, labels: dict[str | int, int | None]) -> None:
        shell.at(f"2026-01-02T03:0{len(made)}:00+00:00")
        made[name] = shell.commit(labels, name)

    def merge(name: str, revision: str) -> None:
        shell.at(f"2026-01-02T03:0{len(made)}:00+00:00")
        shell.ok("merge", revision, "-m", name)
        made[name] = shell.short()

    commit("base", {"a": 1, "b": 1})
    shell.ok("switch", "-c", "dev")
    commit("left", {"a": 2})
    shell.ok("switch", "main")
    commit("right", {"b": 2})
    merge("cross", "dev")
    shell.ok("switch", "dev")
    merge("criss", made["right"])
    shell.ok("switch", "main")
    commit("more", {"c": 1})
    merge("both", "dev")
    return made


def test_log(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.ok("tag", "v1")
    shell.ok("branch", "old")
    shell.commit({"a": 2}, "Second\n\nMore text")
    assert shell.ok("log") == (
        f"commit {shell.id()} (HEAD -> main)\n"
        "Author: Ada <ada@example.org>\n"
        f"Date:   {DATE}\n"
        "\n"
        "    Second\n"
        "\n"
        "    More text\n"
        "\n"
        f"commit {shell.id('v1')} (tag: v1, old)\n"
        "Author: Ada <ada@example.org>\n"
        f"Date:   {DATE}\n"
        "\n"
        "    First\n"
    )
    assert shell.ok("log", "--oneline") == (
        f"{shell.short()} (HEAD -> main) Second\n{shell.short('v1')} (tag: v1, old) First\n"
    )
    assert shell.ok("log", "--oneline", "old") == f"{shell.short('v1')} (tag: v1, old) First\n"
    assert shell.ok("log", "--oneline", "-n", "1") == f"{shell.short()} (HEAD -> main) Second\n"
    assert shell.ok("log", "-n", "0") == ""


def test_graph_of_a_criss_cross(shell: Shell) -> None:
    ids = merged(shell)
    assert shell.ok("log", "--graph", "--oneline") == (
        f"*   {ids['both']} (HEAD -> main) both\n"
        "|\\\n"
        f"* | {ids['more']} more\n"
        f"| *   {ids['criss']} (dev) criss\n"
        "| |\\\n"
        f"* | | {ids['cross']} cross\n"
        "|\\|/\n"
        "|/|\n"
        f"* | {ids['right']} right\n"
        f"| * {ids['left']} left\n"
        "|/\n"
        f"* {ids['base']} base\n"
    )


def test_graph_beside_whole_commits(shell: Shell) -> None:
    ids = merged(shell)
    whole = {name: shell.id(short) for name, short in ids.items()}
    assert shell.ok("log", "--graph", "-n", "2") == (
        f"*   commit {whole['both']} (HEAD -> main)\n"
        f"|\\  Merge:  {ids['more']} {ids['criss']}\n"
        "| | Author: Ada <ada@example.org>\n"
        "| | Date:   Fri Jan 2 03:06:00 2026 +0000\n"
        "| |\n"
        "| |     both\n"
        "| |\n"
        f"* | commit {whole['more']}\n"
        "| | Author: Ada <ada@example.org>\n"
        "| | Date:   Fri Jan 2 03:05:00 2026 +0000\n"
        "| |\n"
        "| |     more\n"
    )


def test_graph_of_some_commits(shell: Shell) -> None:
    ids = merged(shell)
    assert shell.ok("log", "--graph", "--oneline", "--key", "c") == f"* | {ids['more']} more\n"
    text = shell.ok("log", "--graph", "--oneline", "--since", "2026-01-02T03:04:30+00:00")
    assert text == (f"*   {ids['both']} (HEAD -> main) both\n|\\\n* | {ids['more']} more\n")


def test_by_column_and_key(shell: Shell) -> None:
    first = shell.commit({"a": 1, 5: 1}, "First")
    second = shell.commit({"a": 2}, "Second")
    shell.stage({"a": 1}, column="other")
    shell.ok("commit", "-m", "Third")
    assert shell.ok("log", "--oneline", "-c", "labels") == f"{second} Second\n{first} First\n"
    assert shell.ok("log", "--oneline", "-c", "labels", "-k", "5") == f"{first} First\n"
    assert shell.ok("log", "--oneline", "-k", "5") == f"{first} First\n"
    assert shell.ok("log", "--oneline", "-k", "nope") == ""
    assert shell.fails("log", "-c", "nope") == (
        "Error: no commit has had a column 'nope'; there are: labels, other\n"
    )


def test_a_column_that_is_gone_has_a_log(shell: Shell) -> None:
    first = shell.commit({"a": 1}, "First")
    shell.ok("column", "delete", "labels")
    shell.ok("commit", "-m", "Second")
    expected = f"{shell.short()} (HEAD -> main) Second\n{first} First\n"
    assert shell.ok("log", "--oneline", "-c", "labels") == expected


def test_by_author_and_time(shell: Shell) -> None:
    shell.at("2026-01-01T00:00:00+00:00")
    first = shell.commit({"a": 1}, "First")
    shell.at("2026-01-20T00:00:00+00:00")
    shell.stage({"a": 2})
    shell.ok("commit", "-m", "Second", "--author", "Bob <bob@example.org>")
    second = f"{shell.short()} (HEAD -> main) Second\n"
    assert shell.ok("log", "--oneline", "--author", "ADA") == f"{first} First\n"
    assert shell.ok("log", "--oneline", "--author", "bob@") == second
    assert shell.ok("log", "--oneline", "--since", "2026-01-10") == second
    assert shell.ok("log", "--oneline", "--since", "2 weeks ago") == second
    assert shell.ok("log", "--oneline", "--since", "3 weeks").count("\n") == 2
    assert shell.fails("log", "--since", "someday", code=2) == (
        "Error: Invalid value for '--since': 'someday' is no time; write 2026-01-31, "
        "2026-01-31T12:00 or '2 weeks ago'\n"
        "Hint: see 'tvcs log --help'\n"
    )


def test_by_text_metadata_and_parents(shell: Shell) -> None:
    ids = merged(shell)
    shell.stage({"d": 1})
    shell.ok("commit", "-m", "Tidy\n\nafter the MORE", "--meta", "source=uni-3", "--meta", "n=1")
    tidy = f"{shell.short()} (HEAD -> main) Tidy\n"
    assert shell.ok("log", "--oneline", "--meta", "source=uni-3") == tidy
    assert shell.ok("log", "--oneline", "--meta", "source=uni-3", "--meta", "n=2") == ""
    assert shell.ok("log", "--oneline", "--grep", "more") == f"{tidy}{ids['more']} more\n"
    assert shell.ok("log", "--oneline", "--merges") == (
        f"{ids['both']} both\n{ids['criss']} (dev) criss\n{ids['cross']} cross\n"
    )
    assert shell.ok("log", "--oneline", "--no-merges", "-n", "2") == f"{tidy}{ids['more']} more\n"
    assert shell.ok("log", "--oneline", "--first-parent") == (
        f"{tidy}{ids['both']} both\n{ids['more']} more\n{ids['cross']} cross\n"
        f"{ids['right']} right\n{ids['base']} base\n"
    )
    assert shell.ok("log", "--oneline", "--first-parent", "--graph", "dev") == (
        f"* {ids['criss']} (dev) criss\n* {ids['left']} left\n* {ids['base']} base\n"
    )
    until = shell.ok("log", "--oneline", "--until", "2026-01-02T03:01:30+00:00")
    assert until == f"{ids['left']} left\n{ids['base']} base\n"
    assert shell.fails("log", "--meta", "source", code=2) == (
        "Error: Invalid value for '--meta': 'source' is not of the form NAME=VALUE\n"
        "Hint: see 'tvcs log --help'\n"
    )


def test_a_range(shell: Shell) -> None:
    base = shell.commit({"a": 1}, "Base")
    shell.ok("switch", "-c", "dev")
    one, two = (shell.commit({"b": n}, f"Dev {n}") for n in (1, 2))
    shell.ok("switch", "main")
    shell.commit({"c": 1}, "Main")
    expected = f"{two} (dev) Dev 2\n{one} Dev 1\n"
    assert shell.ok("log", "--oneline", "main..dev") == expected
    assert shell.ok("log", "--oneline", "..dev") == expected
    assert shell.ok("log", "--oneline", f"{base}..dev~1") == f"{one} Dev 1\n"
    assert shell.ok("log", "--oneline", "--graph", "main..dev") == (
        f"* {two} (dev) Dev 2\n* {one} Dev 1\n"
    )
    assert shell.ok("log", "--oneline", "dev..dev") == ""
    assert [commit["message"] for commit in shell.json("log", "dev..")] == ["Main"]
    assert shell.fails("log", "main...dev") == (
        "Error: range 'main...dev' is not of the form A..B\n"
    )
    assert shell.fails("log", "nope..dev").startswith("Error: no branch, tag or commit is called")


def test_where_a_branch_was(shell: Shell) -> None:
    shell.at("2026-01-01T12:00:00+00:00")
    first = shell.commit({"a": 1}, "First")
    shell.at("2026-01-20T12:00:00+00:00")
    second = shell.commit({"a": 2}, "Second")
    for revision, expected in [
        ("main@{1}", first),
        ("@{2026-01-10T00:00+00:00}", first),
        ("main@{2 weeks ago}", first),
        ("main@{1 minute ago}", first),
        ("main@{now}", second),
    ]:
        assert shell.ok("show", revision).startswith(f"commit {shell.id(expected)}")
    assert shell.fails("show", "@{1 year ago}") == (
        "Error: revision '@{1 year ago}': branch 'main' was not there at "
        "2025-01-20 12:00:00 +0000\n"
        "Hint: 'tvcs op log' lists when it was made and moved\n"
    )
    assert shell.fails("show", "@{soon}") == (
        "Error: revision '@{soon}': 'soon' is neither a number of changes nor a time; write @{2}, "
        "@{2026-01-31} or '@{2 weeks ago}'\n"
    )


def test_json(shell: Shell) -> None:
    shell.commit({"a": 1}, "First")
    shell.commit({"a": 2}, "Second")
    commits = shell.json("log")
    assert [commit["message"] for commit in commits] == ["Second", "First"]
    assert commits[0]["parents"] == [commits[1]["id"]] == [shell.id("HEAD~1")]


def test_empty_repository(shell: Shell) -> None:
    told = (
        "Error: branch 'main' has no commits yet\n"
        "Hint: 'tvcs commit -m MESSAGE' records the first\n"
    )
    assert shell.fails("log") == shell.fails("log", "--graph") == told
