"""Every example of every help text runs, in a repository that has what the examples name."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import tensorvcs as tv
from cli.main import COMMANDS, group, module_name
from tests.docs.example_repository import ADA, NOW, make_example_repository, make_photos
from tests.e2e.shell import ROOT, Shell
from tests.hangar_repositories import write_story
from tests.ssh_keys import write_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = [name for section in COMMANDS.values() for name in section]

# Examples that need more than this machine has, with the reason.
_SERVES = "serves until it is told to end; tests/e2e/test_serve.py runs it"
NOT_RUN: dict[str, str] = {
    "tvcs serve": _SERVES,
    "tvcs serve datasets/ --token-file tokens.json": _SERVES,
    "tvcs serve datasets/ --host 0.0.0.0 --tls-cert c.pem --tls-key k.pem": _SERVES,
}  # fmt: skip

# Those that say nothing when all is well.
QUIET = ("tvcs config --global ", "tvcs config --unset ")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command and subcommand with its whole name."""
    context = click.Context(group, info_name="tvcs")

    def visit(name: str, parent: click.Group) -> Iterator[tuple[str, click.Command]]:
        command = parent.get_command(context, name.rpartition(" ")[2])
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                yield from visit(f"{name} {inner}", command)

    for name in NAMES:
        yield from visit(name, group)


ALL = dict(commands())


def examples_of(text: str | None) -> list[str]:
    """Return the lines of the block of examples in a help text."""
    found = re.search(r"^\s*Examples:\n((?:[ ]{2,}\S.*(?:\n|\Z))+)", text or "", re.MULTILINE)
    return [] if found is None else [line.strip() for line in found[1].strip().splitlines()]


