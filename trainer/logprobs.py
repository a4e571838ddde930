"""How likely a model finds given responses: a log-probability for each of their tokens."""

import torch
from torch.nn.functional import cross_entropy

from trainer.batches import Rows
from trainer.language_model import LanguageModel


def token_logprobs(model: LanguageModel, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """log P(y_t | x, y_<t) of response tokens, shape (N, S), and the number of those tokens, shape (N,).

    Padding has 0 and does not count. Logits exist for the response columns only.
    """
    columns = rows.responses_NS.shape[1]
    positions_NT = (rows.attended_NT.cumsum(dim=1) - 1).clamp(min=0)
    output = model.network(
        input_ids=rows.tokens_NT,
        attention_mask=rows.attended_NT,
        position_ids=positions_NT,
        use_cache=False,
        logits_to_keep=columns + 1,
    )
    logits_NSV = output.logits[:, :-1].float()
    losses_NS = cross_entropy(logits_NSV.flatten(0, 1), rows.responses_NS.flatten(), reduction="none").view_as(rows.responses_NS)
    return -losses_NS * rows.counted_NS, rows.counted_NS.sum(dim=1)
