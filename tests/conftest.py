"""What every test shares: the hypothesis profiles, and servers that run until the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.buckets import Services

# Durations are the machine's business: no deadline, and no complaint about a slow data strategy.
settings.register_profile(
    "default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("default"), max_examples=10)
settings.register_profile("nightly", settings.get_profile("default"), max_examples=300)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=1000)
settings.load_profile("default")


# Of the tests that ask `services` for a server, by what their names end with.
_OF_SERVER = re.compile(r"\[(?:.*-)?(gateway|azurite)(?:-.*)?\]$")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have the tests of one server run in one process, so that it is started once."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByServer(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            found = _OF_SERVER.search(nodeid)
            return nodeid if found is None else found[1]

    return ByServer(config, log)


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Start servers of buckets as they are asked for."""
    from tests.buckets import Services

    started = Services(tmp_path_factory.mktemp)
    yield started
    started.close()
