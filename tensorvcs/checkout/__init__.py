"""What a user reads and changes.

Terms
-----
checkout : the columns of one commit, read-only; or of a staging area, to be changed.
column : a mapping from sample key to value, in key order.
position : the place of a sample in key order, from 0; it changes only when keys come or go.
staging area : uncommitted changes over a commit; the working one belongs to the repository,
    a private one to a transaction.
flush : what was changed becomes durable in the staging area.
"""
