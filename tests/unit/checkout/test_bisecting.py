"""Bisect with tests of versions: five universities, one of which sends wrong labels."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorvcs as tv
from tensorvcs.checkout.bisecting import Bisect, BisectRules
from tensorvcs.checkout.trials import Trials
from tensorvcs.errors import InvalidInputError, SampleNotFoundError
from tensorvcs.history.commit import new_commit
from tests.memory_repository import ADA, MemoryRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tensorvcs import BisectResult, Checkout, Commit
    from tensorvcs.history.bisecting.bisect import BisectStep


def bisect(
    repo: MemoryRepository,
    good: str | Sequence[str],
    bad: str,
    test: Callable[[Checkout], Any],
    **options: Any,
) -> BisectResult:
    calls = {name: options.pop(name, None) for name in ("progress", "on_step")}
    rules = BisectRules(**options)
    trials = Trials(repo.stores, repo.nodes, test, max_tests=rules.max_tests)
    goods = [good] if isinstance(good, str) else good
    search = Bisect(repo.stores, repo.nodes, trials, rules, **calls)
    return search.run([repo.load(one) for one in goods], repo.load(bad))


def row(repo: MemoryRepository, values: Sequence[float]) -> list[Commit]:
    """Commit one number after the other."""
    return [put(repo, {"value": value}, message=f"{at}") for at, value in enumerate(values)]


def put(
    repo: MemoryRepository, values: dict[Any, float], branch: str = "main", message: str = "m"
) -> Commit:
    with repo.edit(branch) as co:
        if "numbers" not in co:
            co.add_ndarray_column("numbers", (), "float64")
        co["numbers"].update(values)
        return co.commit(message)


def value_of(checkout: Checkout) -> float:
    return float(checkout["numbers", "value"])


# Commits


def test_good_and_bad() -> None:
    repo = MemoryRepository()
    commits = row(repo, range(20))
    result = bisect(repo, "main~19", "main", lambda co: value_of(co) < 13)
    assert result.commit == commits[13]
    assert (result.before, result.after) == (True, False)
    assert result.suspects == (commits[13],)
    assert result.tested[0] == (commits[0], True)
    assert result.tested[1] == (commits[19], False)
    assert result.test_count == len(result.tested) <= 2 + 5
    assert result.culprits == ()


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_lead_to_the_largest_drop(sign: int) -> None:
    repo = MemoryRepository()
    scores = [90, 91, 89, 88, 90, 89, 87, 88, 61, 60, 62, 58, 59, 57, 59, 58]
    commits = row(repo, [sign * score for score in scores])
    result = bisect(repo, "main~15", "main", value_of, lower_is_better=sign < 0)
    assert result.commit == commits[8]
    assert (result.before, result.after) == (sign * 88, sign * 61)
    assert all(step.is_good == (abs(float(step.outcome or 0)) > 70) for step in result.steps)


def test_the_ends_move_so_that_each_step_takes_the_larger_drop() -> None:
    repo = MemoryRepository()
    commits = row(repo, [100, 99, 90, 89, 60, 59, 50, 49, 0])
    result = bisect(repo, "main~8", "main", value_of)
    assert result.commit == commits[8]
    result = bisect(repo, "main~8", "main~1", value_of)
    assert result.commit == commits[4]


def test_equal_content_is_tested_once() -> None:
    repo = MemoryRepository()
    row(repo, [1, 2, 1, 2, 1, 2, 1, 3, 4, 3, 4])
    calls = []

    def test(co: Checkout) -> bool:
        calls.append(co.base.snapshot)
        return value_of(co) < 3

    result = bisect(repo, "main~10", "main", test)
    assert result.commit is not None
    assert result.commit.summary == "7"
    assert len(calls) == len(set(calls)) == result.test_count
    assert any(step.is_repeated for step in result.steps)
    assert len(result.steps) > result.test_count


def test_several_good_commits() -> None:
    repo = MemoryRepository()
    row(repo, [0, 1, 2])
    repo.branch_at("side", "main~2")
    for at in range(4):
        put(repo, {"other": at}, "side", f"side {at}")
    repo.merge("side")
    put(repo, {"value": 9}, message="bad")
    result = bisect(repo, ["main~3", "side"], "main", lambda co: value_of(co) < 9)
    assert result.commit is not None
    assert result.commit.summary == "bad"
    names = [commit.summary for commit, _ in result.tested]
    assert names == ["1", "side 3", "bad", "2", "Merge side"]


def test_the_worst_good_score_counts() -> None:
    repo = MemoryRepository()
    row(repo, [10, 5, 4.9, 1, 0])
    result = bisect(repo, ["main~4", "main~3"], "main", value_of)
    assert result.commit is not None
    assert result.commit.summary == "3"


def test_a_merge_is_compared_with_its_first_parent_which_may_be_tested_for_that() -> None:
    repo = MemoryRepository()
    row(repo, [0])
    for name in ("left", "right"):
        repo.branch_at(name)
        for at in range(3):
            put(repo, {name: at}, name, f"{name} {at}")
    repo.put_branch("main", repo.head("left"))
    repo.merge("right")
    result = bisect(repo, "left~3", "main", lambda co: len(co["numbers"]) < 3, within=True)
    assert result.commit == repo.load("main")
    assert (result.before, result.after) == (True, False)
    assert [culprit.keys for culprit in result.culprits] == [("right",)]


def test_skipped_commits_are_suspects() -> None:
    repo = MemoryRepository()
    commits = row(repo, range(10))

    def test(co: Checkout) -> Any:
        value = value_of(co)
        return tv.SKIP if 4 <= value <= 6 else value < 5

    result = bisect(repo, "main~9", "main", test, within=True)
    assert result.commit is None
    assert (result.before, result.after) == (None, None)
    assert result.suspects == tuple(commits[4:8])
    assert "not known" in result.note
    assert None in [step.outcome for step in result.steps]


def test_out_of_tests_leaves_suspects() -> None:
    repo = MemoryRepository()
    row(repo, range(64))
    result = bisect(repo, "main~63", "main", lambda co: value_of(co) < 40, max_tests=4)
    assert result.commit is None
    assert result.test_count == 4
    assert len(result.suspects) == 16


def test_out_of_tests_before_the_commit_is_looked_into() -> None:
    repo = MemoryRepository()
    row(repo, [0, 1])
    result = bisect(repo, "main~1", "main", lambda co: value_of(co) < 1, max_tests=2, within=True)
    assert result.commit == repo.load("main")
    assert [culprit.keys for culprit in result.culprits] == [("value",)]


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        (lambda co: False, "the test says that the good commit .* is bad"),
        (lambda co: True, "the test says that the bad commit .* is good"),
        (value_of, "has the score 0 and the bad commit .* has 9, which is no worse: higher is"),
        (lambda co: 5, "has the score 5 and the bad commit .* has 5"),
        (lambda co: tv.SKIP, "skipped the good commit"),
        (lambda co: tv.SKIP if value_of(co) else True, "skipped the bad commit"),
        (lambda co: float("nan"), "is nan, no number"),
    ],
)
def test_ends_that_the_test_refuses(test: Callable[[Checkout], Any], problem: str) -> None:
    repo = MemoryRepository()
    row(repo, range(10))
    with pytest.raises(InvalidInputError, match=problem) as caught:
        bisect(repo, "main~9", "main", test)
    assert caught.value.hint


def test_lower_is_better_says_so() -> None:
    repo = MemoryRepository()
    row(repo, [9, 0])
    with pytest.raises(InvalidInputError, match="lower is better"):
        bisect(repo, "main~1", "main", value_of, lower_is_better=True)


def test_too_few_tests_for_the_ends() -> None:
    repo = MemoryRepository()
    row(repo, range(4))
    with pytest.raises(InvalidInputError, match="at most 2 tests are too few for 3 ends"):
        bisect(repo, ["main~3", "main~2"], "main", lambda co: value_of(co) < 3, max_tests=2)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"within": "commits"}, "within is a bool, 'commit' or 'range'"),
        ({"share": 0}, "a share of 0"),
        ({"share": 1.5}, "a share of 1.5"),
        ({"share": "half"}, "a share of 'half'"),
        ({"tolerance": -1}, "a tolerance of -1"),
        ({"tolerance": None}, "a tolerance of None"),
        ({"tolerance": float("nan")}, "a tolerance of nan"),
        ({"separator": ""}, "a separator is a text"),
        ({"max_tests": 1}, "at most 1 tests"),
        ({"max_tests": 2.0}, "at most 2.0 tests"),
    ],
)
def test_rules_that_make_no_sense(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        BisectRules(**options)


def test_progress_and_steps_are_told() -> None:
    repo = MemoryRepository()
    row(repo, range(16))
    told: list[tuple[int, int | None]] = []
    steps: list[BisectStep] = []
    result = bisect(
        repo, "main~15", "main", lambda co: value_of(co) < 9, within=True,
        progress=lambda done, total: told.append((done, total)), on_step=steps.append,
    )  # fmt: skip
    assert list(dict.fromkeys(done for done, _ in told)) == list(range(1, result.test_count + 1))
    assert all(total is None or total >= done for done, total in told)
    assert [step for step in steps if not step.part] == list(result.steps)


def test_the_test_of_a_commit_may_fail() -> None:
    repo = MemoryRepository()
    row(repo, range(4))
    with pytest.raises(SampleNotFoundError):
        bisect(repo, "main~3", "main", lambda co: co["numbers", "nothing"])


def merge_of(repo: MemoryRepository, parents: Sequence[Commit], content: Commit) -> Commit:
    """Point main at a merge with the content of some commit."""
    merge = new_commit(
        repo.objects,
        content.object.snapshot,
        [parent.digest for parent in parents],
        author=ADA,
        now=repo.now(),
        message="Merge",
    )
    repo.put_branch("main", merge.digest)
    return merge


@pytest.mark.parametrize(
    ("first", "note"),
    [
        (1.0, "is no worse than its first parent .*: 2 after 1"),
        (tv.SKIP, "was not tested, so no drop is known"),
    ],
)
def test_nothing_is_searched_without_a_drop(first: Any, note: str) -> None:
    """The first parent of the merge is an ancestor of a good commit, but no good one itself."""
    repo = MemoryRepository()
    parent, good, bad = row(repo, range(3))
    merge = merge_of(repo, [parent, good], bad)
    scores = {parent.snapshot: first, good.snapshot: 9.0, bad.snapshot: 2.0}
    result = bisect(repo, good.id, "main", lambda co: scores[co.base.snapshot], within=True)
    assert result.commit == merge
    assert result.narrowing is None
    assert re.search(note, result.note)
    assert result.steps[-1].commit == parent
    assert result.steps[-1].is_good is None


def test_no_test_is_left_for_the_first_parent() -> None:
    repo = MemoryRepository()
    parent, good, bad = row(repo, range(3))
    merge_of(repo, [parent, good], bad)
    result = bisect(repo, good.id, "main", lambda co: value_of(co) < 2, within=True, max_tests=2)
    assert (result.before, result.after) == (None, False)
    assert "was not tested" in result.note


def test_nothing_is_searched_in_a_commit_without_a_parent() -> None:
    repo = MemoryRepository()
    (good,) = row(repo, [0])
    repo.put_branch("root", repo.bare_commit())
    root = repo.load("root")
    merge_of(repo, [good, root], root)
    result = bisect(repo, good.id, "main", lambda co: "numbers" in co, within=True)
    assert result.commit == root
    assert (result.before, result.after) == (None, False)
    assert "has no parent" in result.note


# Five universities


UNIVERSITIES = range(1, 6)
WRONG_SOURCE = 3


class FiveUniversities:
    """Commits of pictures and labels of five sources; one sends a batch with wrong labels.

    A picture holds its true label in its first pixel, so that a test can be sure of each sample.
    """

    def __init__(self, repo: Any, *, by_transaction: bool = False) -> None:
        self.repo = repo
        self.wrong: list[str] = []
        rng = np.random.default_rng(7)
        self._write("Start", {f"base/{at}": at % 3 for at in range(30)}, rng, {})
        for batch in range(4):
            for university in UNIVERSITIES:
                source = f"uni-{university}"
                labels = {
                    f"{source}/{'scanner' if at % 3 else 'camera'}/{batch}-{at}": at % 3
                    for at in range(12)
                }
                shift = {
                    key: 1
                    for key in labels
                    if university == WRONG_SOURCE and batch == 2 and "scanner" in key
                }
                self.wrong += shift
                self._write(f"Batch {batch} of {source}", labels, rng, shift, source)

    def _write(
        self,
        message: str,
        labels: dict[str, int],
        rng: np.random.Generator,
        shift: dict[str, int],
        source: str | None = None,
    ) -> None:
        with self.repo.edit() as co:
            if "images" not in co:
                co.add_ndarray_column("images", (4, 4), "float32")
                co.add_ndarray_column("labels", (), "int64")
            for key, label in labels.items():
                picture = rng.normal(0, 0.3, (4, 4)).astype(np.float32)
                picture[:, label] += 1
                picture[3, 3] = label
                co["images", key] = picture
                co["labels", key] = (label + shift.get(key, 0)) % 3
            co.commit(message, metadata={"source": source} if source else None)


def right_labels(checkout: Checkout) -> float:
    """Return the part of the labels that is right: a score that feels each sample."""
    truth = np.stack(checkout["images"][:])[:, 3, 3].astype(np.int64)
    return float((np.asarray(checkout["labels"][:]).reshape(-1) == truth).mean())


def model_accuracy(checkout: Checkout) -> float:
    """Return how many of fixed pictures the nearest neighbour among the samples gets right."""
    pictures = np.stack(checkout["images"][:]).reshape(len(checkout["images"]), -1)[:, :12]
    labels = np.asarray(checkout["labels"][:]).reshape(-1)
    rng = np.random.default_rng(1)
    truth = np.arange(300) % 3
    asked = rng.normal(0, 0.3, (300, 4, 4)).astype(np.float32)
    asked[np.arange(300), :, truth] += 1
    flat = asked.reshape(300, -1)[:, :12]
    distance = (pictures**2).sum(1)[None] - 2 * flat @ pictures.T
    return float((labels[distance.argmin(1)] == truth).mean())


@pytest.fixture(scope="module")
def universities() -> FiveUniversities:
    return FiveUniversities(MemoryRepository())


def test_a_score_of_samples_names_the_source_and_exactly_the_wrong_samples(
    universities: FiveUniversities,
) -> None:
    result = bisect(universities.repo, "main~20", "main", right_labels, within=True)
    assert result.commit is not None
    assert result.commit.summary == "Batch 2 of uni-3"
    (culprit,) = result.culprits
    assert culprit.columns == ("images", "labels")
    assert (culprit.source, culprit.group) == ("uni-3", "uni-3/scanner")
    assert list(culprit.keys) == sorted(universities.wrong)
    assert culprit.is_resolved
    narrowing = result.narrowing
    assert narrowing is not None
    assert narrowing.without == result.before == 1.0
    assert narrowing.change_count == 12
    assert narrowing.test_count < 24
    assert not narrowing.untried


def test_good_and_bad_names_all_of_them_as_well(universities: FiveUniversities) -> None:
    result = bisect(
        universities.repo, "main~20", "main", lambda co: right_labels(co) == 1, within=True
    )
    assert [list(culprit.keys) for culprit in result.culprits] == [sorted(universities.wrong)]
    assert result.narrowing is not None
    assert (result.narrowing.before, result.narrowing.without) == (True, True)


def test_the_score_of_a_model_names_the_source_and_the_group(
    universities: FiveUniversities,
) -> None:
    result = bisect(
        universities.repo, "main~20", "main", model_accuracy, within=True, tolerance=0.01
    )
    assert result.commit is not None
    assert result.commit.summary == "Batch 2 of uni-3"
    assert {(c.source, c.group) for c in result.culprits} == {("uni-3", "uni-3/scanner")}
    assert {key for c in result.culprits for key in c.keys} <= set(universities.wrong)
    assert result.narrowing is not None
    figures = {g.name: g for g in result.narrowing.groups if g.level == "keys"}
    assert figures["uni-3/scanner"].is_harmful
    assert not figures["uni-3/camera"].is_harmful


def test_a_range_names_the_source_among_all(universities: FiveUniversities) -> None:
    result = bisect(universities.repo, "main~20", "main", right_labels, within="range")
    assert [(c.source, list(c.keys)) for c in result.culprits] == [
        ("uni-3", sorted(universities.wrong))
    ]
    assert result.narrowing is not None
    assert result.narrowing.change_count == 240
    sources = [g for g in result.narrowing.groups if g.level == "source"]
    assert sorted(g.name for g in sources) == [f"uni-{n}" for n in UNIVERSITIES]
    assert [g.name for g in sources if g.is_harmful] == ["uni-3"]


def test_a_test_that_reads_samples_by_key_can_tell_the_column(
    universities: FiveUniversities,
) -> None:
    def test(co: Checkout) -> float:
        labels = co["labels"]
        return -sum(int(labels[key]) != int(co["images", key][3, 3]) for key in labels)

    result = bisect(universities.repo, "main~20", "main", test, within=True, whole_samples=False)
    (culprit,) = result.culprits
    assert culprit.columns == ("labels",)
    assert list(culprit.keys) == sorted(universities.wrong)
    assert result.narrowing is not None
    assert result.narrowing.untestable_count > 0


def test_relabelled_samples_name_the_column() -> None:
    repo = MemoryRepository()
    universities = FiveUniversities(repo)
    with repo.edit() as co:
        keys = list(co["labels"].keys())[40:60]
        changed = {key: (int(co["labels", key]) + 1) % 3 for key in keys[::2]}
        co["labels"].update(changed)
        for key in keys:
            picture = np.array(co["images", key])
            picture[0, 3] += 1
            co["images", key] = picture
        co.commit("Clean up", metadata={"source": "uni-9"})
    result = bisect(repo, "main~1", "main", right_labels, within=True)
    (culprit,) = {(c.columns, c.source) for c in result.culprits}
    assert culprit == (("labels",), "uni-9")
    found = {key for c in result.culprits for key in c.keys}
    assert found == set(changed) - set(universities.wrong)
    columns = {g.name: g for g in result.narrowing.groups if g.level == "column"}  # type: ignore[union-attr]
    assert columns["labels"].is_harmful
    assert not columns["images"].is_harmful


def test_int_keys_are_named_by_the_first_and_the_last_of_them() -> None:
    repo = MemoryRepository()
    put(repo, {"start": 0})
    put(repo, {at: -1.0 if 20 <= at < 50 or at == 90 else 1.0 for at in range(100)})
    result = bisect(
        repo, "main~1", "main", lambda co: float((co["numbers"][:] >= 0).mean()), within=True
    )
    (culprit,) = result.culprits
    assert culprit.group == "20 … 90"
    assert culprit.keys == (*range(20, 50), 90)


def test_a_budget_names_what_was_not_searched(universities: FiveUniversities) -> None:
    result = bisect(universities.repo, "main~20", "main", right_labels, within=True, max_tests=10)
    narrowing = result.narrowing
    assert narrowing is not None
    assert result.test_count <= 10
    assert narrowing.untried
    assert set(universities.wrong) <= {key for c in result.culprits for key in c.keys}


# On disk


def test_on_disk_parts_pickle_and_leave_nothing_but_garbage(tmp_path: Path) -> None:
    with tv.init(tmp_path, "Ada", "ada@example.org") as repo:
        universities = FiveUniversities(repo)
        before = (dict(repo.branches), repo.operations(), [c.id for c in repo.log()])

        def test(co: Checkout) -> float:
            again = pickle.loads(pickle.dumps(co))
            assert again.base == co.base
            return right_labels(again)

        result = repo.bisect("main~20", "main", test, within=True)
        assert [list(culprit.keys) for culprit in result.culprits] == [sorted(universities.wrong)]
        assert (dict(repo.branches), repo.operations(), [c.id for c in repo.log()]) == before
        assert repo.verify().is_sound
        assert not repo.is_dirty


def test_a_bare_repository_and_commits_as_ends(tmp_path: Path) -> None:
    with tv.init(tmp_path, "Ada", "ada@example.org", bare=True) as repo:
        for value in range(6):
            with repo.transaction("main", f"{value}") as tx:
                if "x" not in tx:
                    tx.add_ndarray_column("x", (), "int64")
                tx["x", "a"] = value
        good, bad = repo.resolve("main~5"), repo.resolve("main")
        result = repo.bisect([good], bad, lambda co: int(co["x", "a"]) < 4, within=True)
        assert result.commit == repo.resolve("main~1")
        assert [culprit.keys for culprit in result.culprits] == [("a",)]


def test_a_closed_repository(tmp_path: Path) -> None:
    repo = tv.init(tmp_path, "Ada", "ada@example.org")
    repo.close()
    with pytest.raises(tv.errors.ClosedError):
        repo.bisect("a", "b", lambda co: True)
