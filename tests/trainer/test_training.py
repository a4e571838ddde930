"""The training loop: a step computed in parts is the step computed at once."""

import pytest
import torch

from tests.trainer import small
from trainer.batches import in_parts
from trainer.forward import forward, refer
from trainer.language_model import LanguageModel
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import OBJECTIVES, Objective
from trainer.records import RankedResponse, RankedTask
from trainer.training import train


def response(completion: str, reward: float, *, teacher: bool = False) -> RankedResponse:
    verdict = "passed" if reward == 1 else "wrong_answer"
    return RankedResponse(
        completion=completion,
        score=reward + 0.2 * teacher,
        reward=reward,
        verdict=verdict,
        passed=reward == 1,
        teacher=teacher,
        samples=not teacher,
    )


TASKS = [
    RankedTask(
        task_id=f"task-{number}",
        prompt=f"def solve(x):\n    # {'very ' * number}short\n",
        responses=(
            response(f"    return x + {number}\n", 1.0, teacher=True),
            *(response(f"    return {student}\n" * (student + 1), -0.3) for student in range(1 + number % 3)),
            response("    return x\n", 1.0),
        ),
    )
    for number in range(5)
]
"""With three to five responses each, to prompts of different lengths."""


def double_model() -> LanguageModel:
    model = small.model()
    model.network.double()
    return model


def trained(objective: Objective, micro_batch_tokens: int) -> tuple[list[dict[str, float]], LanguageModel]:
    """Two steps on all tasks."""
    model = double_model()
    reference = refer(small.model(1), TASKS, 100_000) if objective.needs_reference else None
    schedule = small.schedule(epochs=2, micro_batch_tokens=micro_batch_tokens)
    return list(train(model, TASKS, loss_of(objective), schedule, 0, reference)), model


@pytest.mark.parametrize("objective", [kind() for kind in OBJECTIVES], ids=lambda objective: objective.name)
def test_a_step_in_parts_is_the_step_at_once(objective: Objective) -> None:
    """Metrics, gradient norm and trained weights, for parts of one task each and for uneven ones."""
    metrics, model = trained(objective, 100_000)
    for most in (1, 150):
        of_parts, model_of_parts = trained(objective, most)
        for whole, parts in zip(metrics, of_parts, strict=True):
            assert {name: value for name, value in parts.items() if name != "clipped_share"} == pytest.approx(
                {name: value for name, value in whole.items() if name != "clipped_share"}, rel=1e-5, abs=1e-7
            )
        for one, other in zip(model.network.parameters(), model_of_parts.network.parameters(), strict=True):
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_parts_keep_order_and_stay_within_the_budget() -> None:
    """Only an item that is larger by itself exceeds it."""
    assert in_parts([3, 3, 3, 9, 1, 1, 4], 6) == [[0, 1], [2], [3], [4, 5, 6]]


def test_the_reference_does_not_depend_on_its_parts() -> None:
    """One task at a time as all at once."""
    model = double_model()
    at_once, one_by_one = (refer(model, TASKS, most) for most in (100_000, 1))
    for task in TASKS:
        for one, other in zip(at_once[task.task_id], one_by_one[task.task_id], strict=True):
            assert torch.allclose(one, other, rtol=1e-6)


def test_dropout_is_on_only_while_training() -> None:
    """What the reference finds is the same when asked twice, also of a network that has dropout."""
    model = small.model()
    model.network.config.attention_dropout = 0.5
    for layer in model.network.model.layers:
        layer.self_attn.attention_dropout = 0.5
    asked = [refer(model, TASKS, 100_000)["task-3"][0] for _ in range(2)]
    assert torch.equal(asked[0], asked[1])
    model.network.train()
    sampled = [forward(model, TASKS).token_logps_PRS for _ in range(2)]
    assert not torch.equal(sampled[0], sampled[1])
