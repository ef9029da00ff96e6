"""How a repository stays correct and small.

Terms
-----
reachable : what a branch, tag, the staging area or another reachable object names.
verify : check every digest, link and checksum, and change nothing.
"""
