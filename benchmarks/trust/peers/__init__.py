"""The same small store in each system: rows by key, committed in versions; a module each.

`program` runs one of them in the interpreter of its system, which may be as old as Python 3.8 and
has neither TensorVCS nor anything of this repository beside these modules. Each module has

- ``version()``, what is measured, and ``TENSORS``, patterns of the files that hold rows;
- ``create(folder)``, which makes an empty store;
- ``Writer(folder, number)``, with ``commit(rows)``: add rows by key durably, with what the system
  has for writers that race, and return the name of the version (None where there are none);
- ``Reader(folder, version)``: the newest version or a named one, with ``read(keys)``, which
  returns a row, None (no such row) or the error for each key;
- optionally ``RETRIED``, words of the errors after which its manual says to try again, and
  ``FORKS``, whether a child may read after a fork.
"""
