"""common/run_folder.py: a run on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.config import from_flat
from common.errors import RunError
from common.run_folder import RunFolder


def make(home: Path, **settings: object) -> RunFolder:
    return RunFolder.create(
        from_flat({"home": str(home), **{key.replace("_", "-"): v for key, v in settings.items()}}), "ab12"
    )


def test_latest_points_to_the_newest(tmp_path: Path) -> None:
    first, second = make(tmp_path, run_name="one"), make(tmp_path, run_name="two")
    assert RunFolder.find("latest", str(tmp_path)).path == second.path
    assert (
        RunFolder.find("one", str(tmp_path)).path == first.path == RunFolder.find(str(first.path), str(tmp_path)).path
    )


def test_the_name_tells_recipe_and_strategy(tmp_path: Path) -> None:
    name = make(tmp_path, recipe="games").name
    assert name.endswith("-games-fellrec-ab12")


def test_a_name_is_taken_once_and_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    make(tmp_path, run_name="one")
    with pytest.raises(RunError, match="'one' exists"):
        make(tmp_path, run_name="one")
    with pytest.raises(RunError, match="no run 'two'.*one"):
        RunFolder.find("two", str(tmp_path))


def test_a_run_is_resumed_with_its_own_settings_only(tmp_path: Path) -> None:
    make(tmp_path, run_name="one", seed=3)
    begun = {"home": str(tmp_path), "run-name": "one", "seed": 3}
    again = RunFolder.reopen(from_flat(begun | {"resume": True, "num-server-rounds": 9, "federation.quorum": 0.1}))
    assert again.config().num_server_rounds == 9
    with pytest.raises(RunError, match="'strategy.name' = 'fellrec', not 'fedavg'"):
        RunFolder.reopen(from_flat(begun | {"resume": True, "strategy.name": "fedavg"}))


def test_the_configuration_comes_back(tmp_path: Path) -> None:
    folder = make(tmp_path, run_name="one", seed=7)
    assert folder.config().seed == 7 and folder.config().home == str(tmp_path)


def test_two_checkpoints_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    folder, shared = make(tmp_path, run_name="one"), torch.arange(3.0)
    assert folder.last_checkpoint() is None
    for number in (1, 2, 10):
        folder.save_checkpoint(number, {"note": number}, {"a": shared + number, "b": shared})
    assert sorted(path.name for path in (folder.path / "checkpoints").iterdir()) == ["round-0002", "round-0010"]
    manifest, tensors = folder.last_checkpoint()
    assert manifest == {"schema": 3, "round": 10, "note": 10} and torch.equal(tensors["a"], shared + 10)


def test_tensors_that_share_memory_are_saved_apart(tmp_path: Path) -> None:
    folder, one = make(tmp_path, run_name="one"), torch.arange(3.0)
    folder.save_checkpoint(1, {}, {"a": one, "b": one})
    assert torch.equal(folder.last_checkpoint()[1]["b"], one)


def test_a_half_written_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    folder = make(tmp_path, run_name="one")
    folder.save_checkpoint(1, {"note": 1}, {"a": torch.ones(1)})
    (folder.path / "checkpoints" / ".round-0002.77.part").mkdir()
    assert folder.last_checkpoint()[0]["note"] == 1


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path, run_name="one")
    folder.save_checkpoint(1, {}, {"a": torch.ones(1)})
    (folder.path / "checkpoints" / "round-0001" / "tensors.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunError, match="round-0001.*damaged"):
        folder.last_checkpoint()


def test_adapters_by_client(tmp_path: Path) -> None:
    folder = make(tmp_path, run_name="one")
    folder.save_adapter("shop-a", {"x": torch.ones(2)})
    assert torch.equal(folder.load_adapter("shop-a")["x"], torch.ones(2))
    with pytest.raises(RunError, match="shop-b.*shop-a"):
        folder.load_adapter("shop-b")


def test_a_result_is_finite_or_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, run_name="one")
    with pytest.raises(RunError, match="no result"):
        folder.result()
    with pytest.raises(ValueError):
        folder.save_result({"x": float("nan")})
    folder.save_result({"x": 1.0})
    assert folder.result() == {"x": 1.0}


def test_a_run_that_got_its_name_by_itself_is_resumed_by_it(fellrec_home: Path) -> None:
    begun = RunFolder.create(from_flat({"home": str(fellrec_home)}), "beef")
    again = from_flat({"home": str(fellrec_home), "run-name": begun.name, "resume": True, "evaluate.test-users": 5})
    assert RunFolder.reopen(again).path == begun.path


def test_an_error_names_some_of_very_many_clients(fellrec_home: Path) -> None:
    (fellrec_home / "runs" / "one" / "adapters").mkdir(parents=True)
    for client in range(30):
        (fellrec_home / "runs" / "one" / "adapters" / f"c-{client:02d}.safetensors").touch()
    with pytest.raises(RunError, match="no adapter for client 'x'.*c-00, .*c-23 and 6 more"):
        RunFolder(fellrec_home / "runs" / "one").load_adapter("x")
