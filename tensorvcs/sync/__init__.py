"""How two repositories exchange: one transfer between stores, and the verbs made of it.

- Source, destination: the stores that give and that take; each may be here or on another machine.
- Transfer: copies the commits that are wanted and what they need, as far as the destination lacks
  it, so that an object is put only when all that it names is there.
- Filter: which columns and samples of them a partial clone takes.
- Depth: of how many of the newest commits a partial clone takes the trees and values.
- Promisor: the remote that supplies what a partial clone left out, when it is read.
- Bundle: commits, and what they need, in one file that is read from any place.
- Bucket: a place in an object store, which holds bundles, and the refs in one small file.
- Remote: another repository under a short name, such as ``origin``; its branches as last seen are
  remote branches, such as ``origin/main``.
"""
