"""The command group, and how errors become a message, a hint and an exit code.

Imports neither numpy nor the library, so that ``tvcs --help`` answers at once; a command's
module is imported when it runs.
"""

from __future__ import annotations

import keyword
import sys
import traceback
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, cast

import click
from click.shell_completion import CompletionItem

from .output import Output, prepare_streams, silence_stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: dict[str, dict[str, str]] = {
    "Start": {
        "init": "Make an empty repository.",
        "config": "Show or change settings, such as who commits.",
    },
    "Bring data in and out": {
        "import": "Stage the samples of files or folders.",
        "import-hangar": "Bring the history of a Hangar repository over.",
        "export": "Write samples to files.",
        "column": "List, create, rename and delete columns, and say how they merge.",
    },
    "Look": {
        "status": "Show the branch and what is staged.",
        "diff": "Show what differs between two versions.",
        "show": "Show one commit and what it changed.",
        "view": "Show one sample.",
        "log": "List commits, newest first.",
        "blame": "Show for each sample the commit that last changed it.",
        "history": "Show the life of one sample: the commits that changed it, newest first.",
        "bisect": "Find the commit, and the samples, that made a test worse.",
    },
    "Record and take back": {
        "commit": "Record what is staged.",
        "reset": "Drop what is staged, or move the branch to another commit.",
        "stash": "Put staged changes aside, and take them up again.",
        "undo": "Take back the last operations.",
        "op": "Look at the operation log, and go back to a point in it.",
        "run": "Record what models were trained on, and compare it.",
    },
    "Branch and combine": {
        "branch": "List, make, rename and delete branches.",
        "switch": "Make another branch the current one.",
        "tag": "List, make and delete tags.",
        "merge": "Merge a commit into a branch.",
        "conflicts": "List the conflicts of a merge in progress.",
        "resolve": "Decide conflicts of a merge in progress.",
        "cherry-pick": "Make the change of a commit, or a part of it, on this branch.",
        "revert": "Take back the change of a commit, or a part of it.",
    },
    "Between machines": {
        "clone": "Copy a repository, whole or in part.",
        "fetch": "Copy what a remote has; no branch of yours moves.",
        "pull": "Fetch a branch of a remote and merge it into the current branch.",
        "push": "Copy a branch to a remote, and move it there.",
        "remote": "List, add and remove remotes.",
        "fetch-data": "Bring values into a partial clone before they are read.",
        "bundle": "Put branches and tags into one file, for machines without a network.",
        "serve": "Serve the repositories below a folder over HTTP.",
        "token": "Make, list and revoke the tokens that 'tvcs serve --token-file' asks for.",
    },
    "Upkeep": {
        "verify": "Check every digest, link and checksum.",
        "verify-commit": "Check who signed a commit.",
        "recover": "Make a new database of all that is left in a damaged one.",
        "stats": "Show counts and sizes.",
        "gc": "Drop what no branch, tag or stash reaches any more.",
        "repack": "Gather values into few packs, in the order in which they are read.",
    },
}
"""The commands by section: name as typed, and the first line of its help."""

EXIT_CODES = {
    "InvalidInputError": 1,
    "NotFoundError": 1,
    "AlreadyExistsError": 1,
    "StateError": 1,
    "ConflictError": 1,
    "LockedError": 1,
    "CorruptionError": 1,
    "StorageError": 1,
    "UnsupportedFormatError": 1,
    "MissingDependencyError": 1,
    "RemoteError": 1,
    "TimedOutError": 1,
    "WorkerError": 1,
}
"""Of each category of errors of the library."""

HINTS = {
    "BranchNotFoundError": "'tvcs branch' lists the branches",
    "TagNotFoundError": "'tvcs tag' lists the tags",
    "NothingToUndoError": "'tvcs op log' lists the operations",
    "RefChangedError": "another process was first; run the command again",
    "UnsupportedFormatError": "a newer version of TensorVCS reads it",
}
"""For errors of the library that bring none of their own."""

EXIT_USAGE = 2
EXIT_UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # as a shell reports SIGINT
EXIT_BROKEN_PIPE = 1  # as click does


def module_name(name: str) -> str:
    """Return the module in ``commands`` of a command, such as ``import_`` of ``import``."""
    plain = name.replace("-", "_")
    return f"{plain}_" if keyword.iskeyword(plain) else plain


