"""What an objective sees of some tasks with their responses, and the forward pass that makes it.

The forward pass gives rows, one for each response; they are folded to (prompts, responses) for the objective.
Shape letters: P prompts, R responses of a prompt, S token columns of the longest response; N rows, one for each response.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from trainer.language_model import LanguageModel
from trainer.logprobs import token_logprobs
from trainer.packing import Prompted
from trainer.recipe import Precision
from trainer.records import RankedTask

type Metrics = dict[str, float]
type Loss = Callable[["Batch"], tuple[torch.Tensor, Metrics]]
type Reference = Mapping[str, Sequence[torch.Tensor]]
"""Of each task, by id: the log-probabilities of the tokens of each response, as the model had them that sampled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Tensors of P prompts with up to R responses; absent responses have length 1, and 0 or False everywhere else."""

    token_logps_PRS: torch.Tensor
    """log P(y_t | x, y_<t), responses beginning in the first column; 0 after their end."""
    lengths_PR: torch.Tensor
    """Number of tokens, the end token included."""
    scores_PR: torch.Tensor
    rewards_PR: torch.Tensor
    """Scores without the bonus of teachers."""
    samples_PR: torch.Tensor
    """How many of the student's samples the response stands for; 0 where only a teacher gave it."""
    is_teacher_PR: torch.Tensor
    is_passed_PR: torch.Tensor
    is_present_PR: torch.Tensor
    reference_PRS: torch.Tensor | None = None
    """`token_logps_PRS` of the student at the start of the round; there where the objective asks for it."""

    @property
    def logp_sums_PR(self) -> torch.Tensor:
        """log P(y | x)."""
        return self.token_logps_PRS.sum(dim=2)

    @property
    def reference_token_logps_PRS(self) -> torch.Tensor:
        """The reference, which has to be there."""
        assert self.reference_PRS is not None, "the objective compares with a reference model that was not asked"
        return self.reference_PRS

    @property
    def reference_logp_sums_PR(self) -> torch.Tensor:
        """log P(y | x) of the reference."""
        return self.reference_token_logps_PRS.sum(dim=2)


def forward(
    model: LanguageModel,
    tasks: Sequence[RankedTask],
    reference: Reference | None = None,
    precision: Precision = "float32",
) -> Batch:
    """Log-probabilities and scores of all responses to some tasks."""
    places = [(p, r) for p, task in enumerate(tasks) for r in range(len(task.responses))]
    responses = [tasks[p].responses[r] for p, r in places]
    token_logps_NS, lengths_N = _token_logprobs(model, tasks, precision)
    index = torch.tensor(places, device=model.device).T
    shape = (len(tasks), max(len(task.responses) for task in tasks))

    def fold(values: torch.Tensor, absent: float) -> torch.Tensor:
        return values.new_full((*shape, *values.shape[1:]), absent).index_put((index[0], index[1]), values)

    def fold_list(values: Sequence[float], kind: torch.dtype = torch.float32) -> torch.Tensor:
        return fold(torch.tensor(values, dtype=kind, device=model.device), 0)

    return Batch(
        token_logps_PRS=fold(token_logps_NS, 0.0),
        lengths_PR=fold(lengths_N, 1.0),
        scores_PR=fold_list([response.score for response in responses]),
        rewards_PR=fold_list([response.reward for response in responses]),
        samples_PR=fold_list([response.samples for response in responses]),
        is_teacher_PR=fold_list([response.teacher for response in responses], torch.bool),
        is_passed_PR=fold_list([response.passed for response in responses], torch.bool),
        is_present_PR=fold_list([True for _ in responses], torch.bool),
        reference_PRS=fold(_columns(reference, tasks, token_logps_NS), 0.0) if reference is not None else None,
    )


@torch.no_grad()
def refer(model: LanguageModel, tasks: Sequence[RankedTask], precision: Precision = "float32") -> Reference:
    """What the model as it is now finds of every response to some tasks."""
    model.network.eval()
    token_logps_NS, lengths_N = _token_logprobs(model, tasks, precision)
    rows = iter([row[: int(n)].clone() for row, n in zip(token_logps_NS.cpu(), lengths_N.tolist(), strict=True)])
    return {task.task_id: [next(rows) for _ in task.responses] for task in tasks}


def _token_logprobs(model: LanguageModel, tasks: Sequence[RankedTask], precision: Precision) -> tuple[torch.Tensor, torch.Tensor]:
    return token_logprobs(model, [tokens_of(model, task) for task in tasks], precision)


def tokens_of(model: LanguageModel, task: RankedTask) -> Prompted:
    """A task as token ids."""
    responses = [model.response_ids(response.completion) for response in task.responses]
    return Prompted(prompt=model.prompt_ids(task.prompt), responses=responses)


def _columns(reference: Reference, tasks: Sequence[RankedTask], like_NS: torch.Tensor) -> torch.Tensor:
    rows = [row for task in tasks for row in reference[task.task_id]]
    padded_NS = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return padded_NS.to(like_NS)
