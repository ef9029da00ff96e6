"""How a repository stays correct and small.

Terms
-----
reachable : what a branch, tag, the staging area or another reachable object names.
garbage : what nothing reaches any more.
grace : for how long garbage, and the operation log, are kept.
gc : drop garbage that is older than the grace.
repack : gather values into few packs, in the order in which they are read.
verify : check every digest, link and checksum, and change nothing.
"""