EXAMPLES = list(
    dict.fromkeys(line for command in ALL.values() for line in examples_of(command.help))
)


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_examples_of_itself(name: str) -> None:
    lines = examples_of(ALL[name].help)
    assert lines
    assert all(line.startswith("tvcs ") for line in lines)
    assert any(line == f"tvcs {name}" or line.startswith(f"tvcs {name} ") for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_an_end_to_end_test(name: str) -> None:
    assert (ROOT / "tests" / "e2e" / f"test_{module_name(name).rstrip('_')}.py").is_file()


# What an example needs beyond the repository of the story, by the start of its line; the longest
# start that fits counts.


def stage(shell: Shell) -> None:
    """Stage changes of two columns."""
    with shell.repository() as repo, repo.edit() as staging:
        staging["labels"].update({"cat/1": 0, "cat/3": 5})
        staging["images"]["cat/1"] = staging["images"]["dog/1"]


def stash_twice(shell: Shell) -> None:
    with shell.repository() as repo:
        for label in (6, 7):
            with repo.edit() as staging:
                staging["labels"]["dog/2"] = label
            repo.stash()


def stage_all_columns(shell: Shell) -> None:
    stage(shell)
    with shell.repository() as repo, repo.edit() as staging:
        staging["masks"]["cat/1"] = ~staging["masks"]["cat/1"]


def merge_in_progress(shell: Shell) -> None:
    """Begin a merge that keeps its conflicts."""
    with shell.repository() as repo:
        repo.merge("relabel", keep_conflicts=True)
        assert repo.conflicts


def merge_without_open_conflicts(shell: Shell) -> None:
    merge_in_progress(shell)
    with shell.repository() as repo:
        merge = repo.merge_in_progress
        assert merge is not None
        merge.resolve_all("theirs")


def sources_beside(shell: Shell) -> None:
    """Work in an empty folder beside the repository, which is now called pets."""
    shell.folder.rename(shell.folder.parent / "pets")
    shell.go(shell.folder)


def with_a_remote(shell: Shell) -> None:
    """Have a remote of another repository, which is a commit ahead."""
    theirs = shell.folder.parent / "pets"
    shutil.copytree(shell.folder, theirs)
    with tv.open(theirs) as repo, repo.transaction("main", "Theirs") as tx:
        tx["labels"]["cat/1"] = 7
    with shell.repository() as repo:
        repo.add_remote("origin", str(theirs))


def both_have_changed(shell: Shell) -> None:
    with_a_remote(shell)
    shell.commit({"cat/1": 8}, "Ours")


def behind_us(shell: Shell) -> None:
    """Have a remote that lacks the newest commit."""
    with_a_remote(shell)
    shell.ok("pull")
    shell.commit({"cat/2": 8}, "Ours")


def partial_clone(shell: Shell) -> None:
    theirs = shell.folder.parent / "pets"
    shell.folder.rename(theirs)
    tv.clone(theirs, shell.folder, max_bytes=0).close()
    shell.go(shell.folder)


def commit_with_a_key(shell: Shell) -> None:
    stage(shell)
    (shell.folder / "home" / ".ssh").mkdir(parents=True)
    write_key(shell.folder / "home" / ".ssh" / "id_ed25519")
    shell.set_variable("HOME", str(shell.folder / "home"))


def empty_folder(shell: Shell) -> None:
    shutil.rmtree(shell.folder)
    shell.go(shell.folder)


def empty_repository(shell: Shell) -> None:
    """Leave the files, and make the repository anew."""
    shutil.rmtree(shell.folder / ".tensorvcs")
    tv.init(shell.folder, ADA.name, ADA.email).close()


def repository_of_hangar(shell: Shell) -> None:
    if importlib.util.find_spec("hangar") is None:
        pytest.skip("the package hangar is not installed: pip install 'tensorvcs[hangar]'")
    empty_repository(shell)
    write_story("growing", shell.folder.parent / "old-dataset")


def without_photos(shell: Shell) -> None:
    shutil.rmtree(shell.folder / "photos")


def without_branch(*names: str) -> Callable[[Shell], None]:
    def delete(shell: Shell) -> None:
        with shell.repository() as repo:
            for name in names:
                repo.delete_branch(name, force=True)

    return delete


def without_tag(name: str) -> Callable[[Shell], None]:
    def delete(shell: Shell) -> None:
        with shell.repository() as repo:
            repo.delete_tag(name)

    return delete


def after(*lines: str) -> Callable[[Shell], None]:
    """Run other commands before."""

    def run(shell: Shell) -> None:
        for line in lines:
            result = shell.run(*shlex.split(line)[1:])
            assert result.code == 0, (line, result)

    return run


def bundle_alone(shell: Shell) -> None:
    """Have a bundle in a folder that is no repository."""
    shell.ok("bundle", "create", "pets.bundle")
    shutil.rmtree(shell.folder / ".tensorvcs")


def recorded_runs(shell: Shell) -> None:
    """Have two runs, and a file with the provenance of the first."""
    torch = pytest.importorskip("tensorvcs.torch", reason="torch is not installed")
    with shell.repository() as repo:
        for name, revision in (("resnet-1", "v1"), ("resnet-2", "main")):
            loader = torch.TensorLoader(repo.checkout(revision), ["labels"], batch_size=2, seed=1)
            list(loader)
            provenance = loader.provenance()
            if name == "resnet-1":
                (shell.folder / "provenance.json").write_text(json.dumps(provenance))
            repo.record_run(name, provenance)


def provenance_alone(shell: Shell) -> None:
    recorded_runs(shell)
    with shell.repository() as repo:
        repo.delete_run("resnet-1")


SETUPS: dict[str, Callable[[Shell], None]] = {
    "tvcs init": empty_folder,
    "tvcs import ": empty_repository,
    "tvcs import-hangar": repository_of_hangar,
    "tvcs export": without_photos,
    "tvcs column create": empty_repository,
    "tvcs commit": stage,
    'tvcs commit -m "Checked by hand" --sign': commit_with_a_key,
    "tvcs stash": stage_all_columns,
    "tvcs stash list": stash_twice,
    "tvcs stash show": stash_twice,
    "tvcs stash pop": stash_twice,
    "tvcs stash apply": stash_twice,
    "tvcs stash drop": stash_twice,
    "tvcs status": stage,
    "tvcs diff": stage,
    "tvcs reset": stage,
    "tvcs branch experiment": without_branch("experiment"),
    "tvcs branch --move experiment trial": without_branch("trial"),
    "tvcs switch -c experiment": without_branch("experiment"),
    "tvcs switch main": after("tvcs switch experiment"),
    "tvcs switch -": after("tvcs switch experiment"),
    "tvcs clone": sources_beside,
    "tvcs clone pets.bundle": bundle_alone,
    "tvcs bundle verify": after("tvcs bundle create pets.bundle"),
    "tvcs remote": with_a_remote,
    "tvcs remote add origin": empty_repository,
    "tvcs fetch": with_a_remote,
    "tvcs pull": with_a_remote,
    "tvcs pull --strategy": both_have_changed,
    "tvcs push": behind_us,
    "tvcs fetch-data": partial_clone,
    "tvcs verify --repair-from": with_a_remote,
    "tvcs conflicts": merge_in_progress,
    "tvcs resolve": merge_in_progress,
    "tvcs merge --abort": merge_in_progress,
    "tvcs merge --continue": merge_without_open_conflicts,
    "tvcs tag v1": without_tag("v1"),
    "tvcs token list": after("tvcs token add tokens.json ada"),
    "tvcs token revoke": after("tvcs token add tokens.json ada"),
    "tvcs tag before-cleaning": without_tag("before-cleaning"),
    "tvcs run ": recorded_runs,
    "tvcs run record": provenance_alone,
}


def setup_of(line: str) -> Callable[[Shell], None] | None:
    starts = [start for start in SETUPS if line.startswith(start)]
    return SETUPS[max(starts, key=len)] if starts else None


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("PIL.Image")
    pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    folder = tmp_path_factory.mktemp("template") / "data"
    make_example_repository(folder)
    return folder


@pytest.fixture
def shell(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell in a fresh copy of the repository."""
    shutil.copytree(template, tmp_path / "data")
    shell = Shell(tmp_path / "data", monkeypatch)
    shell.at(NOW.isoformat())
    # Examples say `python`, which is the one that runs this.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    shell.set_variable("PATH", path)
    return shell


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_runs(shell: Shell, line: str) -> None:
    if line in NOT_RUN:
        pytest.skip(NOT_RUN[line])
    prepare = setup_of(line)
    if prepare is not None:
        prepare(shell)
    words = shlex.split(line)
    result = shell.run(*words[1:])
    assert result.code == 0, result
    assert "Error:" not in result.stderr
    assert "Hint:" not in result.stderr
    if "--json" in words:
        assert json.loads(result.stdout) is not None
    assert bool(result.stdout.strip()) != line.startswith(QUIET), result


def test_the_story_of_the_front_page_runs(shell: Shell) -> None:
    empty_folder(shell)
    make_photos(shell.folder / "photos")
    lines = examples_of(group.help)
    assert len(lines) >= 4
    for line in lines:
        result = shell.run(*shlex.split(line)[1:])
        assert (result.code, result.stderr) == (0, ""), (line, result)
        assert result.stdout


@pytest.mark.parametrize("table", [NOT_RUN, SETUPS])
def test_the_tables_are_of_examples_that_there_are(table: dict[str, object]) -> None:
    for start in table:
        assert any(line.startswith(start) for line in EXAMPLES), start


def test_the_parser_of_help_texts() -> None:
    text = "Do it.\n\n\b\nSettings:\n  a b\n\n\b\nExamples:\n  tvcs a\n  tvcs b -m 'c d'\n\nMore.\n"
    assert examples_of(text) == ["tvcs a", "tvcs b -m 'c d'"]
    assert examples_of("Examples:\n  tvcs a") == ["tvcs a"]
    assert examples_of("None.") == examples_of(None) == []
