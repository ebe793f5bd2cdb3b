"""Kept valuations: in the process, in files, damaged, switched off, shared by processes; runs with and without."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from simulator import Market
from simulator.agents import broker
from simulator.valuation import (
    AdditiveGame,
    Valuation,
    cache,
    cached_valuation,
    clear_valuations,
    shapley_values,
    update_values,
)


@pytest.fixture
def counted():
    """A computation that counts its calls, in an empty cache."""
    clear_valuations()
    calls = []

    def compute():
        calls.append(1)
        return Valuation(np.array([float(len(calls)), 0.1]), np.array([0.2, np.nan]), 7, "counted", "exhausted", 5)

    yield compute, calls
    clear_valuations()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder in which any valuation is worth a file."""
    monkeypatch.setenv("DEALER_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(cache, "WORTH_A_FILE", 0.0)
    return tmp_path / "kept"


def test_the_same_content_is_valued_once(counted):
    compute, calls = counted
    content = [np.arange(6.0).reshape(2, 3), np.array([1, 2])]
    first = cached_valuation(content, "exact", compute)
    # Equal, not identical; one of them laid out otherwise in memory.
    again = cached_valuation([np.asfortranarray(content[0]), content[1].copy()], "exact", compute)
    assert again is first
    assert len(calls) == 1
    clear_valuations()
    cached_valuation(content, "exact", compute)
    assert len(calls) == 2


def test_other_content_or_settings_are_valued_anew(counted):
    compute, calls = counted
    content = [np.arange(4.0), np.array([1, 2])]
    variants = [
        (content, "exact 100"),
        (content, "exact 200"),
        ([np.arange(4.0) + 1e-15, content[1]], "exact 100"),
        ([np.arange(4.0).reshape(2, 2), content[1]], "exact 100"),
        ([np.arange(4.0).astype(np.float32), content[1]], "exact 100"),
        ([content[0], np.array([2, 1])], "exact 100"),
        ([content[0]], "exact 100"),
        ([content[1], content[0]], "exact 100"),
    ]
    values = [cached_valuation(*variant, compute).values[0] for variant in variants]
    assert len(calls) == len(set(values)) == len(variants)


# --- files -------------------------------------------------------------------------------------------------


def test_a_file_outlives_the_process_memory(counted, folder):
    compute, calls = counted
    first = cached_valuation([np.arange(3.0)], "settings", compute)
    clear_valuations()
    again = cached_valuation([np.arange(3.0)], "settings", compute)
    assert len(calls) == 1
    assert np.array_equal(first.values, again.values)
    assert np.array_equal(first.stderr, again.stderr, equal_nan=True)
    for name in ("evaluations", "method", "status", "samples", "sampling", "stream", "updated"):
        assert getattr(first, name) == getattr(again, name)
    assert [file.suffix for file in folder.iterdir()] == [".npz"]  # nothing half-written is left


@pytest.mark.parametrize("damage", [b"", b"not a valuation", None])
def test_a_damaged_file_is_computed_and_written_anew(counted, folder, damage):
    compute, calls = counted
    cached_valuation([], "settings", compute)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    clear_valuations()
    assert cached_valuation([], "settings", compute).values[0] == 2.0
    clear_valuations()
    assert cached_valuation([], "settings", compute).values[0] == 2.0
    assert len(calls) == 2


def test_a_file_damaged_in_any_byte_is_never_wrong_and_never_stops_a_run(counted, folder):
    """Among them a compression method that no library knows, and a flag of encryption."""
    compute, _ = counted
    kept = cached_valuation([], "settings", compute)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x63
        file.write_bytes(bytes(damaged))
        found = cache._read(file)
        assert found is None or np.array_equal(found.values, kept.values)


def test_a_file_that_lacks_a_field_or_executes_code_is_not_used(counted, folder):
    compute, calls = counted
    cached_valuation([], "settings", compute)
    (file,) = folder.iterdir()
    for content in ({"values": np.zeros(2)}, {"values": np.array([print], dtype=object)}):
        with file.open("wb") as handle:
            np.savez(handle, **content)
        clear_valuations()
        cached_valuation([], "settings", compute)
    assert len(calls) == 3


def test_files_can_be_switched_off(counted, folder, monkeypatch):
    compute, calls = counted
    cached_valuation([], "own code", compute, on_disk=False)
    assert not folder.exists()
    monkeypatch.setenv("DEALER_CACHE", "off")
    cached_valuation([], "off", compute)
    clear_valuations()
    cached_valuation([], "off", compute)
    assert len(calls) == 3
    assert cache.kept_files() == []


def test_a_kept_valuation_is_updated_by_its_stream_only(counted, folder):
    game, stay = AdditiveGame(np.arange(20.0)), np.arange(20) != 3

    def cached(name, compute):
        cached_valuation([], name, compute)
        clear_valuations()
        return cached_valuation([], name, pytest.fail)

    before = cached("before", lambda: shapley_values(game, budget=1000, rng=np.random.default_rng(7)))
    with pytest.raises(ValueError, match="rng must be a generator like that which before was estimated by"):
        update_values(before, game, stay, rng=np.random.default_rng(8))
    after = cached("after", lambda: update_values(before, game, stay, rng=np.random.default_rng(7)))
    assert after.updated
    with pytest.raises(ValueError, match="an update cannot be updated again"):
        update_values(after, game, stay)


def test_quick_valuations_are_not_worth_a_file(counted, folder, monkeypatch):
    monkeypatch.setattr(cache, "WORTH_A_FILE", 60.0)
    cached_valuation([], "quick", counted[0])
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_does_not_stop_the_work(counted, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DEALER_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "WORTH_A_FILE", 0.0)
    assert cached_valuation([], "settings", counted[0]).values[0] == 1.0


def full_disk(*_, **__):
    raise OSError("no space left on device")


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("module", "name"), [(np, "savez"), (os, "replace")])
def test_nothing_half_written_is_left_where_writing_fails(counted, folder, monkeypatch, module, name):
    with monkeypatch.context() as during:
        during.setattr(module, name, full_disk)
        assert cached_valuation([], "full", counted[0]).values[0] == 1.0
        during.setattr(module, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            cached_valuation([], "interrupted", counted[0])
    assert list(folder.iterdir()) == []


def test_the_folder_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.delenv("DEALER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache.cache_folder() == tmp_path / "dealer-market" / "valuations"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.cache_folder().parts[-4:] == ("Library", "Caches", "dealer-market", "valuations")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache.cache_folder() == tmp_path / "local" / "dealer-market" / "valuations"


def test_other_code_or_libraries_are_other_keys(counted, folder, monkeypatch):
    compute, calls = counted
    cached_valuation([], "settings", compute)
    for name, value in (("_code", lambda: "changed"), ("_libraries", lambda: "changed")):
        monkeypatch.setattr(cache, name, value)
        clear_valuations()
        cached_valuation([], "settings", compute)
    assert len(calls) == 3


PROCESS = """
import numpy as np, time
from simulator.valuation import Valuation, cache, cached_valuation
cache.WORTH_A_FILE = 0.0
for number in range(30):
    def compute():
        return Valuation(np.full(2000, float(number)), np.zeros(2000), 1, "counted")
    found = cached_valuation([np.array([number])], "shared", compute)
    assert (found.values == number).all()
"""


def test_processes_share_a_folder(folder):
    """Two processes write and read the same thirty files at once; none ever sees half a file."""
    several = [
        subprocess.Popen([sys.executable, "-c", PROCESS], env={**os.environ, "DEALER_CACHE": str(folder)})
        for _ in range(2)
    ]
    assert [process.wait() for process in several] == [0] * 2
    assert len(list(folder.glob("*.npz"))) == len(list(folder.iterdir())) == 30


# --- in the market -----------------------------------------------------------------------------------------


def tables(config, seed=0):
    clear_valuations()
    market = Market(config, seed=seed)
    market.run()
    return {name: market.frame(name) for name in ("rounds", "versions", "owners")}


@pytest.mark.parametrize("method", ["auto", "svarm", "permutation"])
def test_a_market_is_the_same_with_and_without_kept_valuations(make_config, folder, monkeypatch, method):
    config = make_config(
        data="iris", rounds=3, owners={"count": 8, "participation": 0.7}, broker={"valuation": {"method": method}}
    )
    fresh = tables(config)
    files = len(list(folder.iterdir()))
    assert files >= 1
    kept = tables(config)
    assert len(list(folder.iterdir())) == files
    monkeypatch.setenv("DEALER_CACHE", "off")
    without = tables(config)
    for name, table in fresh.items():
        pd.testing.assert_frame_equal(table, kept[name], check_exact=True)
        pd.testing.assert_frame_equal(table, without[name], check_exact=True)


def test_other_settings_of_a_market_are_valued_anew(make_config):
    """The same records under another method, budget or game, in one process."""
    clear_valuations()
    found = []
    for settings in (
        {"method": "svarm", "budget": 60, "tolerance": 0.0},
        {"method": "permutation", "budget": 60, "tolerance": 0.0},
        {"method": "svarm", "budget": 200, "tolerance": 0.0},
        {"game": "knn"},
        {"game": "knn", "game_options": {"k": 1}},
        {"game": "knn", "empty_utility": "zero"},
    ):
        market = Market(make_config(data="iris", owners={"count": 8}, broker={"valuation": settings}))
        market.step()
        found.append(tuple(market.broker._valuation.values))
    assert len(set(found)) == len(found)


def test_values_of_a_users_own_class_are_not_kept_in_files(make_config, folder, tmp_path, monkeypatch):
    (tmp_path / "own_estimator.py").write_text(
        "from simulator.valuation.svarm import StratifiedSVARM\n"
        "class Own(StratifiedSVARM):\n    '''Own.'''\n    name = 'own'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tables(make_config(data="iris", owners={"count": 6}, broker={"valuation": {"method": "own_estimator:Own"}}))
    assert not folder.exists()


def test_coalitions_are_trained_once_while_participants_change(make_config, monkeypatch):
    """What a round's participants share with those of earlier rounds is remembered; the values are as if fresh."""
    config = make_config(data="iris", rounds=6, owners={"count": 7, "participation": 0.6})
    clear_valuations()
    market = Market(config, seed=3)
    trained = []
    game = market.broker._game
    score = type(game).score
    monkeypatch.setattr(type(game), "score", lambda self, masks: (trained.append(len(masks)), score(self, masks))[1])
    sets = set()
    for _ in range(6):
        clear_valuations()
        market.step()
        sets.add(tuple(market.broker._valued_set))
    assert sum(trained) <= 2**7 - 1
    for players in sets:
        clear_valuations()
        fresh = Market(config, seed=3).broker._game.restrict(np.array(players))
        remembered = game.restrict(np.array(players))
        expected = shapley_values(fresh, method="exact").values
        assert shapley_values(remembered, method="exact").values.tolist() == expected.tolist()


def test_a_market_updates_values_when_few_owners_leave(make_config, monkeypatch):
    """Values are those of `update_values` by the market's stream, from the last fresh ones."""
    fresh, updates = [], []
    for name, calls in (("shapley_values", fresh), ("update_values", updates)):
        function = getattr(broker, name)
        monkeypatch.setattr(broker, name, lambda *a, _f=function, _c=calls, **k: (_c.append(a), _f(*a, **k))[1])
    config = make_config(data="breast_cancer", owners={"count": 40}, broker={"valuation": {"budget": 3000}})
    clear_valuations()
    market = Market(config, seed=1)
    trader = market.broker
    offers = market.owners.offer()
    first = trader.value(offers)
    some = replace(offers, takes_part=np.arange(40) != 3)
    second = trader.value(some)
    assert (len(fresh), len(updates)) == (1, 1)
    assert second.values[3] == first.values[3]  # kept from when it took part
    before = shapley_values(trader._game, budget=3000, rng=trader.streams.generator("valuation"))
    rng = trader.streams.generator("valuation")
    expected = update_values(before, trader._game, some.takes_part, budget=3000, rng=rng)
    assert np.array_equal(second.values[some.takes_part], expected.values[some.takes_part])
    low, high = second.interval()
    wanted = np.array(expected.interval())[:, some.takes_part]
    assert np.array_equal([low[some.takes_part], high[some.takes_part]], wanted)
    # Back to all: what was found before. Others out: again from all. Many out: afresh, and from then on from these.
    again = trader.value(offers)
    assert np.array_equal(again.values, first.values)
    trader.value(replace(offers, takes_part=np.arange(40) < 38))
    assert (len(fresh), len(updates)) == (1, 2)
    trader.value(replace(offers, takes_part=np.arange(40) < 30))
    assert (len(fresh), len(updates)) == (2, 2)
    trader.value(replace(offers, takes_part=np.arange(40) < 29))
    assert (len(fresh), len(updates)) == (2, 3)
    assert len(updates[-1][0].values) == 30
    # Somebody new: afresh.
    trader.value(replace(offers, takes_part=(np.arange(40) < 29) | (np.arange(40) == 35)))
    assert (len(fresh), len(updates)) == (3, 3)


def test_updated_values_do_not_depend_on_what_is_kept(make_config, folder, monkeypatch):
    """Three of sixty owners sit out after a loss, so that values are updated in some rounds."""
    config = make_config(
        data="breast_cancer",
        rounds=4,
        owners=[{"count": 57}, {"segment": "careful", "count": 3, "behaviour": "cautious"}],
        broker={"valuation": {"budget": 3000}, "manufacturing_budget": 100.0, "commission": 0.9},
    )
    updates = []
    monkeypatch.setattr(broker, "update_values", lambda *a, **k: (updates.append(1), update_values(*a, **k))[1])
    fresh = tables(config)
    assert len(updates) >= 1
    files = len(list(folder.iterdir()))
    count = len(updates)
    kept = tables(config)
    assert (len(updates), len(list(folder.iterdir()))) == (count, files)  # all were read
    # The values before come from a file, so the coalitions behind them are not remembered.
    min(folder.iterdir(), key=lambda file: int(np.load(file)["evaluations"])).unlink()
    again = tables(config)
    assert len(updates) > count
    monkeypatch.setenv("DEALER_CACHE", "off")
    without = tables(config)
    for name, table in fresh.items():
        for other in (kept, again, without):
            pd.testing.assert_frame_equal(table, other[name], check_exact=True)
