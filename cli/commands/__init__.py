"""The commands, a file each, named as typed; ``command`` is the click command in it.

A new one is a file here and a line in the table of ``main.py``.
"""
