"""How other libraries for arrays and tables read a checkout, and give to a repository.

Each module is for one library, which is imported when it is used: `arrow` (and with it pandas,
polars and DuckDB), `pytorch`, `dask`, `huggingface` and `ray`.

Terms
-----
view : an array over the memory map of a pack, or over inline values; nothing is copied.
target : what is filled: an editable checkout or a transaction.
place : what a worker needs to open a repository anew: its path, and the id of a commit.
"""
