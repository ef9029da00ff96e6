"""Loaders of PyTorch beside each other: ours and its peers, on the same data and machine.

    python -m benchmarks.loaders [--make] [--quick] [--only NAME ...]

Terms
-----
peer : a library, or a way without one, that writes samples and gives batches of them.
measurement : what one process of a peer did: wrote the data, or read whole epochs of it.
epoch : each sample once, in batches of 256; the first of a process is checked, the others timed.
"""
