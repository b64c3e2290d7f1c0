"""The benchmark of views at photograph size runs, at a tiny size."""

import pytest
from benchmarks import photographs


@pytest.mark.more
def test_the_benchmark_times_every_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "SIZES", ((60, 40), (40, 60)))
    monkeypatch.setattr(photographs, "SHARES", (1, 1))
    monkeypatch.setattr(photographs, "NUM_WORKERS", 1)
    content = photographs.measure(rounds=1, num_images=12)["photographs"]
    rates = content["images_per_second"]
    assert {photographs.OURS, photographs.FLOOR} <= rates[photographs.GROUP].keys()
    assert photographs.MODULES in rates[photographs.IN_MEMORY]
    found = [rate["images_per_second"] for group in rates.values() for rate in group.values()]
    assert min(found) > 0
    assert len(content["ratios"]) == 4
