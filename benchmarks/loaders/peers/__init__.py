"""The peers: one module each, and here what a run must know of them without importing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shuffle = Literal["full", "shards", "buffer"]


@dataclass(frozen=True, slots=True)
class PeerSpec:
    """One peer.

    Attributes
    ----------
    module : str
        In this package.
    title : str
        As the table says it.
    environment : str, optional
        See `environments`; the one that runs the benchmark when None.
    shuffle : {"full", "shards", "buffer"}
        What a shuffled epoch is: a permutation of all samples, shuffled shards with samples
        shuffled inside or across few of them, or a buffer that samples pass through.
    is_ours : bool
    reads_disk : bool
        False when all data is in memory before the first epoch.
    workers : tuple of int
        Numbers of worker processes, or threads, that are tried; the best is kept.
    """

    module: str
    title: str
    environment: str | None = None
    shuffle: Shuffle = "full"
    is_ours: bool = False
    reads_disk: bool = True
    workers: tuple[int, ...] = (0, 2)


PEERS: tuple[PeerSpec, ...] = (
    PeerSpec("tensor_loader", "TensorVCS, TensorLoader", is_ours=True, workers=(0,)),
    PeerSpec("tensor_dataset", "TensorVCS, TensorDataset under DataLoader", is_ours=True),
    PeerSpec("in_memory", "in-memory torch TensorDataset", reads_disk=False),
    PeerSpec("in_memory_select", "in-memory tensors, index_select", reads_disk=False),
    PeerSpec("memmap", "numpy memmap under DataLoader"),
    PeerSpec("hdf5", "h5py"),
    PeerSpec("lmdb_values", "LMDB"),
    PeerSpec("hangar_columns", "Hangar", "hangar"),
    PeerSpec("ffcv_loader", "FFCV", "ffcv", workers=(1, 2)),
    PeerSpec("litdata_chunks", "LitData", "litdata", shuffle="shards"),
    PeerSpec("mosaic", "MosaicML Streaming", "mosaic"),
    PeerSpec("webdataset_tars", "WebDataset", "webdataset", shuffle="buffer"),
    PeerSpec("lance_rows", "Lance", "lance"),
    PeerSpec("deep_lake", "Deep Lake", "deeplake"),
    PeerSpec("zarr_arrays", "Zarr", "zarr"),
    PeerSpec("hugging_face", "Hugging Face datasets", "huggingface"),
)
