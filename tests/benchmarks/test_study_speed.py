"""A study of 100 runs into its folder against Mesa's batch_run of the same market, on one and on two processes.

Run with `make bench`. Nothing here asserts a time. studies.py measures a study of 2,000 runs, its overhead and memory.
"""

import pytest
from studies import PARTS

REPLICATES = 5


@pytest.mark.parametrize("part", ["market", "serial", "batch_run"])
@pytest.mark.benchmark(group="a study of 100 runs on one process, its markets alone, and batch_run")
def test_one_process(benchmark, part):
    benchmark.pedantic(PARTS[part], (REPLICATES,), rounds=3)


@pytest.mark.parametrize("part", ["two workers", "batch_run, two processes"])
@pytest.mark.benchmark(group="a study of 100 runs on two processes, and batch_run")
def test_two_processes(benchmark, part):
    benchmark.pedantic(PARTS[part], (REPLICATES,), rounds=3)
