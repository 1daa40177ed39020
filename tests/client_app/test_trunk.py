from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.cut import Cut
from common.errors import SplitError
from server_app.split.host import SplitHost
from tests.server_app.split.tiny import WIDTH, host_settings, link_settings

CUT = Cut(0, 1)


class Layers(nn.Module):
    """Hosted layers that use the mask and the positions."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.query = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        weight = 1 if mask is None else mask.unsqueeze(-1)
        shift = 0 if positions is None else positions.unsqueeze(-1)
        return hidden + self.query(hidden + shift) * weight


@pytest.fixture
def link(tmp_path: Path) -> Iterator[SplitLink]:
    host = SplitHost(Layers(), host_settings("bert", CUT), tmp_path)
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    with SplitLink(address, host.mint("ann", 60), link_settings("bert", CUT)) as link:
        yield link
    host.stop(0)


def hidden() -> Tensor:
    return torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(2))


def test_masks_and_positions_reach_the_layers(link: SplitLink) -> None:
    trunk, x = RemoteTrunk(link), hidden()
    mask, positions = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 2]]), torch.tensor([[0, 1, 2, 3], [1, 1, 0, 1]])
    with torch.no_grad():
        for given in ((None, None), (mask, None), (None, positions), (mask, positions), (mask, positions[:1])):
            # the tokens, for padding does not travel
            cells = (mask > 0).unsqueeze(-1) if given[0] is not None else torch.ones(2, 4, 1)
            assert torch.equal(trunk(x, *given), Layers()(x, *given) * cells)


def test_without_gradients_nothing_is_kept_and_nothing_learned(link: SplitLink) -> None:
    trunk = RemoteTrunk(link)
    with torch.no_grad():
        before = trunk(hidden())
    with torch.inference_mode():
        assert torch.equal(trunk(hidden()), before)
    trunk.eval()
    assert not trunk(hidden()).requires_grad
    with pytest.raises(SplitError, match="without a micro-batch"):
        link.step()


def test_in_evaluation_mode_gradients_are_not_cut_off_silently(link: SplitLink) -> None:
    trunk = RemoteTrunk(link).eval()
    with pytest.raises(SplitError, match="evaluation mode"):
        trunk(hidden().requires_grad_())


def test_the_hosted_adapter_learns_also_where_nothing_below_does(link: SplitLink) -> None:
    trunk, x = RemoteTrunk(link), hidden()
    before = trunk(x)
    sent = link.bytes_down
    before.sum().backward()
    assert link.bytes_down - sent < x.nbytes / 2
    assert link.step() == 1
    with torch.no_grad():
        assert not torch.equal(trunk(x), before)


def test_the_trunk_has_nothing_to_train_or_save(link: SplitLink) -> None:
    trunk = RemoteTrunk(link)
    assert not list(trunk.parameters()) and not trunk.state_dict()


def test_half_precision_inside_keeps_the_callers_dtype(link: SplitLink) -> None:
    trunk, x = RemoteTrunk(link), hidden().bfloat16().requires_grad_()
    output = trunk(x)
    output.float().sum().backward()
    assert output.dtype == x.grad.dtype == torch.bfloat16


def test_a_forward_is_differentiated_once(link: SplitLink) -> None:
    output = RemoteTrunk(link)(hidden()).sum()
    output.backward(retain_graph=True)
    with pytest.raises(SplitError, match="twice"):
        output.backward()


def test_a_forward_without_a_backward_is_left_out_of_the_step(link: SplitLink) -> None:
    trunk = RemoteTrunk(link)
    trunk(hidden() * 100)
    trunk(hidden()).sum().backward()
    assert link.step() == 1
    trunk(hidden()).sum().backward()
    assert link.step() == 2
