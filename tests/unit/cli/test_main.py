"""The command group: its table, its help, its speed, and what becomes of errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from cli import main
from cli.main import COMMANDS, EXIT_CODES, group, module_name
from tensorvcs import errors
from tests.e2e.shell import ROOT, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [name for section in COMMANDS.values() for name in section]
CONTEXT = click.Context(group, info_name="tvcs")


def commands_of(name: str, parent: click.Group, above: str) -> Iterator[tuple[str, click.Command]]:
    command = parent.get_command(CONTEXT, name)
    assert command is not None
    yield f"{above}{name}", command
    if isinstance(command, click.Group):
        for inner in command.list_commands(CONTEXT):
            yield from commands_of(inner, command, f"{above}{name} ")


ALL = dict(found for name in NAMES for found in commands_of(name, group, ""))


def test_every_file_is_a_command_of_the_table() -> None:
    files = {path.stem for path in (ROOT / "cli" / "commands").glob("*.py")}
    assert files - {"__init__"} == {module_name(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_the_first_line_of_the_help(name: str) -> None:
    (line,) = [section[name] for section in COMMANDS.values() if name in section]
    assert (ALL[name].help or "").partition("\n")[0] == line
    assert ALL[name].name == name


@pytest.mark.parametrize("name", ALL)
def test_help_has_an_example_of_the_command(name: str) -> None:
    command = ALL[name]
    with click.Context(command, info_name=f"tvcs {name}") as context:
        text = command.get_help(context)
    assert text.startswith(f"Usage: tvcs {name} ")
    _, found, examples = text.partition("\n  Examples:\n")
    assert found
    first = examples.splitlines()[0]
    assert re.match(rf"    tvcs {name}\b", first), first
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", ALL)
def test_every_command_prints_json(name: str) -> None:
    command = ALL[name]
    options = {option for parameter in command.params for option in parameter.opts}
    assert isinstance(command, click.Group) or "--json" in options


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_explained(name: str) -> None:
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.help.endswith("."), parameter.name


@pytest.mark.parametrize("name", ALL)
def test_examples_name_options_that_there_are(name: str) -> None:
    lines = [line.strip() for line in (ALL[name].help or "").splitlines()]
    for line in lines:
        # What stands behind -- is a command of somebody else.
        words = line.partition(" -- ")[0].split()
        if not line.startswith(f"tvcs {name}"):
            continue
        inner = [known for known in ALL if line.startswith(f"tvcs {known} ")]
        command = ALL[max(inner, key=len, default=name)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= known, line


def test_documents_name_commands_that_there_are() -> None:
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if document.exists():
            named = re.findall(
                r"^\s*(?:\$ )?tvcs (?:-C \S+ )?([a-z][a-z-]*)", document.read_text(), re.M
            )
            assert set(named) <= set(NAMES), document


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    heavy = ["numpy", "h5py", "lmdb", "torch", "blosc", "PIL", "rich", "tensorvcs"]
    code = (
        "import sys; from cli.main import main; code = main(['--help']); "
        f"print([name for name in {heavy} if name in sys.modules], code)"
    )
    result = run_process(code=code)
    assert result.stderr == ""
    *text, last = result.stdout.splitlines()
    assert last == "[] 0"
    for name in NAMES:
        assert any(line.startswith(f"  {name} ") for line in text)


def test_completion_of_commands_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cli.main import main; from contextlib import suppress\n"
        "with suppress(SystemExit): main([])\n"
        "print([name for name in ('numpy', 'tensorvcs') if name in sys.modules])"
    )
    variables = {"_TVCS_COMPLETE": "bash_complete", "COMP_WORDS": "tvcs com", "COMP_CWORD": "1"}
    result = run_process(code=code, env={**variables, "PATH": "/usr/bin:/bin"})
    assert result.stdout.splitlines() == ["plain,commit", "[]"]


def test_python_m_and_its_exit_code(tmp_path: Path) -> None:
    result = run_process("-C", str(tmp_path), "status")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: no repository at {tmp_path} ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import tensorvcs

    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tvcs {tensorvcs.__version__}\n"


def test_nothing_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 2
    assert capsys.readouterr().out.startswith("Usage: tvcs ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["statsu"], "Error: there is no command 'statsu'\nHint: did you mean 'tvcs stats'?\n"),
        (
            ["zzz"],
            "Error: there is no command 'zzz'\nHint: 'tvcs --help' lists the commands\n",
        ),
        (
            ["status", "x"],
            "Error: Got unexpected extra argument (x)\nHint: see 'tvcs status --help'\n",
        ),
    ],
)
def test_wrong_usage(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", expected)


def test_every_category_of_errors_has_an_exit_code() -> None:
    categories = {kind.__name__ for kind in errors.TensorVCSError.__subclasses__()}
    assert set(EXIT_CODES) == categories


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command("boom")
    def boom() -> None:
        raise error

    monkeypatch.setattr(main.LazyGroup, "list_commands", lambda *_: ["boom"])
    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: boom)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.RemoteError("the server is away"), 1, "Error: the server is away\n"),
        (
            errors.with_hint(errors.StateError("not now"), "later"),
            1,
            "Error: not now\nHint: later\n",
        ),
        (
            errors.TagNotFoundError("no tag 'x'"),
            1,
            "Error: no tag 'x'\nHint: 'tvcs tag' lists the tags\n",
        ),
        (KeyboardInterrupt(), 130, "Error: interrupted\n"),
        (click.Abort(), 130, "Error: interrupted\n"),
        (click.ClickException("no"), 1, "Error: no\n"),
        (MemoryError(), 70, "Error: not enough memory\n"),
        (
            PermissionError(13, "denied", "x"),
            1,
            "Error: the system refused: [Errno 13] denied: 'x'\n",
        ),
    ],
)
def test_errors(
    error: BaseException,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(main, "silence_stdout", lambda: None)
    raising(monkeypatch, error)
    assert main.main(["boom"]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err.lstrip("\n")) == ("", text)


def test_a_defect_is_one_line_and_the_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, ZeroDivisionError("by\nnothing"))
    assert main.main(["boom"]) == 70
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Error: unexpected ZeroDivisionError: by nothing"
    assert lines[1].startswith("Hint: this is a defect of TensorVCS: please report it")
    assert len(lines) == 2
    assert main.main(["--debug", "boom"]) == 70
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")


def test_a_pipe_that_closes_is_silent() -> None:
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-m', 'cli', '--help'],"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "p.stdout.close(); print(p.stderr.read()); sys.exit(p.wait())"
    )
    result = run_process(code=code)
    assert (result.stdout, result.returncode) == ("b''\n", 1)


def test_a_full_disk_is_said() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    code = (
        "import subprocess, sys\n"
        "p = subprocess.run([sys.executable, '-m', 'cli', '--help'], stdout=open('/dev/full', 'w'),"
        " stderr=subprocess.PIPE, text=True); print(p.stderr, end=''); sys.exit(p.returncode)"
    )
    result = run_process(code=code)
    assert result.stdout == "Error: the system refused: [Errno 28] No space left on device\n"
    assert result.returncode == 1


def test_run_takes_the_arguments_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tvcs", "zzz"])
    with pytest.raises(SystemExit) as stop:
        main.run()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("Error: there is no command 'zzz'\n")
