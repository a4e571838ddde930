"""The model's own dropout is off in a training that does not ask for it, whatever its family calls it."""

import copy

import pytest
import torch
from transformers import PreTrainedConfig

from tests.trainer import networks, small
from tests.trainer.test_training import TASKS
from trainer import lora
from trainer.dropout import switch_off
from trainer.language_model import LanguageModel
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Sft
from trainer.recipe import Lora
from trainer.training import train

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # of GPTBigCode

FAMILIES = {**networks.SHARING, **networks.NOT_SHARING}
IDS = torch.arange(1, 25)[None]


def dropping(family: str) -> LanguageModel:
    """A network that leaves out half of everything that its family can."""
    config: PreTrainedConfig = copy.deepcopy(FAMILIES[family])
    for key in vars(config):
        if "dropout" in key or key.endswith("pdrop"):
            setattr(config, key, 0.5)
    return LanguageModel(network=networks.network(config).train(), tokenizer=small.model().tokenizer)


def answers_alike(model: LanguageModel) -> bool:
    return torch.equal(model.network(IDS).logits, model.network(IDS).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_off_in_networks_of_any_family(family: str) -> None:
    """Two answers while it trains differ before and do not after; what is saved with it is what it came with."""
    model = dropping(family)
    assert not answers_alike(model)
    before = model.network.config.to_dict()
    switch_off(model.network)
    assert answers_alike(model)
    assert model.network.config.to_dict() == before


def test_adapters_keep_theirs() -> None:
    """It is a setting of their own."""
    model = dropping("starcoder2")
    lora.attach(model, Lora(rank=4, dropout=0.5), seed=0)
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if "lora_B" in name:  # adapters begin with nothing to say
                weight.fill_(0.1)
    switch_off(model.network)
    assert not answers_alike(model.network.train() and model)


@pytest.mark.parametrize("asked", [False, True])
def test_a_training_asks_for_it_or_goes_without(asked: bool) -> None:
    """Two trainings with other chances come to the same end without it."""
    ends = []
    for seed in (1, 2):
        model = dropping("starcoder2")
        list(train(model, TASKS, loss_of(Sft()), small.schedule(dropout=asked), seed))
        ends.append(model.network.lm_head.weight)
    assert torch.equal(*ends) is not asked
