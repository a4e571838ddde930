"""A training that was interrupted, and one whose loss is no number."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainer import small
from trainer.checkpoint import Checkpoints
from trainer.errors import TrainingError
from trainer.forward import Loss
from trainer.language_model import LanguageModel
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Sft
from trainer.ranking import gold_only
from trainer.training import Schedule, train

EXAMPLES = [gold_only(f"task-{n}", f"def f{n}(x):\n", f"    return x * {n}\n") for n in range(8)]
LOSS = loss_of(Sft())


def schedule(*, skip_not_finite: int = 0) -> Schedule:
    return Schedule(
        epochs=2,
        batch_tasks=2,
        learning_rate=1e-2,
        warmup_steps=2,
        weight_decay=0.01,
        max_gradient_norm=1.0,
        micro_batch_tokens=4096,
        skip_not_finite=skip_not_finite,
        dropout=True,
    )


def model() -> LanguageModel:
    """With dropout, so that chance matters in every step."""
    made = small.model()
    made.network.config.attention_dropout = 0.2
    for layer in made.network.model.layers:
        layer.self_attn.attention_dropout = 0.2
    return made


def checkpoints(folder: Path, every_steps: int = 1) -> Checkpoints:
    return Checkpoints(path=folder / "checkpoint.pt", every_ms=10**9, every_steps=every_steps)


def weights(model: LanguageModel) -> list[torch.Tensor]:
    return [values.detach().clone() for values in model.network.parameters()]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("interrupted_at", [1, 7])
def test_a_continued_training_ends_with_the_same_bits(tmp_path: Path, interrupted_at: int) -> None:
    """In whichever step the process died: weights, optimizer, chance and batches go on as they would have."""
    whole = model()
    steps = list(train(whole, EXAMPLES, LOSS, schedule(), seed=3))
    for step in train(model(), EXAMPLES, LOSS, schedule(), seed=3, checkpoints=checkpoints(tmp_path)):
        if step["step"] == interrupted_at:
            break
    torch.rand(7)
    continued = model()
    left = list(train(continued, EXAMPLES, LOSS, schedule(), seed=3, checkpoints=checkpoints(tmp_path)))
    assert same(weights(continued), weights(whole))
    assert left == steps[interrupted_at:]


def test_the_chance_of_a_step_is_part_of_it() -> None:
    """The dropout of these tests does something: another seed ends elsewhere."""
    first, second = model(), model()
    for trained, seed in ((first, 1), (second, 2)):
        list(train(trained, EXAMPLES[:2], LOSS, schedule(), seed=seed))
    assert not same(weights(first), weights(second))


def test_a_checkpoint_is_due_by_steps_or_by_time(tmp_path: Path) -> None:
    """Never before the first step: there is nothing to keep."""
    time = [0.0]
    due = Checkpoints(path=tmp_path / "c", every_ms=2000, every_steps=5, now=lambda: time[0])
    assert [step for step in range(11) if due.is_due(step)] == [5, 10]
    time[0] = 2.0
    assert due.is_due(1)
    assert not due.is_due(0)


def test_a_loss_that_is_no_number_stops_and_keeps_good_weights(tmp_path: Path) -> None:
    """A learning rate beyond all measure, from the second step on, makes it happen; the message names cause and cure."""
    rising = replace(schedule(), learning_rate=1e30, falls_from=0.0, falls_to=1.0)
    wanted = r"step 2: the (loss|norm of the gradient) is (nan|inf).* Lower the learning rate, or set"
    with pytest.raises(TrainingError, match=wanted):
        list(train(model(), EXAMPLES, LOSS, rising, seed=3, checkpoints=checkpoints(tmp_path)))
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 1
    assert all(values.isfinite().all() and values.abs().max() < 10 for values in kept["weights"].values())


def broken_at(steps: set[int]) -> Loss:
    """A loss that overflows at some steps, counted from 0."""
    calls = iter(range(10**6))

    def loss(batch):
        value, metrics = LOSS(batch)
        return (value * torch.inf if next(calls) in steps else value), metrics

    return loss


def test_steps_without_a_number_are_left_out() -> None:
    """So many in a row as are allowed; the weights never learn of them."""
    trained = model()
    steps = list(train(trained, EXAMPLES, broken_at({2, 3, 6}), schedule(skip_not_finite=2), seed=3))
    assert {step["step"] for step in steps if step["skipped"]} == {2, 3, 6}
    assert all(values.isfinite().all() for values in weights(trained))


def test_more_of_them_in_a_row_stop_the_training() -> None:
    """Then leaving them out leads nowhere."""
    with pytest.raises(TrainingError, match="step 4"):
        list(train(model(), EXAMPLES, broken_at({2, 3, 4}), schedule(skip_not_finite=2), seed=3))
