"""Loaders of PyTorch beside each other: ours and its peers, on the same data and machine."""
