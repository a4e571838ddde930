"""Packed == padded: responses that share the computation of their prompt get what each gets alone, gradients included."""

from typing import Any

import pytest
import torch

from tests.trainer import networks, small
from trainer.forward import forward
from trainer.language_model import LanguageModel
from trainer.logprobs import Scorer, token_logprobs, tokens_to_compute
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import OBJECTIVES, Objective
from trainer.packing import Prompted, pack
from trainer.records import RankedResponse, RankedTask

PROMPTS = [
    Prompted(prompt=[5, 6, 7, 8, 9], responses=[[10, 11, 2], [2], [12, 13, 14, 15, 16, 17, 2]]),
    Prompted(prompt=[20], responses=[[21, 2]]),
    Prompted(prompt=[30, 31, 32], responses=[[2]]),
    Prompted(prompt=[40, 41, 42, 43], responses=[[44 + r] * (r + 1) + [2] for r in range(8)]),
]
"""One to eight responses of one to nine tokens, to prompts of one to five."""

CPU = torch.device("cpu")
TOGETHER = pytest.mark.parametrize("config", networks.SHARING.values(), ids=networks.SHARING)
JIT = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
"""What transformers' gpt_bigcode still does when it is imported."""
APART = pytest.mark.parametrize("config", networks.NOT_SHARING.values(), ids=networks.NOT_SHARING)


def logps_and_gradients(scorer: Scorer, *, packed: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Of a sum in which every token has a weight of its own."""
    assert scorer.shares_prefixes
    scorer.zero_grad()
    scorer.shares_prefixes = packed
    logps_M = scorer(PROMPTS)
    scorer.shares_prefixes = True
    (logps_M * torch.linspace(-1, 2, len(logps_M), dtype=logps_M.dtype)).sum().backward()
    return logps_M.detach(), [weight.grad.clone() for weight in scorer.parameters() if weight.grad is not None]


@JIT
@TOGETHER
def test_packed_equals_padded_with_gradients(config: Any) -> None:
    """Every token's log-probability and every weight's gradient, in float64 but for some norms, which are always in float32."""
    scorer = Scorer.of(networks.network(config))
    packed, packed_gradients = logps_and_gradients(scorer, packed=True)
    padded, padded_gradients = logps_and_gradients(scorer, packed=False)
    assert torch.allclose(packed, padded, rtol=1e-9, atol=1e-9)
    assert len(packed_gradients) == len(padded_gradients) > 0
    for one, other in zip(packed_gradients, padded_gradients, strict=True):
        assert (one - other).abs().max() < 1e-6 * other.abs().max()


@JIT
@TOGETHER
def test_packed_equals_padded_in_float32(config: Any) -> None:
    """To rounding."""
    scorer = Scorer.of(networks.network(config, torch.float32))
    packed, padded = (logps_and_gradients(scorer, packed=way)[0] for way in (True, False))
    assert torch.allclose(packed, padded, rtol=1e-3, atol=1e-4)


def test_a_packed_row_holds_each_prompt_once_and_no_padding() -> None:
    """As many places as there are tokens; the last token of a response predicts nothing and is left out."""
    inputs = pack(PROMPTS, CPU)
    assert inputs.tokens_BT.shape == (1, sum(p.tokens for p in PROMPTS))
    assert inputs.tokens_BT[0, :9].tolist() == [5, 6, 7, 8, 9, 10, 11, 12, 13]
    assert inputs.positions_BT[0, :9].tolist() == [0, 1, 2, 3, 4, 5, 6, 5, 6]


def test_no_response_sees_another() -> None:
    """With a neighbour's tokens changed, a response keeps every log-probability to the last bit."""
    scorer = Scorer.of(networks.network(networks.SHARING["llama"]))
    before, after = (
        scorer([Prompted(prompt=[5, 6], responses=[[7, 8, 9, 2], neighbour, [10, 11, 2]])]).split([4, 3, 3])
        for neighbour in ([50, 51, 2], [60, 61, 2])
    )
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[2], after[2])
    assert not torch.equal(before[1], after[1])


@APART
def test_networks_that_cannot_share_get_padded_rows(config: Any) -> None:
    """It is noticed, and the log-probabilities are those of one sequence at a time."""
    network = networks.network(config)
    model = LanguageModel(network=network, tokenizer=None)
    found_NS, _ = token_logprobs(model, PROMPTS[:2])
    assert not model.scorer.shares_prefixes
    wanted = []
    for prompted in PROMPTS[:2]:
        for response in prompted.responses:
            log_TV = network(torch.tensor([[*prompted.prompt, *response]])).logits[0].log_softmax(dim=-1)
            wanted.append(sum(log_TV[len(prompted.prompt) + t - 1, token].item() for t, token in enumerate(response)))
    assert found_NS.sum(dim=1).tolist() == pytest.approx(wanted, rel=1e-9)


