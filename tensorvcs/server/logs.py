"""The log of a server: a line of JSON for each record."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LOGGER = logging.getLogger("tensorvcs.server")


class JsonLines(logging.Formatter):
    """Writes each record as one line of JSON; what was asked is data in it, and never markup."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def log_to(write: Callable[[str], None]) -> None:
    """Send the log of this server and of uvicorn to a function, a line a record."""
    handler = _Writing(write)
    handler.setFormatter(JsonLines())
    # Of an answer that nobody took to its end the record of the request says more.
    handler.addFilter(lambda record: "without completing" not in record.getMessage())
    for name in (LOGGER.name, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if name == LOGGER.name else logging.WARNING)


class _Writing(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))
