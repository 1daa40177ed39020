"""A disk that is full: the run stops and says where and how much, what was saved is whole, and the run goes on later."""

from __future__ import annotations

import multiprocessing
import resource
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from common.errors import RunError
from tests.federation import federate, tiny_settings
from tests.test_federation import adapters, events, result


def limited(connection: Connection, settings: dict, limit: int) -> None:
    """A run in a process that may write no file beyond ``limit`` bytes, as on a full disk; sends the error's text."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        federate(settings)
    except RunError as error:
        connection.send(str(error))
    except BaseException as error:
        connection.send(f"unforeseen {error!r}")
    else:
        connection.send("it ended well")


def in_a_child(settings: dict, limit: int) -> str:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=limited, args=(theirs, settings, limit))
    child.start()
    theirs.close()
    try:
        assert ours.poll(120), "no answer"
        return ours.recv()
    finally:
        child.kill()
        child.join()


def sizes(home: Path, run: str) -> dict[str, int]:
    return {
        folder.name: sum(file.stat().st_size for file in folder.iterdir())
        for folder in sorted((home / "runs" / run / "checkpoints").iterdir())
    }


@pytest.mark.parametrize("split", [False, True])
def test_a_checkpoint_that_does_not_fit_stops_the_run_and_resuming_gives_the_same_numbers(
    fellrec_home: Path, split: bool
) -> None:
    chosen = {"split__on": split, "num_server_rounds": 3}
    federate(tiny_settings(fellrec_home, run_name="unbroken", **chosen))
    kept = sizes(fellrec_home, "unbroken")
    # averages over rounds make the third checkpoint larger than the second
    limit = (kept["round-0002"] + kept["round-0003"]) // 2
    said = in_a_child(tiny_settings(fellrec_home, run_name="full", **chosen), limit)
    assert said.startswith("[FR600] the checkpoint of round 3 cannot be written to") and "resume = true" in said, said
    assert str(fellrec_home / "runs" / "full" / "checkpoints" / "round-0003") in said
    needed = int(said.split("it takes about ")[1].split(" bytes")[0].replace(",", ""))
    assert 0.9 * kept["round-0003"] < needed < 1.1 * kept["round-0003"]
    assert list(sizes(fellrec_home, "full")) == ["round-0001", "round-0002"], "nothing half-written is left"
    assert [event["code"] for event in events(fellrec_home, "run_failed", "full")] == ["FR600"]
    federate(tiny_settings(fellrec_home, run_name="full", resume=True, **chosen))
    assert result(fellrec_home, "unbroken")["metrics"] == result(fellrec_home, "full")["metrics"]
    one, other = adapters(fellrec_home, "unbroken"), adapters(fellrec_home, "full")
    assert all(one[client][name].equal(other[client][name]) for client in one for name in one[client])


def test_hosted_adapters_that_do_not_fit_stop_the_run(fellrec_home: Path) -> None:
    said = in_a_child(tiny_settings(fellrec_home, run_name="full", split__on=True), 4096)
    assert said.startswith("[FR600]") and "hosted" in said and "bytes" in said and "resume = true" in said, said
