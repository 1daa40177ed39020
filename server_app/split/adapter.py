"""One client's hosted adapter: LoRA tensors by the whole model's names, and their optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from common.adapters.lora import initial_a
from common.errors import SplitError
from server_app.split.settings import AdamW

PEFT_PREFIX = "base_model.model."
Gradients = list[Tensor | None]
"""One per adapter tensor, in the adapter's order; None where a tensor took no part."""


class HostedAdapter:
    """LoRA (arXiv 2106.09685) for one client, trained with AdamW of its own.

    Parameters
    ----------
    tensors : float32 by PEFT's names in the whole model, ``base_model.model.<layer>.lora_A.weight`` [r, in] and
        ``.lora_B.weight`` [out, r]; they are copied.
    """

    def __init__(self, tensors: Mapping[str, Tensor], settings: AdamW, device: torch.device) -> None:
        self._settings, self._device = settings, device
        self.parameters = {name: nn.Parameter(tensor.to(device, copy=True)) for name, tensor in tensors.items()}
        self._optimiser = torch.optim.AdamW(
            self.parameters.values(),
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
        )

    def pair(self, layer: str) -> tuple[Tensor, Tensor]:
        """A and B of a layer of the whole model."""
        return self.parameters[lora_name(layer, "A")], self.parameters[lora_name(layer, "B")]

    def tensors(self) -> dict[str, Tensor]:
        """Copies in main memory."""
        return {name: parameter.detach().to("cpu", copy=True) for name, parameter in self.parameters.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts other values in; the optimiser's moments stay.

        Raises
        ------
        SplitError : a name is unknown or missing, a shape differs, or a value is not finite; nothing is changed.
        """
        for name in sorted(self.parameters.keys() ^ tensors.keys()):
            fault = "is missing" if name in self.parameters else "is unknown"
            raise SplitError(f"hosted tensor {name!r} {fault}", "the adapter was made for another cut or other targets")
        for name, tensor in tensors.items():
            if tensor.shape != self.parameters[name].shape:
                expected = tuple(self.parameters[name].shape)
                raise SplitError(f"hosted tensor {name!r} has shape {tuple(tensor.shape)!r}, not {expected!r}")
            if not torch.isfinite(tensor).all():
                raise SplitError(f"hosted tensor {name!r} holds a value that is not finite")
        with torch.no_grad():
            for name, tensor in tensors.items():
                self.parameters[name].copy_(tensor)

    def step(self, gradients: Sequence[Gradients], learning_rate: float) -> None:
        """One step of AdamW with the sum of the micro-batches' gradients, added in the order given."""
        for index, parameter in enumerate(self.parameters.values()):
            total: Tensor | None = None
            for part in gradients:
                if (own := part[index]) is not None:
                    total = own.clone() if total is None else total.add_(own)
            parameter.grad = total
        self._optimiser.param_groups[0]["lr"] = learning_rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def copy(self) -> HostedAdapter:
        """An independent copy, optimiser included."""
        return HostedAdapter.restored(self.state(), self._settings, self._device)

    def fresh(self) -> HostedAdapter:
        """The same adapter with an optimiser that has taken no step."""
        return HostedAdapter(self.tensors(), self._settings, self._device)

    def state(self) -> dict[str, Tensor]:
        """Adapter and optimiser as copies in main memory: ``adapter/<name>``, and per tensor that was trained
        ``step/<name>``, ``exp_avg/<name>`` and ``exp_avg_sq/<name>``.
        """
        state = {f"adapter/{name}": tensor for name, tensor in self.tensors().items()}
        for name, parameter in self.parameters.items():
            for key, value in self._optimiser.state.get(parameter, {}).items():
                state[f"{key}/{name}"] = value.detach().to("cpu", copy=True)
        return state

    @classmethod
    def restored(cls, state: Mapping[str, Tensor], settings: AdamW, device: torch.device) -> HostedAdapter:
        """From :meth:`state`."""
        kinds: dict[str, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            kind, name = key.split("/", 1)
            kinds.setdefault(kind, {})[name] = tensor
        adapter = cls(kinds.pop("adapter"), settings, device)
        for kind, tensors in kinds.items():
            for name, tensor in tensors.items():
                # AdamW counts its steps in main memory
                place = torch.device("cpu") if kind == "step" else device
                adapter._optimiser.state[adapter.parameters[name]][kind] = tensor.to(place, copy=True)
        return adapter


def lora_name(layer: str, factor: str) -> str:
    """PEFT's name of a layer's factor ``A`` or ``B`` in a saved adapter."""
    return f"{PEFT_PREFIX}{layer}.lora_{factor}.weight"


def initial(shapes: Mapping[str, tuple[int, int]], rank: int, seed: int) -> dict[str, Tensor]:
    """A fresh adapter: A drawn, B zero; the same values that ``common.adapters.lora.add_lora`` gives these layers.

    Parameters
    ----------
    shapes : (inputs, outputs) of each layer, by its path in the whole model.
    seed : of the draw; each layer has a stream of its own, so the cut changes no value.
    """
    tensors = {}
    for layer, (inputs, outputs) in shapes.items():
        tensors[lora_name(layer, "A")] = initial_a(lora_name(layer, "A"), rank, inputs, seed)
        tensors[lora_name(layer, "B")] = torch.zeros(outputs, rank)
    return tensors
