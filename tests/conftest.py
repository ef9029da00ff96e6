"""What every test shares: the hypothesis profiles, and servers that run until the end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Start servers of buckets as they are asked for."""
    from tests.buckets import Services

    own = tmp_path_factory.getbasetemp()
    # The processes of one run have folders beside each other.
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    started = Services(own / "servers", shared / "servers")
    yield started
    started.close()
