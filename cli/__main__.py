"""``python -m cli``: the same as the installed ``tvcs``."""

from .main import run

run()
