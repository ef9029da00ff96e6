"""What a culprit says of itself."""

from __future__ import annotations

from dataclasses import replace

from tensorvcs.history.bisecting.culprits import Culprit

CULPRIT = Culprit(
    ("images", "labels"), "uni-3", "uni-3/a", ("uni-3/a/1", "uni-3/a/2"), 0.5, 0.5, True
)


def test_several_samples() -> None:
    assert str(CULPRIT) == "images, labels · uni-3 · uni-3/a: 2 samples"


def test_one_sample_without_a_group() -> None:
    assert str(replace(CULPRIT, keys=(7,), group="")) == "images, labels · uni-3: sample 7"


def test_a_column_as_a_whole() -> None:
    whole = replace(CULPRIT, columns=("labels",), keys=(), group="")
    assert str(whole) == "labels · uni-3: the column as a whole"


def test_samples_that_were_not_told_apart() -> None:
    assert str(replace(CULPRIT, is_resolved=False)).endswith(": 2 samples (not told apart)")
