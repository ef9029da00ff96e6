"""Every class of the error tree: pickled, printed, documented and drawn."""

from __future__ import annotations

import pickle
from dataclasses import MISSING, fields
from typing import Any

import pytest

from tensorvcs import errors
from tensorvcs.errors import TensorVCSError, with_hint


def subclasses_of(cls: type[TensorVCSError]) -> list[type[TensorVCSError]]:
    found = []
    for sub in cls.__subclasses__():
        if sub.__module__ == errors.__name__:
            found += [sub, *subclasses_of(sub)]
    return found


CLASSES = subclasses_of(TensorVCSError)
# `it's` is what a KeyError would quote.
TEXTS = {"problem": 'it\'s "7" of 9', "what": 'it\'s "7" of 9', "path": "a/b.npy"}


def sample_of(cls: type[TensorVCSError]) -> TensorVCSError:
    """Return an error with every field filled."""
    special: dict[str, Any] = {"conflicts": (("images", "cat/1"),), "key": "cat/1"}
    return cls(
        **{
            f.name: TEXTS.get(f.name, special.get(f.name, f.name))
            for f in fields(cls)  # type: ignore[arg-type]
        }
    )


def minimal_of(cls: type[TensorVCSError]) -> TensorVCSError:
    """Return an error with only the fields that have no default."""
    return cls(
        **{
            f.name: TEXTS.get(f.name, f.name)
            for f in fields(cls)  # type: ignore[arg-type]
            if f.default is MISSING
        }
    )


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("make", [sample_of, minimal_of])
def test_survives_pickling_with_fields_and_hint(cls: type[TensorVCSError], make: Any) -> None:
    error = with_hint(make(cls), "run 'tvcs status'")
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is cls
    assert str(found) == str(error)
    assert found.hint == "run 'tvcs status'"
    for f in fields(cls):
        assert getattr(found, f.name) == getattr(error, f.name)


@pytest.mark.parametrize("cls", CLASSES)
def test_prints_its_sentence_without_the_quotes_of_key_error(cls: type[TensorVCSError]) -> None:
    error = sample_of(cls)
    text = str(error)
    assert text == error.describe()
    assert "\\" not in text
    assert any(value in text for value in ('it\'s "7" of 9', "package", "purpose"))


@pytest.mark.parametrize("cls", CLASSES)
def test_has_a_docstring_of_its_own(cls: type[TensorVCSError]) -> None:
    text = cls.__dict__.get("__doc__") or ""
    # A dataclass without a docstring gets its signature as one.
    assert text.strip().endswith(".") or ";" in text
    assert not text.startswith(f"{cls.__name__}(")


@pytest.mark.parametrize("cls", CLASSES)
def test_is_caught_by_the_root_and_by_what_python_would_raise(cls: type[TensorVCSError]) -> None:
    for parent, builtin in [
        (errors.InvalidInputError, ValueError),
        (errors.NotFoundError, KeyError),
        (errors.StorageError, OSError),
    ]:
        if issubclass(cls, parent):
            with pytest.raises(builtin):
                raise sample_of(cls)
    with pytest.raises(TensorVCSError):
        raise sample_of(cls)


def test_hint_is_of_the_instance() -> None:
    with_hint(errors.NotFoundError("a"), "do this")
    assert errors.NotFoundError("b").hint is None


def drawn_tree() -> dict[str, tuple[str, str]]:
    """Read the tree in the module's docstring: class -> (parent, builtin base or '')."""
    found: dict[str, tuple[str, str]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        bare = line.lstrip(" │├└─")
        name = bare.split(" ")[0]
        if not name.endswith("Error"):
            continue
        depth = (len(line) - len(bare)) // 4 - 1
        path[depth:] = [name]
        rest = bare[len(name) :].lstrip()
        builtin = rest[1 : rest.index(")")] if rest.startswith("(") else ""
        found[name] = (path[depth - 1] if depth else "", builtin)
    return found


def test_the_drawn_tree_is_the_real_one() -> None:
    real = {"TensorVCSError": ("", "")}
    for cls in CLASSES:
        parents = [base for base in cls.__bases__ if issubclass(base, TensorVCSError)]
        builtins = [base.__name__ for base in cls.__bases__ if base.__module__ == "builtins"]
        assert len(parents) == 1
        real[cls.__name__] = (parents[0].__name__, "".join(builtins))
    assert drawn_tree() == real
    # Order as well: the drawing and the code are read side by side.
    assert list(drawn_tree())[1:] == [cls.__name__ for cls in CLASSES]


def test_a_hint_is_a_note_that_tracebacks_show() -> None:
    error = with_hint(errors.InvalidInputError("no"), "say yes")
    error.hint = "say maybe"
    restored = pickle.loads(pickle.dumps(error))
    for found in (error, restored):
        assert found.hint == "say maybe"
        assert found.__notes__ == ["Hint: say maybe"]
    error.hint = None
    assert error.__notes__ == []
