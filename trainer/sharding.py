"""Training with shards: each process holds a part of every weight, its gradient and its moments (FSDP2, torch's fully_shard).

    a layer's shards --all-gather--> its weights --forward, backward--> gradients --reduce-scatter--> the shards' gradients

Each decoder layer is a unit of its own; what belongs to no layer (embeddings, norm, head) is one with the scorer as a whole. A
weight is a DTensor as long as the training lasts, and knows how to become whole: so a checkpoint holds whole weights and
moments, and is taken up by any number of processes, sharded or not. The first process keeps a plain copy of the model in the
memory of its host, which gets the trained weights in the end; the others never have more than one unit as a whole, since they
begin with a network without weights (language_model.without_weights).
"""

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from trainer.checkpoint import State, trained
from trainer.language_model import LanguageModel
from trainer.processes import Together
from trainer.recipe import Precision

_HALVES = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)


class Sharded(Together):
    """Several processes, each with a part of the weights. In bfloat16, weights are gathered as such, gradients in float32."""

    holds = "a part of the weights"

    def __init__(self, device: str, precision: Precision) -> None:
        super().__init__(device)
        self._policy = _HALVES if precision == "bfloat16" else MixedPrecisionPolicy()
        self._mesh = init_device_mesh(self.device.type, (self.size,))
        self._plain: tuple[Any, Any] | None = None

    def prepare(self, model: LanguageModel, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        scorer = self._scorer_of(model)
        names = {weight: name for name, weight in scorer.named_parameters()}
        scorer.to("cpu")
        if self.rank == 0:
            self._plain = copy.deepcopy((model.network, model.adapters))
        for unit in (*_layers(model.network), scorer):
            self._take_over(unit)
            fully_shard(unit, mesh=self._mesh, mp_policy=self._policy)
        shards = dict(scorer.named_parameters())
        for group in optimizer.param_groups:
            group["params"] = [shards[names[weight]] for weight in group["params"]]
        return optimizer

    def summing(self, *, last: bool) -> AbstractContextManager[object]:
        """Every backward pass brings its gradients together: kept until the last one, they would be whole in each process."""
        return nullcontext()

    def clip(self, model: LanguageModel, most: float) -> float:
        norm: Any = torch.nn.utils.clip_grad_norm_(model.scorer.parameters(), most)
        return float(norm.full_tensor())

    def state(self, network: Any, optimizer: torch.optim.Optimizer) -> State:
        moments = optimizer.state_dict()
        whole = {
            number: {name: self._whole(value) for name, value in values.items()} for number, values in moments["state"].items()
        }
        weights = {name: self._whole(weight) for name, weight in trained(network).items()}
        return {"weights": weights, "optimizer": {**moments, "state": whole}}

    def take_up(self, state: State, network: Any, optimizer: torch.optim.Optimizer) -> None:
        weights = trained(network)
        for name, whole in state["weights"].items():
            weights[name].copy_(_shard(whole, weights[name]))
        moments, numbered = state["optimizer"], [weight for group in optimizer.param_groups for weight in group["params"]]
        shards = {
            number: {name: _shard(value, numbered[number]) if value.dim() else value for name, value in values.items()}
            for number, values in moments["state"].items()
        }
        optimizer.load_state_dict({**moments, "state": shards})

    def finish(self, model: LanguageModel) -> None:
        weights = {name: self._whole(weight) for name, weight in trained(model.network).items()}
        if self._plain is not None:
            model.network, model.adapters = self._plain
            for name, weight in trained(model.network).items():
                weight.copy_(weights[name])
            model.network.to(self.device)
            self._plain = None
        model.scorer = None

    def _take_over(self, unit: torch.nn.Module) -> None:
        """Brings what of the unit is not sharded yet to the device, as the first process has it."""
        for values in (*unit.parameters(), *unit.buffers()):
            if not isinstance(values, DTensor):
                values.data = values.data.to(self.device)
                torch.distributed.broadcast(values.data, src=0)

    def _whole(self, value: torch.Tensor) -> torch.Tensor:
        """All of it in the first process, on the host; every process has to ask. Others keep nothing."""
        found = value.full_tensor() if isinstance(value, DTensor) else value
        return found.cpu() if self.rank == 0 else found.new_empty(0)


def _layers(network: Any) -> list[torch.nn.Module]:
    """The decoder layers: what transformers says is not to be split among devices."""
    names = set(network._no_split_modules or ())  # noqa: SLF001 # there is no public name
    return [module for module in network.modules() if type(module).__name__ in names]


def _shard(whole: torch.Tensor, like: Any) -> torch.Tensor:
    """This process's part of what every process has."""
    placed = whole.to(like.device, like.dtype)
    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)
