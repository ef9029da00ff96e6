"""What crosses between environments comes back as it was."""

from __future__ import annotations

import json

import pytest

from benchmarks.loaders.measured import Failed, Ingested, Loaded, from_json, to_json


@pytest.mark.parametrize(
    "measured",
    [Ingested(1.5, 4096, "x 1"), Loaded(9.5, 2, 0.5, 1.0, 8192, 4096), Failed("it is not here")],
)
def test_values_survive_json(measured: Ingested | Loaded | Failed) -> None:
    assert from_json(json.loads(json.dumps(to_json(measured)))) == measured
