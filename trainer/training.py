"""The training loop, one for the supervised start and for the ranking rounds: both are batches of tasks with responses.

A batch is dealt out among the processes, and what is too much for one forward pass is computed in parts. Losses are means over
prompts, so each part weighs as many prompts as it has, and the gradient is that of the whole batch.

Which tasks make the batch of a step follows from the seed alone, so a training that was interrupted goes on from its checkpoint
with the batches that are left, and ends with the same weights.
"""

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from trainer.batches import deal, is_dealt, shuffled_by_length
from trainer.checkpoint import Checkpoints, chance_now, set_chance
from trainer.dropout import switch_off
from trainer.errors import TrainingError
from trainer.forward import Loss, Metrics, Reference, forward, refer, tokens_of
from trainer.language_model import LanguageModel
from trainer.logprobs import tokens_to_compute
from trainer.processes import Alone, Processes
from trainer.recipe import Precision
from trainer.records import RankedTask

_ALONE = Alone()


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    epochs: int
    batch_tasks: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_gradient_norm: float
    micro_batch_tokens: int
    skip_not_finite: int = 0
    adam_betas: tuple[float, float] = (0.9, 0.98)
    precision: Precision = "float32"
    dropout: bool = False
    recompute_activations: bool = False
    falls_from: float = 1.0
    falls_to: float = 0.05
    """Shares of the learning rate at the beginning and at the end."""

    def steps(self, tasks: int) -> int:
        return self.epochs * -(-tasks // self.batch_tasks)

    def rate(self, step: int, steps: int) -> float:
        """Linear warm-up, on top of a linear fall."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return self.learning_rate * warm * (self.falls_from + (self.falls_to - self.falls_from) * step / steps)


def train(
    model: LanguageModel,
    tasks: Sequence[RankedTask],
    loss_of: Loss,
    schedule: Schedule,
    seed: int,
    *,
    needs_reference: bool = False,
    processes: Processes = _ALONE,
    checkpoints: Checkpoints | None = None,
) -> Iterator[dict[str, float]]:
    """Trains the model in place; yields the metrics of each step. `needs_reference` is for losses that compare with the model
    as it was before the first one.

    Goes on from the checkpoint, where there is one. Raises TrainingError where more losses or gradients in a row are no numbers
    than the schedule skips, the weights of the last checkpoint are then good ones, and where processes disagree.
    """
    torch.manual_seed(seed)
    network, steps = model.network, schedule.steps(len(tasks))
    with _together(model, _adamw(network, schedule), schedule, processes) as optimizer:
        reference = _refer(model, tasks, schedule, processes) if needs_reference else None
        first = _go_on(model, optimizer, processes, checkpoints)
        network.train()
        if not schedule.dropout:
            switch_off(network)
        skipped = 0
        for step, batch in enumerate(_batches(tasks, schedule, seed)):
            if step < first:
                continue
            is_due, *_ = processes.gather(checkpoints is not None and checkpoints.is_due(step))  # by the clock of the first
            chance = processes.gather(chance_now()) if is_due else None
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step, steps)
            metrics = _backward(model, batch, loss_of, schedule, reference, processes)
            norm = processes.clip(model, schedule.max_gradient_norm)
            is_finite = math.isfinite(metrics["loss"]) and math.isfinite(norm)
            skipped = 0 if is_finite else skipped + 1
            if skipped > schedule.skip_not_finite:
                raise _not_finite(step, metrics["loss"], norm)
            if is_finite:
                if checkpoints and chance:
                    state = processes.state(network, optimizer)
                    if processes.rank == 0:
                        checkpoints.save(step, state, chance)
                optimizer.step()
            optimizer.zero_grad()
            yield {"step": step, "gradient_norm": norm, "skipped": not is_finite, **metrics}


def _adamw(network: torch.nn.Module, schedule: Schedule) -> torch.optim.AdamW:
    """Norms and biases do not decay: there is nothing to be gained from their being small."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": schedule.weight_decay},
            {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=schedule.learning_rate,
        betas=schedule.adam_betas,
        fused=weights[0].is_cuda or None,  # else a step holds as much again as one of the moments
    )


