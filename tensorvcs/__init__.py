"""Git for tensors."""
