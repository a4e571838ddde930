"""The training loop, one for the supervised start and for the ranking rounds: both are batches of tasks with responses.

A batch is flattened to rows for the forward pass and folded back to (prompts, responses) for the objective, one of
trainer.objectives with the weights that the recipe gives it in trainer.pipeline.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from trainer.batches import pad_rows, shuffled_by_length
from trainer.language_model import LanguageModel
from trainer.logprobs import response_logprobs
from trainer.records import RankedTask

type Loss = Callable[["Batch"], tuple[torch.Tensor, dict[str, float]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What an objective sees of a batch; shapes as in trainer.objectives."""

    logp_sums_PR: torch.Tensor
    lengths_PR: torch.Tensor
    scores_PR: torch.Tensor
    is_teacher_PR: torch.Tensor
    is_present_PR: torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    epochs: int
    batch_tasks: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_gradient_norm: float
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
    model: LanguageModel, tasks: Sequence[RankedTask], loss_of: Loss, schedule: Schedule, seed: int
) -> Iterator[dict[str, float]]:
    """Trains the model in place; yields the metrics of each step."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    network, steps = model.network.train(), schedule.steps(len(tasks))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=schedule.learning_rate, betas=(0.9, 0.98), weight_decay=schedule.weight_decay
    )
    batches = (batch for _ in range(schedule.epochs) for batch in shuffled_by_length(tasks, schedule.batch_tasks, _length, rng))
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step, steps)
        loss, metrics = loss_of(forward(model, batch))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.max_gradient_norm)
        optimizer.step()
        optimizer.zero_grad()
        yield {"step": step, "loss": loss.item(), "gradient_norm": float(norm), **metrics}


def forward(model: LanguageModel, tasks: Sequence[RankedTask]) -> Batch:
    """Log-probabilities and scores of all responses to a batch of tasks."""
    places = [(p, r) for p, task in enumerate(tasks) for r in range(len(task.responses))]
    prompts = [model.prompt_ids(task.prompt) for task in tasks]
    texts = [(prompts[p], model.response_ids(tasks[p].responses[r].completion)) for p, r in places]
    sums_N, lengths_N = response_logprobs(model, pad_rows(model, texts))

    index = torch.tensor(places, device=model.device).T
    shape = (len(tasks), max(len(task.responses) for task in tasks))

    def fold(values_N: torch.Tensor, absent: float) -> torch.Tensor:
        return values_N.new_full(shape, absent).index_put((index[0], index[1]), values_N)

    scores_N = torch.tensor([tasks[p].responses[r].score for p, r in places], device=model.device)
    teachers_N = torch.tensor([tasks[p].responses[r].teacher for p, r in places], device=model.device)
    return Batch(
        logp_sums_PR=fold(sums_N, 0.0),
        lengths_PR=fold(lengths_N, 1.0),
        scores_PR=fold(scores_N, 0.0),
        is_teacher_PR=fold(teachers_N, False),
        is_present_PR=fold(torch.ones_like(teachers_N), False),
    )


def _length(task: RankedTask) -> int:
    return len(task.prompt) + max(len(response.completion) for response in task.responses)
