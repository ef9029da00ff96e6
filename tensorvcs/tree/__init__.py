"""How a key is found.

Terms
-----
tree : a pair of prolly trees, one for int keys and one for text keys; the rows of one column.
node : a run of entries in key order, as columns: one buffer of keys, one of payload.
leaf : a node of level 0; its payload is one value of fixed width a key.
inner node : a node of level 1 or more; an entry is the last key, digest and count of a child.
root : the lowest level that has one node only.
boundary : an entry that ends its node, because of the hash of its key and nothing else.
run : the entries between two boundaries; one node, or several where it is too heavy.
position : the rank of a key in the column, ints before texts.

Equal content has an equal root digest, whatever the order of edits, because the keys alone fix
where nodes end. So edit, diff and merge visit what differs, and skip what has an equal digest.
"""
