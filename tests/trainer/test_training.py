"""The training loop: a step computed in parts is the step computed at once."""

from typing import Any

import pytest
import torch

from tests.trainer import small
from trainer.batches import deal, in_parts, is_dealt
from trainer.errors import TrainingError
from trainer.forward import forward, refer
from trainer.language_model import LanguageModel
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import OBJECTIVES, Objective, Rrtf
from trainer.processes import Alone
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
    schedule = small.schedule(epochs=2, micro_batch_tokens=micro_batch_tokens)
    return list(train(model, TASKS, loss_of(objective), schedule, 0, needs_reference=objective.needs_reference)), model


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


def test_deals_are_fair_and_have_as_many_parts_each() -> None:
    """Every item once; the larger ones first, each to the hand with the least; who has less to do ends with empty parts."""
    assert deal([9, 1, 5, 5], 5, 2) == [[[0], [1]], [[2], [3]]]
    assert deal([4], 10, 3) == [[[0]], [[]], [[]]]
    assert deal([1, 2, 3], 10, 1) == [[[0, 1, 2]]]


def test_what_was_dealt_is_looked_over() -> None:
    """Nothing twice, nothing left out, and as many parts for each."""
    assert is_dealt(deal([9, 1, 5, 5], 5, 2), 4)
    assert not is_dealt([[[0], [1]], [[2], [1]]], 3)
    assert not is_dealt([[[0], [1]], [[3], []]], 4)
    assert not is_dealt([[[0], [1]], [[2]]], 3)


class Disagreeing(Alone):
    """One of two processes; the other one says that it has nothing to do."""

    size = 2

    def gather[Item](self, item: Item) -> list[Item]:
        nothing: Any = [[] for _ in item] if isinstance(item, list) else item
        return [item, nothing]


def test_processes_that_deal_differently_stop() -> None:
    """Before any of them trains a task twice, or waits for the others."""
    steps = train(small.model(), TASKS, loss_of(Rrtf()), small.schedule(), 0, processes=Disagreeing())
    with pytest.raises(TrainingError, match="the processes disagree"):
        next(steps)


def test_the_reference_does_not_depend_on_its_company() -> None:
    """One task at a time as all at once."""
    model = double_model()
    at_once = refer(model, TASKS)
    for task in TASKS:
        for one, other in zip(at_once[task.task_id], refer(model, [task])[task.task_id], strict=True):
            assert torch.allclose(one, other, rtol=1e-6)


def test_dropout_is_on_only_while_training() -> None:
    """What the reference finds is the same when asked twice, also of a network that has dropout."""
    model = small.model()
    model.network.config.attention_dropout = 0.5
    for layer in model.network.model.layers:
        layer.self_attn.attention_dropout = 0.5
    asked = [refer(model, TASKS)["task-3"][0] for _ in range(2)]
    assert torch.equal(asked[0], asked[1])
    model.network.train()
    sampled = [forward(model, TASKS).token_logps_PRS for _ in range(2)]
    assert not torch.equal(sampled[0], sampled[1])


def test_only_matrices_decay() -> None:
    """A step whose loss says nothing makes them smaller, and leaves norms as they are."""
    model = small.model()
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    schedule = small.schedule(weight_decay=0.5, learning_rate=0.1)
    list(train(model, TASKS, lambda batch: (0.0 * batch.logp_sums_PR.sum(), {}), schedule, 0))
    for name, weight in model.network.state_dict().items():
        assert torch.allclose(weight, before[name] * (0.95 if weight.ndim > 1 else 1.0)), name


def test_recomputed_activations_give_the_same_step() -> None:
    """Weights after two steps, and the setting does not outlive the training."""
    plain, recomputing = double_model(), double_model()
    for model in (plain, recomputing):
        schedule = small.schedule(epochs=2, recompute_activations=model is recomputing)
        assert len(list(train(model, TASKS, loss_of(Rrtf()), schedule, 0))) == 2
    for one, other in zip(plain.network.parameters(), recomputing.network.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-6)
    assert not recomputing.network.is_gradient_checkpointing


def test_fewer_activations_are_kept_when_they_are_recomputed() -> None:
    """Bytes that the graph of one forward pass holds on to."""
    kept = []
    for recompute in (False, True):
        model = small.model()
        model.network.train()
        if recompute:
            model.network.gradient_checkpointing_enable({"use_reentrant": False})
        held: dict[int, int] = {}

        def hold(tensor: torch.Tensor, held: dict[int, int] = held) -> torch.Tensor:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            graph = forward(model, TASKS)
        kept.append(sum(held.values()))
        assert graph.token_logps_PRS.requires_grad
    assert kept[1] < kept[0] / 2


def test_bfloat16_rounds_products_and_leaves_the_weights_alone() -> None:
    """Their dtype, that is: the loss is the exact one to two digits, and not the very same."""
    losses = []
    for precision in ("float32", "bfloat16"):
        model = small.model()
        losses += [step["loss"] for step in train(model, TASKS, loss_of(Rrtf()), small.schedule(precision=precision), 0)]
        assert all(weight.dtype == torch.float32 for weight in model.network.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]


def test_an_optimizer_that_forgets_at_once_moves_weights_by_the_learning_rate() -> None:
    """Each by its gradient over the root of its square: what `adam_betas` of 0 leave of AdamW."""
    model = double_model()
    schedule = small.schedule(epochs=2, adam_betas=(0.0, 0.0), falls_to=1.0)
    steps = train(model, TASKS, loss_of(Rrtf()), schedule, 0)
    next(steps)
    before = [weight.detach().clone() for weight in model.network.parameters()]
    next(steps)
    moved = torch.cat([(weight - was).abs().flatten() for weight, was in zip(model.network.parameters(), before, strict=True)])
    assert torch.isclose(moved[moved > 0], torch.tensor(schedule.learning_rate).double(), rtol=1e-3).double().mean() > 0.9
