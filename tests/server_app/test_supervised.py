"""The split service dies alone in mid-run: another takes its place, and no number changes."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from common.errors import RunError, SplitError
from server_app import supervised
from server_app.hosting import Hosting
from server_app.split.engine import Engine
from server_app.split.host import SplitHost
from server_app.strategy import FederatedRecommenders
from server_app.supervised import SupervisedHost
from tests.federation import federate, tiny_settings
from tests.server_app.test_hosting import hosting
from tests.test_federation import adapters, result

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def die(host: SplitHost) -> None:
    """Cuts its connections and ends its compute thread in the middle of things; the queue behind stays unanswered."""
    host._server.stop(None)
    host._engine._inbox.put(sys.exit)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[SplitHost]:
    """All services that are made."""
    made: list[SplitHost] = []
    plain = SplitHost.__init__

    def noted(self: SplitHost, *rest: object) -> None:
        plain(self, *rest)
        made.append(self)

    monkeypatch.setattr(SplitHost, "__init__", noted)
    return made


def while_sending(monkeypatch: pytest.MonkeyPatch, hosts: list[SplitHost]) -> None:
    plain = Hosting.open

    def opened(self: Hosting, client: str, number: int, *rest: object) -> object:
        access = plain(self, client, number, *rest)
        if (client, number) == ("toy-1", 2):
            die(hosts[-1])
        return access

    monkeypatch.setattr(Hosting, "open", opened)


def while_training(monkeypatch: pytest.MonkeyPatch, hosts: list[SplitHost]) -> None:
    plain = Engine._step

    def step(self: Engine, works: list) -> None:
        opened = self._clients.round(works[0].client)
        if (opened.round, opened.step, len(hosts)) == (2, 1, 1):
            hosts[-1]._server.stop(None)
            raise SystemExit
        plain(self, works)

    monkeypatch.setattr(Engine, "_step", step)


def while_replies_come(monkeypatch: pytest.MonkeyPatch, hosts: list[SplitHost]) -> None:
    plain = FederatedRecommenders._arrived

    def arrived(self: FederatedRecommenders, number: int, reply: object) -> object:
        if number == 2 and len(hosts) == 1:
            die(hosts[-1])
        return plain(self, number, reply)

    monkeypatch.setattr(FederatedRecommenders, "_arrived", arrived)


def while_committing(monkeypatch: pytest.MonkeyPatch, hosts: list[SplitHost]) -> None:
    plain = Hosting.commit

    def commit(self: Hosting, client: str, number: int, *rest: object) -> object:
        done = plain(self, client, number, *rest)
        if (client, number) == ("toy-0", 2):
            die(hosts[-1])
        return done

    monkeypatch.setattr(Hosting, "commit", commit)


@pytest.mark.parametrize("when", [while_sending, while_training, while_replies_come, while_committing])
def test_a_service_that_dies_changes_no_number(
    fellrec_home: Path, monkeypatch: pytest.MonkeyPatch, hosts: list[SplitHost], when
) -> None:
    federate(tiny_settings(fellrec_home, split__on=True, run_name="unbroken"))
    hosts.clear()
    when(monkeypatch, hosts)
    federate(tiny_settings(fellrec_home, split__on=True, run_name="broken"))
    assert len(hosts) == 2, "it died once, and one took its place"
    one, other = adapters(fellrec_home, "unbroken"), adapters(fellrec_home, "broken")
    assert all(one[client][name].equal(other[client][name]) for client in one for name in one[client])
    assert result(fellrec_home, "unbroken")["metrics"] == result(fellrec_home, "broken")["metrics"]
    assert [found["clients_ok"] for found in result(fellrec_home, "broken")["rounds"]] == [3, 3]


def test_the_watch_alone_brings_it_back_on_the_same_address(
    fellrec_home: Path, monkeypatch: pytest.MonkeyPatch, hosts: list[SplitHost]
) -> None:
    monkeypatch.setattr(supervised, "LOOK_EVERY", 0.01)
    with closing(hosting(fellrec_home)) as found:
        address = found.address
        die(hosts[0])
        while len(hosts) < 2 or hosts[1]._server is None:
            hosts[0]._engine._thread.join(0.05)
        assert hosts[1].alive and found.address == address


def test_one_that_keeps_dying_is_given_up(monkeypatch: pytest.MonkeyPatch, fellrec_home: Path) -> None:
    monkeypatch.setattr(supervised, "RESTARTS", 2)
    monkeypatch.setattr(supervised, "LOOK_EVERY", 60.0)
    with closing(hosting(fellrec_home)) as found:
        for _ in range(2):
            found._service.call(die)
            found._service._host._engine._thread.join()
            assert found._service.call(SplitHost.clients) == []
        found._service.call(die)
        found._service._host._engine._thread.join()
        with pytest.raises(SplitError, match="died 3 times"):
            found._service.call(SplitHost.clients)


def test_a_state_folder_that_cannot_be_written_ends_the_run_by_name(fellrec_home: Path) -> None:
    def full(host: SplitHost) -> None:
        raise OSError(28, "No space left on device; it takes 1,234 bytes", "hosted/secret")

    with closing(hosting(fellrec_home)) as found:
        with pytest.raises(RunError, match="1,234 bytes: 'hosted/secret'.*resume = true"):
            found._service.call(full)


def test_rounds_that_a_dead_process_left_open_are_rolled_back(fellrec_home: Path, hosts: list[SplitHost]) -> None:
    with closing(hosting(fellrec_home)) as found:
        made: SupervisedHost = found._service
        made.call(lambda host: host.begin("toy-0", 1, 0.1, 0))
        token = made.call(lambda host: host.mint("toy-0", 60))
        die(hosts[0])
        hosts[0]._engine._thread.join()
        assert made.call(lambda host: host._mint.check(token)).client == "toy-0", "the same process: the round goes on"
    with closing(hosting(fellrec_home)) as found, pytest.raises(Exception, match="revoked"):
        found._service.call(lambda host: host._mint.check(token))
