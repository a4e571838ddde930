"""How likely a model finds given responses: a log-probability for each of their tokens.

A network computes in short ways where it can: packed rows (see trainer.packing), and log-probabilities straight from the hidden
states (see trainer.likelihood). Whether it can is found out once, on a few made-up tokens, by comparing with the long way: padded
rows, and the logits as the network itself makes them.
Shape letters: M response tokens of all responses; N responses, S columns; H hidden size, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from trainer import attention
from trainer.language_model import LanguageModel
from trainer.likelihood import likelihoods
from trainer.packing import Inputs, Prompted, pack, pad
from trainer.recipe import Precision

_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
_TOLERANCE_OF_HALVES = 0.1
_TOLERANCE_OF_HIDDEN_HALVES = 1e-2
"""Computed twice in the same way: what is looked for is a factor."""
_EXAMPLE = Prompted(prompt=range(3, 10), responses=([5, 6, 7, 8], [9], [4, 5]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortcuts:
    """The short ways that a network can take."""

    skips_logits: bool
    kernel: str | None
    """What attends in packed rows (see trainer.attention); None: rows are padded."""


class Scorer(torch.nn.Module):
    """A network that gives log-probabilities instead of logits. What is wrapped for several processes is this, as a whole."""

    def __init__(self, network: Any, shortcuts: Shortcuts) -> None:
        super().__init__()
        self.network, self.shortcuts = network, shortcuts
        self.skips_logits, self.shares_prefixes = shortcuts.skips_logits, shortcuts.kernel is not None
        if shortcuts.kernel:
            network.set_attn_implementation(shortcuts.kernel)

    @classmethod
    def of(cls, network: Any, kernels: Sequence[str] | None = None) -> "Scorer":
        """Looks for shortcuts first. `kernels` are tried in turn, by default those of the device; [] leaves rows padded."""
        chosen = attention.kernels(network.device) if kernels is None else kernels
        skips = can_skip_logits(network)
        kernel = next((kernel for kernel in chosen if can_share_prefixes(network, kernel, skips_logits=skips)), None)
        return cls(network, Shortcuts(skips_logits=skips, kernel=kernel))

    def forward(self, prompts: Sequence[Prompted]) -> torch.Tensor:
        """log P(y_t | x, y_<t) of the response tokens, shape (M,)."""
        arrange = pack if self.shares_prefixes else pad
        return _compute(self.network, arrange(prompts, self.network.device), skips_logits=self.skips_logits)


def token_logprobs(
    model: LanguageModel, prompts: Sequence[Prompted], precision: Precision = "float32"
) -> tuple[torch.Tensor, torch.Tensor]:
    """log P(y_t | x, y_<t) of response tokens, shape (N, S), 0 after their end; and the number of those tokens, shape (N,)."""
    scorer = scorer_of(model)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        logps_M = scorer(prompts)
    lengths = [len(response) for prompted in prompts for response in prompted.responses]
    return pad_sequence(list(logps_M.split(lengths)), batch_first=True), torch.tensor(lengths, device=model.device).float()


def scorer_of(model: LanguageModel) -> torch.nn.Module:
    """The model's scorer, made when it is first asked for."""
    if model.scorer is None:
        model.scorer = Scorer.of(model.network)
    scorer: torch.nn.Module = model.scorer
    return scorer


def tokens_to_compute(model: LanguageModel, prompted: Prompted) -> int:
    """What a prompt with its responses takes of a forward pass, the way the model's scorer arranges them."""
    scorer: Any = scorer_of(model)
    return prompted.tokens if getattr(scorer, "module", scorer).shares_prefixes else prompted.padded_tokens


def can_skip_logits(network: Any) -> bool:
    """Whether the logits are one plain linear layer on the hidden states: nothing scales, caps or adapts them.

    What follows the layer has to leave logits alone that are made up, so that it shows whatever the weights and their dtype:
    a cap does nothing to small ones.
    """
    if type(network.get_output_embeddings()) is not torch.nn.Linear:
        return False
    given = _given(pad([_EXAMPLE], network.device))
    with _probing(network):
        hidden = network.base_model(**given).last_hidden_state
        with _made_up_logits(network.get_output_embeddings()) as seen:
            logits = network(**given).logits
    if len(seen) != 1 or seen[0][0].shape != hidden.shape:
        return False
    [(taken, made_up)] = seen
    share = _TOLERANCES.get(network.dtype, _TOLERANCE_OF_HIDDEN_HALVES)
    return torch.equal(logits.to(made_up.dtype), made_up) and bool((taken - hidden).abs().max() <= share * hidden.abs().max())


def can_share_prefixes(network: Any, kernel: str, *, skips_logits: bool) -> bool:
    """Whether packed rows give what padded ones do with that kernel.

    Layers that see only the last tokens are left to the network: the layout knows no such window.
    """
    before, config = network.config._attn_implementation, network.config.get_text_config()  # noqa: SLF001 # there is no public name
    window = getattr(config, "sliding_window", None)
    if before not in ("sdpa", attention.FLEX, attention.SDPA) or (window and window < config.max_position_embeddings):
        return False
    with _probing(network):
        wanted = _compute(network, pad([_EXAMPLE], network.device), skips_logits=skips_logits)
        network.set_attn_implementation(kernel)
        try:
            found = _compute(network, pack([_EXAMPLE], network.device), skips_logits=skips_logits)
        except (TypeError, ValueError, RuntimeError):  # it does not know what to do with a layout
            found = torch.full_like(wanted, torch.nan)
        finally:
            network.set_attn_implementation(before)
    return _agree(found, wanted, network.dtype)


@contextmanager
def _made_up_logits(head: torch.nn.Linear) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Has the layer answer with logits from -100 to 100; each time, what it was given and what it answered."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def answer(_: torch.nn.Module, given: tuple[torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
        made_up = torch.linspace(-100, 100, logits.numel(), device=logits.device).view_as(logits).to(logits.dtype)
        seen.append((given[0], made_up))
        return made_up

    hook = head.register_forward_hook(answer)
    try:
        yield seen
    finally:
        hook.remove()


@contextmanager
def _probing(network: Any) -> Iterator[None]:
    """Without gradients and without dropout."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        yield
    network.train(was_training)


def _agree(found: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype) -> bool:
    tolerance = _TOLERANCES.get(dtype, _TOLERANCE_OF_HALVES)
    return torch.allclose(found, wanted, rtol=tolerance, atol=tolerance)


def _given(inputs: Inputs) -> dict[str, Any]:
    """What a network is called with."""
    given: dict[str, Any] = {"input_ids": inputs.tokens_BT, "position_ids": inputs.positions_BT, "use_cache": False}
    given["attention_mask"] = inputs.attended_BT
    if inputs.layout is not None:  # transformers hands masks of four dimensions on as they are; the layout stands for it
        given["attention_mask"] = inputs.tokens_BT.new_ones(1, 1, 1, 1, dtype=torch.bool)
        given["shared_prefix"] = inputs.layout
    return given


def _compute(network: Any, inputs: Inputs, *, skips_logits: bool) -> torch.Tensor:
    given = _given(inputs)
    if skips_logits:
        head = network.get_output_embeddings()
        hidden_MH = network.base_model(**given).last_hidden_state.flatten(0, 1)[inputs.sources_M]
        return likelihoods(hidden_MH, head.weight, head.bias, inputs.targets_M)
    logits_MV = network(**given).logits.flatten(0, 1)[inputs.sources_M]
    return -cross_entropy(logits_MV.to(torch.promote_types(logits_MV.dtype, torch.float32)), inputs.targets_M, reduction="none")
