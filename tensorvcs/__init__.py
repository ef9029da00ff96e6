"""Git for tensors: version, branch, merge and train from numpy arrays.

>>> import tempfile, numpy as np, tensorvcs as tv
>>> repo = tv.init(tempfile.mkdtemp(), user_name="Ada", user_email="ada@example.org")
>>> with repo.edit() as co:
...     images = co.add_ndarray_column("images", shape=(8, 8), dtype="uint8")
...     images["cat/1"] = np.zeros((8, 8), np.uint8)
...     commit = co.commit("First picture")
>>> repo.checkout()["images", "cat/1"].shape
(8, 8)
"""

from tensorvcs import errors
from tensorvcs.checkout.editor import EditableCheckout
from tensorvcs.checkout.reader import Checkout
from tensorvcs.history.commit import Commit
from tensorvcs.history.diff import Diff
from tensorvcs.history.merge import Conflict, MergeResult
from tensorvcs.objects.commit import Identity
from tensorvcs.objects.schema import Schema
from tensorvcs.repository import Repository, init
from tensorvcs.repository import open_repository as open  # noqa: A004

__version__ = "0.1.0.dev0"

__all__ = [
    "Checkout",
    "Commit",
    "Conflict",
    "Diff",
    "EditableCheckout",
    "Identity",
    "MergeResult",
    "Repository",
    "Schema",
    "__version__",
    "errors",
    "init",
    "open",
]
