"""What a study costs beyond its markets, how well two workers share it, what memory it takes: against Mesa's batch_run.

Run `python tests/benchmarks/studies.py` from the project's folder; 2,000 runs take some minutes. Each part is measured
in a process of its own, all of them in turn and several times; the best time counts, since other work on the machine
only adds to it.

- market: the markets alone, one after the other in one process, and their tables
- serial, two workers: the study into its folder, by `run_experiment`
- two halves: two processes at the same time, each with half of the study, serial: no two workers can be faster
- batch_run: Mesa's own, over a thin wrapper around the same market, in memory, on one and on two processes
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import cache
from multiprocessing import forkserver
from pathlib import Path

import mesa
import pandas as pd

from scenarios.design import markets
from scenarios.experiment import market_at, parse
from scenarios.runner import one_thread, run_experiment, run_one
from scenarios.store import Results
from simulator import Market
from simulator.log import ROUND_METRICS

SCENARIO = {
    "name": "study",
    "rounds": 8,
    "seed": 1,
    "data": {"source": "values"},
    "owners": [
        {
            "segment": "o",
            "count": 100,
            "value": {"dist": "uniform", "loc": 0.5},
            "privacy_sensitivity": {"dist": "uniform", "scale": 0.5},
        }
    ],
    "broker": {"epsilons": [0.5, 1, 2, 4]},
    "buyers": [
        {
            "segment": "b",
            "count": 200,
            "budget": {"dist": "lognorm", "s": 0.5, "scale": 200},
            "epsilon_expected": {"dist": "uniform", "scale": 4},
        }
    ],
}
SWEEP = {
    "broker.pricing": ["dpp_plus", "median", "uniform", "linear"],
    "broker.commission": [0.0, 0.05, 0.1, 0.15, 0.2],
}
POINTS = 20


def study(replicates):
    return parse(SCENARIO | {"replicates": replicates, "sweep": SWEEP})


@cache
def configuration(pricing, commission):
    scenario = study(1).market_scenario()
    return market_at(scenario, {"broker.pricing": pricing, "broker.commission": commission})


class Wrapped(mesa.Model):
    """The market as `batch_run` wants a model: parameters by name, a flag and a data collector."""

    def __init__(self, pricing, commission, replicate):
        super().__init__()
        self.__dict__.pop("step", None)  # as the market does
        config = configuration(pricing, commission)
        self.market = Market(config, SCENARIO["seed"], replicate, tables=("rounds", "versions"))
        self.rounds_to_go = config.rounds
        self.datacollector = mesa.DataCollector(
            model_reporters={name: lambda model, name=name: model.last[name] for name in ROUND_METRICS}
        )

    def step(self):
        with one_thread():
            self.market.step()
        self.last = self.market._log._parts["rounds"][-1]
        self.steps += 1
        self.running = self.steps < self.rounds_to_go
        self.datacollector.collect(self)


def batch_run(replicates, processes):
    names = {name.rpartition(".")[2]: values for name, values in SWEEP.items()}
    rows = mesa.batch_run(
        Wrapped,
        names | {"replicate": range(replicates)},
        number_processes=processes,
        data_collection_period=1,
        display_progress=False,
    )
    return pd.DataFrame(rows)


def market_alone(replicates):
    experiment = study(replicates)
    at_point = markets(experiment)
    for replicate in range(replicates):
        for market in at_point:
            run_one(market, experiment.seed, replicate, experiment.tables)


def run_study(replicates, workers):
    """A study in a folder; returns the seconds that workers spent in runs."""
    with tempfile.TemporaryDirectory() as folder:
        results = Results.create(Path(folder) / "study", study(replicates))
        run_experiment(results, workers=workers)
    return float(results.plan["seconds"].sum())


PARTS = {
    "market": market_alone,
    "serial": lambda replicates: run_study(replicates, 1),
    "two workers": lambda replicates: run_study(replicates, 2),
    "batch_run": lambda replicates: batch_run(replicates, 1),
    "batch_run, two processes": lambda replicates: batch_run(replicates, 2),
}


def measure(part, replicates):
    """Seconds on the clock and of the processor, peak memory in MB, how many workers are in a run on average.

    "cpu" is of this process, "all" of its workers as well.
    """
    wall, processor = time.perf_counter(), time.process_time()
    returned = PARTS[part](replicates)
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - processor}
    forkserver._forkserver._stop()  # which hands on the times of the workers that it started
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    found["all"] = found["cpu"] + children.ru_utime + children.ru_stime
    if isinstance(returned, float):
        found["busy"] = returned / found["wall"]
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        found["peak"] = int(peak.split()[1]) / 1024
    return found


def start(part, replicates):
    command = [sys.executable, __file__, "--part", part, "--replicates", str(replicates)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result(process):
    text, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(text)


def main(replicates, repeats):
    runs = POINTS * replicates
    best = {}
    for repeat in range(repeats):
        taken = {part: result(start(part, replicates)) for part in PARTS}
        halves = [start("serial", replicates // 2) for _ in range(2)]
        taken["two halves"] = {"wall": max(result(half)["wall"] for half in halves)}
        for part, found in taken.items():
            print(f"{repeat}: {part}: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()), flush=True)
            old = best.setdefault(part, dict(found))
            best[part] = {name: (max if name == "busy" else min)(value, old[name]) for name, value in found.items()}
    print(f"\n{runs:,} runs, best of {repeats}\n")
    for part, found in best.items():
        print(f"{part:26} " + "  ".join(f"{name} {value:8.2f}" for name, value in found.items()))
    wall = {part: found["wall"] for part, found in best.items()}
    cpu = {part: found.get("cpu", 0.0) for part, found in best.items()}
    print(f"\none market                             {1000 * cpu['market'] / runs:6.2f} ms of processor")
    print(
        f"overhead per run, serial               {1000 * (cpu['serial'] - cpu['market']) / runs:6.2f} ms of processor"
    )
    print(f"main process per run, two workers      {1000 * cpu['two workers'] / runs:6.2f} ms of processor")
    print(f"efficiency, serial / (2 x two workers) {wall['serial'] / (2 * wall['two workers']):6.2f}")
    print(f"efficiency, two halves / two workers   {wall['two halves'] / wall['two workers']:6.2f}")
    more = best["two workers"]["all"] / best["serial"]["all"]
    print(f"processor time, two workers / serial   {more:6.2f}")
    print(f"workers in a run, of two               {best['two workers']['busy']:6.2f}")
    print(f"batch_run / serial                     {wall['batch_run'] / wall['serial']:6.2f}")
    print(f"batch_run / two workers, both on two   {wall['batch_run, two processes'] / wall['two workers']:6.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=100, help="of 20 runs each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=PARTS, help="measure this one alone")
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measure(arguments.part, arguments.replicates)))
    else:
        main(arguments.replicates, arguments.repeats)
