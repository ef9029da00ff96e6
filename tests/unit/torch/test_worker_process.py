"""What a worker process tells of an error."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tensorvcs.errors import InvalidInputError, WorkerError, with_hint  # noqa: E402
from tensorvcs.torch.worker_process import Failure, _first_unsendable  # noqa: E402


def failure_of(error: Exception) -> Failure:
    try:
        error.add_note("in sample 'k'")
        raise error
    except Exception as caught:  # noqa: BLE001
        return Failure.of(caught)


def test_an_error_comes_back_as_it_was() -> None:
    for error in (ValueError("no"), with_hint(InvalidInputError("no"), "yes")):
        found = failure_of(error).to_error()
        assert type(found) is type(error)
        assert (str(found), getattr(found, "hint", None)) == ("no", getattr(error, "hint", None))
        *told, trace = found.__notes__
        assert sorted(told) == (["Hint: yes"] if hasattr(error, "hint") else []) + ["in sample 'k'"]
        assert "in failure_of" in trace


def test_an_error_that_cannot_be_made_again_is_told() -> None:
    class RefusingError(Exception):
        def __reduce__(self) -> Any:
            return int, ("7",)

    found = failure_of(RefusingError("why")).to_error()
    assert type(found) is WorkerError
    assert str(found).endswith("RefusingError: why")
    assert found.__notes__[0] == "in sample 'k'"


def test_which_sample_of_a_batch_cannot_be_pickled() -> None:
    tensor, odd = torch.zeros(3), [1, 2, lambda: 0]
    assert _first_unsendable((tensor, odd), 3) == 2
    assert _first_unsendable({"a": tensor, "b": odd}, 3) == 2
    assert _first_unsendable(odd, 3) == 2
    assert _first_unsendable((tensor, odd), 4) is None
    assert _first_unsendable(lambda: 0, 3) is None
