"""Trains a model with whoever was launched along and writes what came of it.

-m tests.trainer.side_by_side FOLDER copies       several models; with shards, each process holds a part of the weights
-m tests.trainer.side_by_side FOLDER shards 3     one model with a checkpoint after every step; all processes are killed in step 3
-m tests.trainer.side_by_side FOLDER copies 3 dropout    the same, with dropout
-m tests.trainer.side_by_side FOLDER settings     nothing; how the process computes that was ready to
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from tests.trainer import small
from tests.trainer.test_training import TASKS, double_model, response
from trainer import language_model, lora
from trainer.checkpoint import Checkpoints
from trainer.language_model import LanguageModel
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Dpo, Objective, Rrtf
from trainer.orders import lead_or_follow
from trainer.processes import Alone, Processes, Together, is_several
from trainer.recipe import Lora, Precision, Recipe
from trainer.records import RankedTask
from trainer.sharding import Sharded
from trainer.training import train

UNEVEN = [
    RankedTask(
        task_id=f"uneven-{number}",
        prompt="def solve(x):\n" + "    # and so on\n" * (number % 4) ** 2,
        responses=tuple(response("    return x\n" * (1 + r % 3), 1.0 - r) for r in range(1 + 3 * number % 7)),
    )
    for number in range(9)
]
"""Some prompts are of twenty times as many tokens as others, and some are the same; one to seven responses each."""


def prepared(model: LanguageModel, processes: Processes, folder: Path) -> LanguageModel:
    """Who follows begins without weights; what nobody has written may be anything, here no numbers."""
    if processes.rank == 0:
        model.save(folder / "model")
    processes.gather(None)  # now it is there
    if processes.rank:
        dtype = model.network.dtype
        model = language_model.without_weights(folder / "model")
        model.network.to(dtype)
        with torch.no_grad():
            for weight in model.network.parameters():
                weight.fill_(torch.nan)
    processes.gather(None)  # now nobody needs it any more
    return model


def outcome(
    objective: Objective,
    processes: Processes,
    folder: Path,
    *,
    adapters: bool = False,
    precision: Precision = "float32",
    tasks: Sequence[RankedTask] = TASKS,
) -> dict[str, object]:
    """Two steps of all tasks, a third of which fits into one part: metrics, weights, and how many numbers each process held."""
    model = prepared(double_model() if precision == "float32" else small.model(), processes, folder)
    if adapters:
        lora.attach(model, Lora(rank=4), seed=1)
    schedule = small.schedule(epochs=2, micro_batch_tokens=150, recompute_activations=adapters, precision=precision)
    steps = train(model, tasks, loss_of(objective), schedule, 0, needs_reference=objective.needs_reference, processes=processes)
    metrics, held = [], 0
    for step in steps:
        metrics.append(step)
        held = sum(weight.numel() for weight in map(local, model.network.parameters()))
    return {"metrics": metrics, "weights": model.network.state_dict(), "held": processes.gather(held)}


def local(weight: torch.Tensor) -> torch.Tensor:
    """What lies in this process."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def interrupted(folder: Path, processes: Processes, killed_in: int, *, dropout: bool) -> dict[str, object]:
    """Six steps, or those that are left of them."""
    model = double_model()
    if dropout:
        model.network.config.attention_dropout = 0.2
        for layer in model.network.model.layers:
            layer.self_attn.attention_dropout = 0.2
    model = prepared(model, processes, folder)
    checkpoints = Checkpoints(path=folder / "checkpoint.pt", every_ms=10**9, every_steps=1)
    schedule = small.schedule(epochs=3, batch_tasks=3, dropout=dropout)
    metrics = []
    for step in train(model, TASKS, loss_of(Rrtf()), schedule, 0, processes=processes, checkpoints=checkpoints):
        metrics.append(step)
        if step["step"] == killed_in:
            processes.gather(None)  # the first one has written its checkpoint
            os.kill(os.getpid(), signal.SIGKILL)
    return {"metrics": metrics, "weights": model.network.state_dict()}


def launched(how: str, precision: Precision = "float32") -> Processes:
    if not is_several():
        return Alone()
    return Sharded("cpu", precision) if how == "shards" else Together("cpu")


def settings(folder: Path) -> None:
    """How a process that has followed computes."""
    recipe = Recipe.model_validate({"run": {"device": "cpu", "threads": 3, "deterministic": True}})
    with lead_or_follow(recipe) as crew:
        if crew is not None:
            return
    found = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    torch.save(found, folder / "settings-2.pt")


def main() -> None:
    folder, how, *killed_in = sys.argv[1:]
    if how == "settings":
        settings(Path(folder))
        return
    processes = launched(how)
    found: dict[str, object]
    if killed_in:
        found = interrupted(Path(folder), processes, int(killed_in[0]), dropout="dropout" in killed_in)
    else:
        found = {
            f"{objective.name}, {'LoRA' if adapters else 'full'}": outcome(objective, processes, Path(folder), adapters=adapters)
            for objective in (Rrtf(), Dpo())
            for adapters in (False, True)
        }
        found["dpo, uneven"] = outcome(Dpo(), processes, Path(folder), tasks=UNEVEN)
        found["rrtf, bfloat16"] = outcome(Rrtf(), launched(how, "bfloat16"), Path(folder), precision="bfloat16")
    if processes.rank == 0:
        torch.save(found, Path(folder) / f"{how}-{processes.size}.pt")
    if isinstance(processes, Together):
        processes.leave()


if __name__ == "__main__":
    main()
