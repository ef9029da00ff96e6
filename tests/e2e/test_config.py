"""``tvcs config``, and who commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.shell import Shell


def author(shell: Shell) -> str:
    with shell.repository() as repo:
        return str(repo.resolve("HEAD").author)


def test_set_show_list_and_remove(shell: Shell) -> None:
    assert shell.ok("config", "user.name", "Eve") == ""
    assert shell.ok("config", "user.name") == "Eve\n"
    assert shell.ok("config") == "user.email=ada@example.org\nuser.name=Eve\n"
    assert shell.json("config", "user.name") == {"user.name": "Eve"}
    assert shell.ok("config", "--unset", "user.name") == ""
    assert shell.fails("config", "user.name") == (
        "Error: the setting 'user.name' is not set\nHint: tvcs config user.name VALUE\n"
    )


def test_the_settings_of_a_user_come_after_those_of_the_repository(shell: Shell) -> None:
    shell.ok("config", "--global", "user.name", "Everywhere")
    shell.ok("config", "--global", "display.colour", "no")
    assert shell.ok("config", "user.name") == "Ada\n"
    assert shell.ok("config", "--global", "user.name") == "Everywhere\n"
    assert shell.ok("config", "display.colour") == "no\n"


def test_outside_of_a_repository(bare_shell: Shell) -> None:
    bare_shell.ok("config", "--global", "user.name", "Everywhere")
    assert bare_shell.ok("config") == "user.name=Everywhere\n"
    assert bare_shell.fails("config", "user.name", "Ada") == (
        f"Error: no repository at {bare_shell.folder} or in a folder above it\n"
        "Hint: for your own settings: tvcs config --global user.name …\n"
    )


def test_notes_on_names_that_nothing_reads(shell: Shell) -> None:
    result = shell.run("config", "user.nmae", "Ada")
    assert result.code == 0
    assert result.stderr == (
        "Note: 'user.nmae' is set, but nothing reads it; did you mean 'user.name'?\n"
    )
    result = shell.run("config", "--unset", "no.such")
    assert (result.code, result.stderr) == (0, "Note: 'no.such' was not set.\n")


def test_refused(shell: Shell) -> None:
    expected = "Error: option name 'plain' is not of the form 'section.name'\n"
    assert shell.fails("config", "plain", "x") == expected
    assert shell.fails("config", "--global", "plain", "x") == expected
    assert shell.fails("config", "plain") == expected
    assert shell.fails("config", "--global", "user.email", " ") == (
        "Error: user.email cannot be empty\n"
    )
    assert shell.fails("config", "--unset", code=2) == (
        "Error: --unset takes a NAME and no VALUE\nHint: see 'tvcs config --help'\n"
    )


def test_author_by_option_environment_repository_and_user(shell: Shell) -> None:
    shell.ok("config", "--global", "user.name", "Everywhere")
    shell.ok("config", "--global", "user.email", "everywhere@example.org")
    shell.commit({"a": 1}, "repository")
    assert author(shell) == "Ada <ada@example.org>"
    shell.ok("config", "--unset", "user.name")
    shell.commit({"a": 2}, "user, and the mail of the repository")
    assert author(shell) == "Everywhere <ada@example.org>"
    shell.set_variable("TENSORVCS_USER_NAME", "Variable")
    shell.commit({"a": 3}, "environment")
    assert author(shell) == "Variable <ada@example.org>"
    shell.stage({"a": 4})
    shell.ok("commit", "-m", "option", "--author", "Bob <bob@example.org>")
    assert author(shell) == "Bob <bob@example.org>"


def test_nobody(bare_shell: Shell) -> None:
    bare_shell.ok("init")
    bare_shell.stage({"a": 1})
    assert bare_shell.fails("commit", "-m", "x") == (
        "Error: a commit needs an author, and no user is configured\n"
        "Hint: tvcs config user.name 'Your Name' && tvcs config user.email you@example.org\n"
    )


def test_settings_that_cannot_be_read(shell: Shell) -> None:
    file = shell.folder.parent / "settings" / "tensorvcs" / "config.json"
    file.parent.mkdir(parents=True)
    file.write_text("[1]")
    assert shell.fails("status") == f"Error: the settings {file} hold no JSON object\n"
    file.write_text("{")
    assert shell.fails("status").startswith(f"Error: the settings {file} cannot be read: ")


def test_with_damaged_settings_of_the_repository_only_what_needs_them_fails(shell: Shell) -> None:
    shell.stage({"a": 1})
    shell.ok("commit", "-m", "First")
    file = shell.folder / ".tensorvcs" / "config.json"
    shell.ok("config", "x.y", "sound")
    shell.stage({"a": 2})
    content = file.read_text()
    file.write_text(content.replace("sound", "sounD"))
    told = f"Error: {file} was damaged, or edited by hand: its checksum is wrong\n"
    hint = (
        "Hint: look through its options, and remove the line of 'crc32' to have them taken as "
        "they are\n"
    )
    assert "First" in shell.ok("log", "--oneline")
    assert "labels" in shell.ok("status")
    result = shell.run("verify")
    assert result.code == 1
    assert result.stdout.startswith("settings or HEAD: ")
    assert result.stderr.endswith(hint)
    for words in (("config", "x.y"), ("config", "x.y", "new"), ("commit", "-m", "Second")):
        assert told + hint in shell.fails(*words)
    file.write_text("\n".join(line for line in content.splitlines() if "crc32" not in line))
    assert shell.ok("config", "x.y") == "sound\n"
    shell.ok("commit", "-m", "Second")
    shell.ok("verify")


def test_time_that_is_none(shell: Shell) -> None:
    shell.at("soon")
    shell.stage({"a": 1})
    assert shell.fails("commit", "-m", "x") == (
        "Error: the environment variable TENSORVCS_COMMIT_TIME is 'soon', no time\n"
        "Hint: write it like 2026-01-31T12:00:00+01:00\n"
    )