class LazyGroup(click.Group):
    """A group that knows the names and first lines of its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f".commands.{module_name(cmd_name)}", __package__)
        return cast("click.Command", module.command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.list_commands(ctx)))
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:{width}}", text) for name, text in section.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.list_commands(ctx) and not name.startswith("-"):
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            raise UnknownCommandError(name, near[0] if near else None)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [
            CompletionItem(name, help=text)
            for section in COMMANDS.values()
            for name, text in section.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


class UnknownCommandError(click.UsageError):
    """A command that there is not, and perhaps the one that was meant."""

    def __init__(self, name: str, near: str | None) -> None:
        super().__init__(f"there is no command {name!r}")
        self.hint = f"did you mean 'tvcs {near}'?" if near else "'tvcs --help' lists the commands"


def _print_version(ctx: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if is_wanted and not ctx.resilient_parsing:
        library = import_module("tensorvcs")
        Output().line(f"tvcs {library.__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 90},
)
@click.option(
    "-C",
    "directory",
    metavar="PATH",
    type=click.Path(),
    help="Work on the repository at PATH, or the nearest one above it; the current folder when "
    "omitted. Other paths stay relative to the current folder.",
)
@click.option(
    "--at-op",
    "at_operation",
    metavar="OP",
    type=click.IntRange(min=1),
    help="Look at the repository as it was right after operation OP of 'tvcs op log'.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@click.pass_context
def group(ctx: click.Context, directory: str | None, at_operation: int | None, debug: bool) -> None:
    """Git for tensors: version, branch and merge columns of arrays, text and bytes.

    \b
    Examples:
      tvcs init --user-name Ada --user-email ada@example.org
      tvcs import photos/ --label-column labels
      tvcs commit -m "First pictures"
      tvcs log --graph --oneline

    A REV is a branch, a tag, a commit id or its first digits, or HEAD, with ~2 for two commits
    back or ^2 for the second parent of a merge; main@{1} is where main was before its last change,
    and main@{yesterday} or main@{2026-01-31} where it was then. Every command has --help with
    examples, and --json for programs.

    Completion of commands and options in bash (zsh and fish alike):

    \b
      eval "$(_TVCS_COMPLETE=bash_source tvcs)"
    """
    if ctx.invoked_subcommand is None:
        Output().line(ctx.get_help())
        ctx.exit(EXIT_USAGE)
    ctx.obj = import_module(".context", __package__).Caller(directory, at_operation)


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing is raised but a request to exit."""
    is_debug = "--debug" in arguments
    out = Output()
    try:
        code = group.main(list(arguments), prog_name="tvcs", standalone_mode=False)
        out.flush()
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        out.error(error.format_message(), _usage_hint(error))
        return EXIT_USAGE
    except click.ClickException as error:
        out.error(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        out.error("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        silence_stdout()
        return EXIT_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 (the last line of defence)
        if is_debug:
            out.note(traceback.format_exc().rstrip())
        return _report(error, out)


def _usage_hint(error: click.UsageError) -> str:
    hint = getattr(error, "hint", None)
    if isinstance(hint, str):
        return hint
    path = error.ctx.command_path if error.ctx is not None else "tvcs"
    return f"see '{path} --help'"


def _report(error: Exception, out: Output) -> int:
    """Print an error of the library, or one that nobody expected; return the exit code."""
    errors = import_module("tensorvcs.errors")
    if isinstance(error, errors.TensorVCSError):
        categories = [kind.__name__ for kind in type(error).__mro__]
        out.error(str(error), error.hint or HINTS.get(categories[0]))
        return next((EXIT_CODES[name] for name in categories if name in EXIT_CODES), 1)
    if isinstance(error, OSError):
        silence_stdout()
        out.error(f"the system refused: {error}")
        return 1
    if isinstance(error, MemoryError):
        out.error("not enough memory")
        return EXIT_UNEXPECTED
    text = " ".join(str(error).split())
    out.error(
        f"unexpected {type(error).__name__}" + (f": {text}" if text else ""),
        "this is a defect of TensorVCS: please report it to its developers with the output of "
        "the same command after 'tvcs --debug'",
    )
    return EXIT_UNEXPECTED


def run() -> None:
    """Run the command line of this process: the entry point of ``tvcs``."""
    prepare_streams()
    sys.exit(main(sys.argv[1:]))
