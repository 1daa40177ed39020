"""server_app/failures.py: error replies as Flower 1.41, 1.42 and Ray 2.55 write them, and what the run keeps of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flwr.app import Error, Message

from common.errors import ModelError
from common.run_folder import RunFolder
from server_app.failures import LONGEST, failure
from tests.federation import federate, tiny_settings

OUT_OF_MEMORY = (
    "<class 'ray.exceptions.OutOfMemoryError'>:<'1 worker(s) were killed due to the node running low on memory. Memory on the "
    "node (IP: 192.0.2.2, ID: 7dce) was 22.41GB / 23.54GB (0.952), which exceeds the memory usage threshold of 0.950000; Ray "
    "killed 1 worker(s) based on the killing policy: [(Task: job ID=01000000, task name=ClientAppActor.__init__, pid=30002, "
    "actual memory used=0.05GB)]; Top 10 memory users: PID\tMEM(GB)\tCOMMAND, 11329\t0.77\t/opt/payroll --password hunter2, "
    "29870\t0.05\tray::RuntimeEnvAgent, Refer to the documentation on how to address the out of memory issue.'>"
)
DIED = (
    "<class 'ray.exceptions.ActorDiedError'>:<'The actor died unexpectedly before finishing this task.\n\tclass_name: "
    "ClientAppActor\n\tpid: 24915\nThe actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker "
    "exit detail: Worker unexpectedly exits with a connection error code 2. End of file.'>"
)


def test_a_process_that_was_killed_for_memory_is_told_as_such_without_what_else_ran_there() -> None:
    told = failure(Error(0, OUT_OF_MEMORY), "client 'shop'")
    assert told.code == "FR600"
    assert (
        told.message
        == "client 'shop' failed: its process was killed, for its machine ran out of memory (22.41GB / 23.54GB in use)"
    )
    assert "--cpus" in told.hint and "train.batch-size" in told.hint and "resume = true" in told.hint


@pytest.mark.parametrize(
    "error", [Error(0, DIED), Error(8, "ClientApp stopped responding.")], ids=["simulated", "node"]
)
def test_a_process_that_died_is_told_as_such(error: Error) -> None:
    told = failure(error, "client 'shop'")
    assert told.code == "FR600" and "its process died without a word" in told.message and "memory" in told.message


def test_a_clients_own_error_keeps_its_code() -> None:
    told = failure(Error(300, "[FR300] no folder '/m' (give one)"), "client 'shop'")
    assert isinstance(told, ModelError) and str(told) == "[FR300] client 'shop' failed: no folder '/m' (give one)"


def test_any_other_reason_is_a_line_of_bounded_length() -> None:
    told = failure(Error(5, "x" * 10_000 + "\nsecond"), "client 'shop'")
    assert told.code == "FR400" and "code 5" in told.message
    assert len(told.message) < LONGEST + 60 and "\n" not in told.message


def test_neither_log_nor_result_nor_event_holds_the_machines_processes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def killed(reply: Message) -> Message:
        answer = Message(Error(0, OUT_OF_MEMORY), reply_to=reply)
        answer.metadata.__dict__["_reply_to_message_id"] = reply.metadata.reply_to_message_id
        return answer

    settings = tiny_settings(tmp_path, run_name="one", federation__min_clients=2)
    federate(settings, faults={("toy-0", 1): killed})
    folder = RunFolder.find("one", str(tmp_path))
    assert folder.result()["rounds"][0]["clients_failed"] == {"toy-0": "FR600"}
    written = folder.events_path.read_text() + json.dumps(folder.result()) + caplog.text
    assert "ran out of memory" in written and "hunter2" not in written