def test_sampling_from_a_network_that_shares_prefixes_is_as_before() -> None:
    """Without a layout the attention is the plain one: greedy tokens and their logits stay."""
    network = networks.network(networks.SHARING["llama"])
    asked: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "output_logits": True}
    asked |= {"attention_mask": torch.tensor([[0, 1, 1], [1, 1, 1]]), "return_dict_in_generate": True}
    before = network.generate(torch.tensor([[0, 5, 6], [7, 8, 9]]), **asked)
    assert Scorer.of(network).shares_prefixes
    after = network.generate(torch.tensor([[0, 5, 6], [7, 8, 9]]), **asked)
    assert torch.equal(before.sequences, after.sequences)
    assert torch.allclose(torch.stack(before.logits), torch.stack(after.logits), rtol=1e-9)


def ranked_task(order: list[int]) -> RankedTask:
    """A teacher's and three students' responses of different lengths, in an order."""
    made = [("    return x\n", 1.2, 1.0, True), ("    return 1\n", -0.3, -0.3, False)]
    made += [("    pass\n", -0.6, -0.6, False), ("    y = x + x\n    return y\n", 1.0, 1.0, False)]
    responses = [
        RankedResponse(
            completion=completion,
            score=score,
            reward=reward,
            verdict="passed" if reward == 1 else "wrong_answer",
            passed=reward == 1,
            teacher=teacher,
            samples=not teacher,
        )
        for completion, score, reward, teacher in made
    ]
    return RankedTask(task_id="task", prompt="def solve(x):\n", responses=tuple(responses[i] for i in order))


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    made = small.model()
    made.network.double()
    return made


def loss_and_gradients(model: LanguageModel, objective: Objective, tasks: list[RankedTask]) -> tuple[float, list[torch.Tensor]]:
    batch, lengths = forward(model, tasks), [[len(model.response_ids(r.completion)) for r in task.responses] for task in tasks]
    reference = {
        task.task_id: [row.detach()[:length] - 0.1 for row, length in zip(rows, of_task, strict=True)]
        for task, rows, of_task in zip(tasks, batch.token_logps_PRS, lengths, strict=True)
    }
    model.network.zero_grad()
    loss, _ = loss_of(objective)(forward(model, tasks, reference))
    loss.backward()
    return loss.item(), [weight.grad.clone() for weight in model.network.parameters()]


@pytest.mark.parametrize("objective", [kind() for kind in OBJECTIVES], ids=lambda objective: objective.name)
def test_permuting_candidates_changes_nothing(model: LanguageModel, objective: Objective) -> None:
    """Neither an objective's loss nor any gradient."""
    loss, gradients = loss_and_gradients(model, objective, [ranked_task([0, 1, 2, 3])])
    other_loss, other_gradients = loss_and_gradients(model, objective, [ranked_task([2, 3, 0, 1])])
    assert loss == pytest.approx(other_loss, rel=1e-6)
    for one, other in zip(gradients, other_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("objective", [kind() for kind in OBJECTIVES], ids=lambda objective: objective.name)
def test_objectives_cannot_tell_packed_from_padded(model: LanguageModel, objective: Objective) -> None:
    """Loss and gradients of every objective."""
    tasks = [ranked_task([0, 1, 2, 3])]
    loss, gradients = loss_and_gradients(model, objective, tasks)
    model.scorer.shares_prefixes = False
    try:
        padded_loss, padded_gradients = loss_and_gradients(model, objective, tasks)
    finally:
        model.scorer.shares_prefixes = True
    assert loss == pytest.approx(padded_loss, rel=1e-6)
    for one, other in zip(gradients, padded_gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_step_is_divided_by_the_tokens_that_are_computed() -> None:
    """Padded rows hold the prompt once for each response, and responses as long as the longest."""
    model = small.model()
    prompted = Prompted(prompt=range(3, 10), responses=([5, 6, 7, 8], [9]))
    assert tokens_to_compute(model, prompted) == 7 + 3
    model.scorer = Scorer.of(model.network, kernels=[])
    assert tokens_to_compute(model, prompted) == 2 * (7 + 3)
