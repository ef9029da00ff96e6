"""How the history of a Hangar repository becomes commits here.

Terms
-----
reader : a program that runs in a process of its own, since the package ``hangar`` was frozen in
    2020 and loads beside today's packages only when some of their names are given back first.
frame : one message of the reader's pipes: a JSON header and bytes.
record : what Hangar keeps of one sample in one commit: its column, its key, and the digest of
    its value. Every commit has all its records, so two commits are compared record by record.
commit digest : Hangar's name of a commit, ``a=`` and 40 hexadecimal digits.
"""

from tensorvcs.formats.hangar.commit_writer import MissingSample
from tensorvcs.formats.hangar.importing import HangarImport, import_hangar

__all__ = ["HangarImport", "MissingSample", "import_hangar"]
