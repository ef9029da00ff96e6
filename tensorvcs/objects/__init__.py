"""What is stored: pure values, without input or output.

Terms
-----
digest : the 32-byte BLAKE3 name of canonical bytes.
tensor : a value of a sample: an ndarray, a text or a bytes value.
schema : what the values of one column have in common.
key : the name of a sample, a `str` or a signed 64-bit `int`.
snapshot : the columns of one version.
commit : a snapshot with its parents, author, time and message.
"""
