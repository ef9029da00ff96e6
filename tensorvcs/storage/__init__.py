"""Where the bytes live.

Terms
-----
object : canonical bytes of a tree node, snapshot, commit or tag, found by digest.
pack : one sealed HDF5 file of rows; never opened for writing again.
slab : the rows of one HDF5 chunk, about 1 MiB, with one checksum.
loose : a value too small for a pack of its own, kept in LMDB until `repack`.
ref : a name that points at a digest; changed only by compare-and-swap.
"""
