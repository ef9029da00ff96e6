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
from tensorvcs.checkout.merge_in_progress import MergeInProgress
from tensorvcs.checkout.reader import Checkout
from tensorvcs.checkout.ref_moves import RefMove, RefTarget
from tensorvcs.checkout.stash import Stash
from tensorvcs.history.bisecting.bisect import SKIP
from tensorvcs.history.bisecting.bisect_result import BisectResult
from tensorvcs.history.blaming.blamed import Blame
from tensorvcs.history.blaming.sample_history import Change, SampleHistory
from tensorvcs.history.commit import Commit
from tensorvcs.history.difference.change_sizes import ChangeHistogram, ChangeSize, ChangeSizes
from tensorvcs.history.difference.diff import ColumnDiff, Diff
from tensorvcs.history.difference.sample_change import SampleChange
from tensorvcs.history.merging.conflicts import Conflict
from tensorvcs.history.merging.merge import MergePreview, MergeResult
from tensorvcs.history.merging.policies import DELETED, UNDECIDED
from tensorvcs.history.operations import Operation
from tensorvcs.history.runs import Run
from tensorvcs.history.signatures import SignatureCheck
from tensorvcs.maintenance.gc import GcReport
from tensorvcs.maintenance.ref_witnesses import RefDecision
from tensorvcs.maintenance.repack import RepackReport
from tensorvcs.maintenance.repair import Repair
from tensorvcs.maintenance.touched import TouchedSamples
from tensorvcs.maintenance.verify import VerifyReport
from tensorvcs.objects.commit import Identity
from tensorvcs.objects.schema import Schema
from tensorvcs.recovery import RecoveryReport, recover
from tensorvcs.repository import Repository, clone, init, verify_bundle
from tensorvcs.repository import open_repository as open  # noqa: A004
from tensorvcs.signing.ed25519 import SshSigner
from tensorvcs.signing.signer import Signer
from tensorvcs.sync.bundle import Bundle
from tensorvcs.sync.fetch import FetchedRef, FetchResult
from tensorvcs.sync.filters import Filter
from tensorvcs.sync.push import PushResult
from tensorvcs.sync.remotes import Remote
from tensorvcs.sync.transfer import Transferred

__version__ = "0.1.0.dev0"

__all__ = [
    "DELETED",
    "SKIP",
    "UNDECIDED",
    "BisectResult",
    "Blame",
    "Bundle",
    "Change",
    "ChangeHistogram",
    "ChangeSize",
    "ChangeSizes",
    "Checkout",
    "ColumnDiff",
    "Commit",
    "Conflict",
    "Diff",
    "EditableCheckout",
    "FetchResult",
    "FetchedRef",
    "Filter",
    "GcReport",
    "Identity",
    "MergeInProgress",
    "MergePreview",
    "MergeResult",
    "Operation",
    "PushResult",
    "RecoveryReport",
    "RefDecision",
    "RefMove",
    "RefTarget",
    "Remote",
    "RepackReport",
    "Repair",
    "Repository",
    "Run",
    "SampleChange",
    "SampleHistory",
    "Schema",
    "SignatureCheck",
    "Signer",
    "SshSigner",
    "Stash",
    "TouchedSamples",
    "Transferred",
    "VerifyReport",
    "__version__",
    "clone",
    "errors",
    "init",
    "open",
    "recover",
    "verify_bundle",
]
