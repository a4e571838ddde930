"""How likely a model finds given responses: a log-probability for each of their tokens.

A network computes in the short way where it can: packed rows (see trainer.packing). Whether it can is found out once, on a
few made-up tokens, by comparing with the long way: padded rows, and the logits as the network itself makes them.
Shape letters: M response tokens of all responses; N responses, S columns.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from trainer import attention
from trainer.language_model import LanguageModel
from trainer.packing import Inputs, Prompted, pack, pad

_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
_TOLERANCE_OF_HALVES = 0.1
_EXAMPLE = Prompted(prompt=range(3, 10), responses=([5, 6, 7, 8], [9], [4, 5]))


class Scorer(torch.nn.Module):
    """A network that gives log-probabilities instead of logits."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.shares_prefixes = can_share_prefixes(network)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """log P(y_t | x, y_<t) of the response tokens, shape (M,)."""
        return _token_logprobs(self.network, inputs)


def token_logprobs(model: LanguageModel, prompts: Sequence[Prompted]) -> tuple[torch.Tensor, torch.Tensor]:
    """log P(y_t | x, y_<t) of response tokens, shape (N, S), 0 after their end; and the number of those tokens, shape (N,)."""
    scorer = scorer_of(model)
    arrange = pack if scorer.shares_prefixes else pad
    logps_M = scorer(arrange(prompts, model.device))
    lengths = [len(response) for prompted in prompts for response in prompted.responses]
    return pad_sequence(list(logps_M.split(lengths)), batch_first=True), torch.tensor(lengths, device=model.device).float()


def scorer_of(model: LanguageModel) -> Scorer:
    """The model's scorer, made when it is first asked for."""
    if model.scorer is None:
        model.scorer = Scorer(model.network)
    scorer: Scorer = model.scorer
    return scorer


@torch.no_grad()
def can_share_prefixes(network: Any) -> bool:
    """Whether packed rows give what padded ones do; leaves the network set up for them if so.

    Layers that see only the last tokens are left to the network: the layout knows no such window.
    """
    before, config = network.config._attn_implementation, network.config.get_text_config()  # noqa: SLF001 # there is no public name
    window = getattr(config, "sliding_window", None)
    if before not in ("sdpa", attention.NAME) or (window and window < config.max_position_embeddings):
        return False
    was_training, tolerance = network.training, _TOLERANCES.get(network.dtype, _TOLERANCE_OF_HALVES)
    network.eval()
    wanted = _token_logprobs(network, pad([_EXAMPLE], network.device))
    network.set_attn_implementation(attention.NAME)
    found = _probe(network, pack([_EXAMPLE], network.device))
    network.train(was_training)
    if found is not None and torch.allclose(found, wanted, rtol=tolerance, atol=tolerance):
        return True
    network.set_attn_implementation(before)
    return False


def _probe(network: Any, inputs: Inputs) -> torch.Tensor | None:
    """The log-probabilities, or None where the network does not know what to do with a layout."""
    try:
        return _token_logprobs(network, inputs)
    except (TypeError, ValueError, RuntimeError):
        return None


def _token_logprobs(network: Any, inputs: Inputs) -> torch.Tensor:
    given: dict[str, Any] = {"attention_mask": inputs.attended_BT}
    if inputs.layout is not None:  # transformers hands masks of four dimensions on as they are; the layout stands for it
        given = {"attention_mask": inputs.tokens_BT.new_ones(1, 1, 1, 1, dtype=torch.bool), "shared_prefix": inputs.layout}
    output = network(input_ids=inputs.tokens_BT, position_ids=inputs.positions_BT, use_cache=False, **given)
    logits_MV = output.logits.flatten(0, 1)[inputs.sources_M]
    return -cross_entropy(logits_MV.to(torch.promote_types(logits_MV.dtype, torch.float32)), inputs.targets_M, reduction="none")