def _go_on(model: LanguageModel, optimizer: torch.optim.Optimizer, processes: Processes, checkpoints: Checkpoints | None) -> int:
    """The step to begin with: that of the checkpoint, where there is one."""
    state = checkpoints.read() if checkpoints else None
    if state is None:
        return 0
    processes.take_up(state, model.network, optimizer)
    set_chance(state["chance"], processes.rank)
    return int(state["step"])


def _batches(tasks: Sequence[RankedTask], schedule: Schedule, seed: int) -> Iterator[list[RankedTask]]:
    rng = random.Random(seed)
    for _ in range(schedule.epochs):
        yield from shuffled_by_length(tasks, schedule.batch_tasks, _length, rng)


@contextmanager
def _together(
    model: LanguageModel, optimizer: torch.optim.Optimizer, schedule: Schedule, processes: Processes
) -> Iterator[torch.optim.Optimizer]:
    if schedule.recompute_activations:
        model.network.gradient_checkpointing_enable({"use_reentrant": False})
    yield processes.prepare(model, optimizer)
    processes.finish(model)
    if schedule.recompute_activations:
        model.network.gradient_checkpointing_disable()


def _refer(model: LanguageModel, tasks: Sequence[RankedTask], schedule: Schedule, processes: Processes) -> Reference:
    """What the model finds of every response before the first step; each process asks about its share."""
    found: dict[str, Sequence[torch.Tensor]] = {}
    for part in _my_parts(model, tasks, schedule, processes):
        found |= refer(model, [tasks[index] for index in part or [0]], schedule.precision)
    return {task_id: rows for gathered in processes.gather(found) for task_id, rows in gathered.items()}


def _backward(
    model: LanguageModel,
    batch: Sequence[RankedTask],
    loss_of: Loss,
    schedule: Schedule,
    reference: Reference | None,
    processes: Processes,
) -> Metrics:
    """Adds the gradient of the batch's loss, part by part."""
    parts = _my_parts(model, batch, schedule, processes)
    found = []
    for number, part in enumerate(parts, 1):
        with processes.summing(last=number == len(parts)):
            seen = forward(model, [batch[index] for index in part or [0]], reference, schedule.precision)
            loss, metrics = loss_of(seen)
            share = len(part) / len(batch)  # 0 where there is nothing left to do: every process passes as often as the others
            (loss * share * processes.size).backward()  # the processes' gradients are averaged
        if part:
            found.append((share, {"loss": loss.item(), **metrics}))
    return merge([one for gathered in processes.gather(found) for one in gathered])


def _my_parts(model: LanguageModel, tasks: Sequence[RankedTask], schedule: Schedule, processes: Processes) -> list[list[int]]:
    """This process's. Raises TrainingError where the processes do not deal alike: before they wait for each other in vain."""
    sizes = [tokens_to_compute(model, tokens_of(model, task)) for task in tasks]
    mine = deal(sizes, schedule.micro_batch_tokens, processes.size)[processes.rank]
    if not is_dealt(processes.gather(mine), len(tasks)):
        raise TrainingError(
            "the processes disagree about the size of tasks, so some would be trained twice or never; "
            "give all of them the same code, recipe and tokenizer"
        )
    return mine


def merge(parts: Sequence[tuple[float, Metrics]]) -> Metrics:
    """Metrics of a whole from its parts with their shares: counts, which are ints, add up; the others are means over prompts."""
    return {
        name: sum(metrics[name] if isinstance(value, int) else share * metrics[name] for share, metrics in parts)
        for name, value in parts[0][1].items()
    }


def _not_finite(step: int, loss: float, norm: float) -> TrainingError:
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradient is {norm}"
    return TrainingError(
        f"step {step}: {what}; most often the learning rate is too high, or bfloat16 too coarse. Lower the learning rate, or set "
        "training.skip_not_finite to leave out such steps"
    )


def _length(task: RankedTask) -> int:
    return len(task.prompt) + max(len(response.completion) for response in task.responses)
