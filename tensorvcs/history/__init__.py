"""How commits relate.

Terms
-----
ref : a name for a commit: ``refs/heads/NAME`` is a branch, ``refs/tags/NAME`` a tag.
HEAD : the ref that says which branch is current.
revision : what a user types to name a commit, such as ``main~2``.
merge base : a best common ancestor of two commits.
conflict : a sample, or a column, that both sides changed in different ways.
operation : one recorded change of refs or staging, which `undo` can take back.
"""
