"""What every test shares: the hypothesis profiles."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Durations are the machine's business: no deadline, and no complaint about a slow data strategy.
settings.register_profile(
    "default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("default"), max_examples=10)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=1000)
settings.load_profile("default")
