from __future__ import annotations

from tensorvcs.display.counting import count_text


def test_counts() -> None:
    assert count_text(1, "sample") == "1 sample"
    assert count_text(0, "sample") == "0 samples"
    assert count_text(2000, "class", "classes") == "2,000 classes"
