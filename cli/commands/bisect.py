"""``tvcs bisect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import tensorvcs
from tensorvcs.display.counting import count_text
from tensorvcs.errors import InvalidInputError, with_hint

from ..arguments import prints
from ..documents import commit_document, key_document
from ..text import SHOWN_KEYS, commit_lines, key_text, printable, stat_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorvcs import BisectResult, Checkout, Repository

    from ..context import Caller
    from ..output import Output

_SKIP_CODE = 125  # as of git bisect run
_CANNOT_RUN_CODES = (126, 127)  # what a shell answers for a program that it cannot run
_FIRST_ABORT_CODE = 128
REVISION, REPOSITORY = "TENSORVCS_REVISION", "TENSORVCS_REPOSITORY"


@click.group("bisect", no_args_is_help=False)
def command() -> None:
    """Find the commit, and the samples, that made a test worse.

    \b
    Examples:
      tvcs bisect run v1 main -- python evaluate.py
      tvcs bisect run v1 main --score --within -- python evaluate.py --commit {}
    """


@command.command("run")
@click.argument("good")
@click.argument("bad")
@click.argument("words", metavar="-- CMD [ARG...]", nargs=-1, required=True)
@click.option("--good", "more", metavar="REV", multiple=True, help="One more good commit.")
@click.option("--score", is_flag=True, help="CMD prints a score in the last line of its output.")
@click.option("--lower-is-better", is_flag=True, help="The score is a loss or an error.")
@click.option(
    "--within", is_flag=True, help="Then search inside of the commit: columns, sources, samples."
)
@click.option(
    "--within-range", is_flag=True, help="Search inside of all that changed from GOOD to BAD."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="X",
    help="Differences of scores that are noise; 0 when omitted.",
)
@click.option(
    "--max-tests",
    type=click.IntRange(min=2),
    default=1000,
    show_default=True,
    metavar="N",
    help="Run CMD at most N times.",
)
@click.option("--all", "is_all", is_flag=True, help=f"List more than {SHOWN_KEYS} samples a group.")
@prints
def run(
    caller: Caller,
    out: Output,
    good: str,
    bad: str,
    words: tuple[str, ...],
    more: tuple[str, ...],
    score: bool,
    lower_is_better: bool,
    within: bool,
    within_range: bool,
    tolerance: float,
    max_tests: int,
    is_all: bool,
) -> None:
    """Run CMD on commits between GOOD and BAD, and find the first one that is bad.

    CMD gets the id of the commit in TENSORVCS_REVISION, and in place of {} in its arguments; the
    folder of the repository is in TENSORVCS_REPOSITORY. Its exit code is 0 for a good commit, 125
    for one that cannot be tested, and 1 to 127 for a bad one; what is beyond stops the search.

    With --score CMD prints a number in its last line, and a commit is good when its number is
    nearer to that of the good end than to that of the bad end.

    With --within parts of the first bad commit are tested as commits of their own, which no
    branch names. The exit code is 1 when the first bad commit is not found.

    \b
    Examples:
      tvcs bisect run v1 main -- python evaluate.py
      tvcs bisect run main~3 main -- sh -c '! tvcs column list {} | grep captions'
      tvcs bisect run v1 main --score --within -- python evaluate.py --commit {}
      tvcs bisect run v1 main --score --lower-is-better --json -- python loss.py
    """
    if lower_is_better and not score:
        raise click.UsageError("--lower-is-better is about scores; it needs --score")
    if within and within_range:
        raise click.UsageError("--within and --within-range exclude each other")
    with caller.repository() as repo:
        result = repo.bisect(
            [good, *more],
            bad,
            _program(caller, repo, words, has_score=score),
            within="range" if within_range else within,
            lower_is_better=lower_is_better,
            tolerance=tolerance,
            max_tests=max_tests,
            on_step=None if out.is_json else lambda step: out.line(_step_line(out, step)),
        )
        if out.is_json:
            out.document(result_document(result))
        else:
            out.lines(_lines(out, repo, result, None if is_all else SHOWN_KEYS))
        if result.commit is None:
            click.get_current_context().exit(1)


def _program(
    caller: Caller, repo: Repository, words: Sequence[str], *, has_score: bool
) -> Callable[[Checkout], Any]:
    """Return a test that runs a program on each version."""
    variables = {REPOSITORY: str(repo.path.resolve())}
    is_first = True

    def test(checkout: Checkout) -> Any:
        nonlocal is_first
        commit = checkout.base
        code, text = caller.run_program(
            [word.replace("{}", commit.id) for word in words],
            {**variables, REVISION: commit.id},
            captures=has_score,
        )
        # The first is a good commit: there, such a code is no verdict.
        is_unable = is_first and code in _CANNOT_RUN_CODES
        is_first = False
        if code == _SKIP_CODE:
            return tensorvcs.SKIP
        if is_unable or not 0 <= code < _FIRST_ABORT_CODE or (has_score and code):
            raise _stopped(words[0], code, commit.short_id, has_score=has_score)
        return _score(text, commit.short_id) if has_score else code == 0

    return test


def _stopped(program: str, code: int, commit_id: str, *, has_score: bool) -> InvalidInputError:
    how = f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"
    meaning = "0 is a commit with a score" if has_score else "0 is good, 1 to 127 is bad"
    return with_hint(
        InvalidInputError(f"{program!r} {how} on commit {commit_id}, which says nothing of it"),
        f"check the command by hand; of exit codes, {meaning}, and 125 skips a commit",
    )


def _score(text: str, commit_id: str) -> float:
    lines = text.split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    try:
        return float(last)
    except ValueError:
        found = f"{last[:80]!r}" if last else "nothing"
        raise with_hint(
            InvalidInputError(
                f"the command printed {found} in its last line on commit {commit_id}; expected "
                "a number"
            ),
            "print the score last, and exit with 125 where there is none",
        ) from None


def _outcome_text(outcome: Any) -> str:
    """Return a score; nothing for what is just good, bad or skipped."""
    return "" if outcome is None or isinstance(outcome, bool) else f"{outcome + 0.0:.6g}"


def _step_line(out: Output, step: Any) -> str:
    if step.part:
        verdict = out.style("part", "cyan")
        if step.outcome is None:
            verdict += " skipped"
        elif isinstance(step.outcome, bool):
            verdict += " good" if step.outcome else " bad"
    elif step.outcome is None:
        verdict = "skip"
    elif step.is_good is None:
        verdict = "test"
    else:
        verdict = out.style("good", "green") if step.is_good else out.style("bad ", "red")
    what = step.part or printable(step.commit.summary)
    known = " (content known)" if step.is_repeated else ""
    words = [verdict, out.style(step.commit.short_id, "yellow"), _outcome_text(step.outcome)]
    return "  ".join([*(word for word in words if word), what]) + known


def _lines(out: Output, repo: Repository, result: BisectResult, limit: int | None) -> Iterator[str]:
    yield ""
    if result.commit is None:
        yield f"The first bad commit is one of these {len(result.suspects)}:"
        for commit in result.suspects:
            yield f"  {out.style(commit.short_id, 'yellow')} {printable(commit.summary)}"
    else:
        commit = result.commit
        yield f"{commit.id} is the first bad commit"
        yield from commit_lines(out, commit)
        yield ""
        parent = repo.resolve(commit.parents[0]) if commit.parents else None
        yield from stat_lines(out, repo.diff(parent, commit))
        yield ""
        scores = [_outcome_text(outcome) for outcome in (result.before, result.after)]
        if any(scores):
            yield f"Score: {scores[0] or '?'} before, {scores[1] or '?'} after"
    yield f"{count_text(result.test_count, 'test')} run"
    if result.note:
        yield printable(result.note)
    if result.narrowing is not None:
        yield from _narrowing_lines(out, result.narrowing, limit)


def _narrowing_lines(out: Output, narrowing: Any, limit: int | None) -> Iterator[str]:
    yield ""
    yield out.style(
        "Groups of changes: what is lost with one alone, and regained without it", bold=True
    )
    yield from out.table(
        ("  " + _mark(out, is_harmful=group.is_harmful), group.level, _path(group),
         f"{group.change_count:,}", _figure(group.alone), _figure(group.left_out))
        for group in narrowing.groups
    )  # fmt: skip
    yield ""
    yield out.style("Culprits", bold=True)
    for culprit in narrowing.culprits:
        yield f"  {printable(str(culprit))}"
        for key in culprit.keys[:limit]:
            yield f"    {key_text(key)}"
        if limit is not None and len(culprit.keys) > limit:
            yield f"    … and {len(culprit.keys) - limit:,} more; --all lists them"
    for culprit in narrowing.untried:
        yield f"  not searched further for want of tests: {printable(str(culprit))}"
    if narrowing.untestable_count:
        yield f"  {count_text(narrowing.untestable_count, 'part')} could not be tested"
    if narrowing.without is not None:
        without = _outcome_text(narrowing.without) or ("good" if narrowing.without else "bad")
        yield f"Without them: {without}"


def _mark(out: Output, *, is_harmful: bool) -> str:
    return out.style("harms", "red") if is_harmful else "     "


def _path(group: Any) -> str:
    return printable(" · ".join(name for name in (*group.within, group.name) if name))


def _figure(figure: float | None) -> str:
    return "?" if figure is None else f"{figure + 0.0:.4g}"


# What a program sees


def result_document(result: BisectResult) -> dict[str, Any]:
    """Return what a bisect has found."""
    narrowing = result.narrowing
    return {
        "commit": None if result.commit is None else commit_document(result.commit),
        "before": result.before,
        "after": result.after,
        "suspects": [commit.id for commit in result.suspects],
        "test_count": result.test_count,
        "steps": [
            {
                "commit": step.commit.id,
                "outcome": step.outcome,
                "is_good": step.is_good,
                "is_repeated": step.is_repeated,
            }
            for step in result.steps
        ],
        "note": result.note,
        "narrowing": None if narrowing is None else _narrowing_document(narrowing),
    }


def _narrowing_document(narrowing: Any) -> dict[str, Any]:
    return {
        "before": narrowing.before,
        "after": narrowing.after,
        "without": narrowing.without,
        "test_count": narrowing.test_count,
        "untestable_count": narrowing.untestable_count,
        "change_count": narrowing.change_count,
        "culprits": [_culprit_document(culprit) for culprit in narrowing.culprits],
        "untried": [_culprit_document(culprit) for culprit in narrowing.untried],
        "groups": [
            {
                "level": group.level,
                "name": group.name,
                "within": list(group.within),
                "change_count": group.change_count,
                "alone": group.alone,
                "left_out": group.left_out,
                "is_harmful": group.is_harmful,
            }
            for group in narrowing.groups
        ],
    }


def _culprit_document(culprit: Any) -> dict[str, Any]:
    return {
        "columns": list(culprit.columns),
        "source": culprit.source,
        "group": culprit.group,
        "keys": [key_document(key) for key in culprit.keys],
        "alone": culprit.alone,
        "left_out": culprit.left_out,
        "is_resolved": culprit.is_resolved,
    }
