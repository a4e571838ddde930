"""From tasks to what an objective sees, with a real model; among it the faults of the code that RRTF descends from.

RRHF's reference code edits the labels in place and so loses its length normalisation, looks at row 0 of a batch for all of it,
and averages the fine-tuning loss over padding.
"""

import pytest
import torch

from tests.trainer import small
from trainer.forward import Batch, forward, refer
from trainer.language_model import LanguageModel
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Objective, Rrhf, Rrtf, Sft
from trainer.records import RankedResponse, RankedTask
from trainer.training import train

LONG = "    total = x + 1\n    total = total * 2\n    return total\n"


def response(completion: str, score: float, *, teacher: bool = False) -> RankedResponse:
    verdict = "passed" if score >= 1 else "wrong_answer"
    return RankedResponse(
        completion=completion, score=score, reward=score, verdict=verdict, passed=score >= 1, teacher=teacher, samples=not teacher
    )


TASKS = [
    RankedTask(
        task_id="short",
        prompt="def solve(x):\n",
        responses=(response("    return x\n", 1.2, teacher=True), response("    return 1\n", -0.3)),
    ),
    RankedTask(
        task_id="long",
        prompt="def solve(text):\n    # twice as much, and then some\n",
        responses=(response(LONG, 1.2, teacher=True), response("    pass\n", -0.3), response("    return x + x\n", 1.0)),
    ),
]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return small.model()


def tokens_of(model: LanguageModel, task: RankedTask) -> list[int]:
    return [len(model.response_ids(response.completion)) for response in task.responses]


def total(objective: Objective, batch: Batch) -> torch.Tensor:
    return loss_of(objective)(batch)[0]


def test_the_divisor_is_the_number_of_tokens_of_that_response_counted_once(model: LanguageModel) -> None:
    """Neither padding nor neighbours count, the prompt does not, and asked again the answer is the same."""
    for _ in range(2):
        batch = forward(model, TASKS)
        assert batch.lengths_PR[0, :2].tolist() == tokens_of(model, TASKS[0])
        assert batch.lengths_PR[1].tolist() == tokens_of(model, TASKS[1])


@pytest.mark.parametrize("objective", [Rrtf(), Rrhf(), Sft()], ids=lambda objective: objective.name)
def test_no_row_stands_in_for_another(model: LanguageModel, objective: Objective) -> None:
    """The loss of two tasks is the mean of what each has alone, in either order."""
    alone = [total(objective, forward(model, [task])).item() for task in TASKS]
    for tasks in (TASKS, TASKS[::-1]):
        assert total(objective, forward(model, tasks)).item() == pytest.approx(sum(alone) / 2, rel=1e-4)


def test_the_fine_tuning_loss_is_not_averaged_over_padding(model: LanguageModel) -> None:
    """The short teacher's loss is its own mean, also where a neighbour is four times as long."""
    beside = forward(model, TASKS)
    own = forward(model, TASKS[:1]).token_logps_PRS[0, 0]
    wanted = -own.sum() / tokens_of(model, TASKS[0])[0]
    only_the_short_one = loss_of(Sft())(beside)[0] * 2 + beside.logp_sums_PR[1, 0] / beside.lengths_PR[1, 0]
    assert only_the_short_one.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_absent_responses_and_tokens_are_zero(model: LanguageModel) -> None:
    """So that sums over columns are sums over tokens."""
    batch = forward(model, TASKS)
    assert not batch.is_present_PR[0, 2]
    assert batch.token_logps_PRS[0, 2].abs().sum() == 0
    assert batch.token_logps_PRS[0, 0, tokens_of(model, TASKS[0])[0] :].abs().sum() == 0


def test_the_reference_is_the_model_before_the_round() -> None:
    """Training moves the model and leaves the reference, which goes with its own task in any batch."""
    model = small.model(3)
    before = forward(model, TASKS).token_logps_PRS.detach()
    reference = refer(model, TASKS)
    schedule = small.schedule(epochs=2, batch_tasks=1)
    assert len(list(train(model, TASKS, loss_of(Sft()), schedule, 0))) == 4
    after = forward(model, TASKS[::-1], reference)
    assert torch.allclose(after.reference_token_logps_PRS, before.flip(0), atol=1e-5)
    assert not torch.allclose(after.token_logps_PRS, before.flip(0), atol=1e-2)
    assert not after.reference_token_logps_PRS.requires_grad
