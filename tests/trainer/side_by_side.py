"""Trains a model with whoever was launched along and writes what came of it: `-m tests.trainer.side_by_side FILE`."""

import sys

import torch

from tests.trainer import small
from tests.trainer.test_training import TASKS, double_model
from trainer import lora
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Dpo, Objective, Rrtf
from trainer.processes import Alone, Processes, Together, is_several
from trainer.recipe import Lora
from trainer.training import train


def outcome(objective: Objective, processes: Processes, *, adapters: bool) -> dict[str, object]:
    """Two steps of all tasks, a third of which fits into one part; then the weights and the metrics."""
    model = double_model()
    if processes.rank:  # who follows takes over the weights of the first process
        with torch.no_grad():
            for weight in model.network.parameters():
                weight.add_(1.0)
    if adapters:
        lora.attach(model, Lora(rank=4), seed=1)
    schedule = small.schedule(epochs=2, micro_batch_tokens=150)
    steps = train(model, TASKS, loss_of(objective), schedule, 0, needs_reference=objective.needs_reference, processes=processes)
    metrics = list(steps)
    return {"metrics": metrics, "weights": model.network.state_dict()}


def main() -> None:
    processes = Together("cpu") if is_several() else Alone()
    found = {
        f"{objective.name}, {'LoRA' if adapters else 'full'}": outcome(objective, processes, adapters=adapters)
        for objective in (Rrtf(), Dpo())
        for adapters in (False, True)
    }
    if processes.rank == 0:
        torch.save(found, sys.argv[1])


if __name__ == "__main__":
    main()
