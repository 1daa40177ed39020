"""fellrec/python/recommender.py: a client's recommendations as rows."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import fellrec
from common.run_folder import RunFolder
from fellrec.recommending import recommending


@pytest.fixture
def run(home: Path) -> fellrec.Run:
    return fellrec.load("one", home=home)


def test_rows_are_what_the_command_would_say(run: fellrec.Run) -> None:
    with recommending(RunFolder(run.path), "toy-1") as ready, run.recommender("toy-1") as asked:
        assert asked.client == "toy-1" and len(asked.users) == len(set(asked.users)) == 7
        for user in asked.users[:3]:
            found = ready.for_user(user, 3)
            rows = asked.recommend(user=user, top=3)
            assert [(row["key"], row["title"], row["score"], row["because"]) for row in rows] == [
                (item.key, item.title, item.score, item.because) for item in found.recommended
            ]
            assert [row["place"] for row in rows] == [1, 2, 3] and asked.history(user) == list(found.history)
            assert not {row["title"] for row in rows} & set(found.history)
        middle = ready.for_user()
        assert [row["key"] for row in asked.recommend()] == [item.key for item in middle.recommended]


def test_somebody_new_is_known_by_titles_and_a_title_that_was_read_as_another_is_a_warning(run: fellrec.Run) -> None:
    asked = run.recommender("toy-0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = asked.recommend(history="red fox"), asked.recommend(history=["red fox"])
    assert one == other and "red fox" not in {row["title"] for row in one}
    with pytest.warns(UserWarning, match="red foxx"):
        asked.recommend(history=["red foxx"])
    asked.close()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"user": "nobody"}, "no user 'nobody'"),
        ({"user": "toy-u0", "history": ["red fox"]}, "given together"),
        ({"history": []}, "the history is empty"),
        ({"top": 0}, "'top' is 0"),
    ],
)
def test_what_cannot_be_answered_is_refused(run: fellrec.Run, asked: dict, says: str) -> None:
    with run.recommender("toy-0") as ready, pytest.raises(fellrec.FellrecError, match=says):
        ready.recommend(**asked)


def test_another_client_and_a_token_without_a_service_are_refused(run: fellrec.Run, tmp_path: Path) -> None:
    with pytest.raises(fellrec.RunError, match="no client 'toy-9'.*toy-0"):
        run.recommender("toy-9")
    with pytest.raises(fellrec.ConfigError, match="'service' is ''"):
        run.recommender("toy-0", token=tmp_path / "token")
    with pytest.raises(fellrec.ConfigError, match="without the split"):
        run.recommender("toy-0", service="127.0.0.1:1", token=tmp_path / "token")
