"""fellrec/recommending.py: a client that lost its item matrix is served as before, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from common.errors import RunError
from common.run_folder import RunFolder
from fellrec.recommending import ServiceAt, recommending
from server_app.hosting import Hosting
from tests.fellrec.served import Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def lose(run: RunFolder) -> None:
    """All that clients remember."""
    shutil.rmtree(Path(run.config().home) / "clients")


def test_a_matrix_of_the_untrained_model_is_made_anew(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    run = runs.get("encoder", split__on=True, train__freeze_items_from=1, train__learning_rate=0.05)
    with recommending(run, "toy-1") as ready:
        before = ready.for_history(["red fox", "blue bear"], 9)
    lose(run)
    with recommending(run, "toy-1") as ready:
        assert ready.for_history(["red fox", "blue bear"], 9) == before
    lose(run)
    hosting = Hosting(run.config(), run.name, tmp_path)
    try:
        access = hosting.show("toy-1", {0.0: run.load_adapter("toy-1")}, 60.0)
        (tmp_path / "token").write_text(access.tokens[0.0])
        with recommending(run, "toy-1", ServiceAt(access.address, tmp_path / "token")) as ready:
            assert ready.for_history(["red fox", "blue bear"], 9) == before
    finally:
        hosting.close()


def test_a_matrix_of_a_model_that_is_gone_is_refused_by_name(runs: Runs, fellrec_home: Path) -> None:
    run = runs.get("encoder", train__freeze_items_from=2, train__learning_rate=0.05)
    with recommending(run, "toy-1") as ready:
        before = ready.for_history(["red fox"], 9)
    with recommending(run, "toy-1") as ready:
        assert ready.for_history(["red fox"], 9) == before
    lose(run)
    with pytest.raises(RunError, match="client 'toy-1' has lost its item matrix"), recommending(run, "toy-1"):
        pass
    assert not list((Path(run.config().home)).rglob("items-toy-1.safetensors"))
