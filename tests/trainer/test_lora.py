"""Adapters: nothing else is trained, and what is saved is a plain model that anything loads."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel

from tests.trainer import small
from tests.trainer.test_training import TASKS
from trainer import lora
from trainer.errors import ModelError
from trainer.forward import forward
from trainer.language_model import LanguageModel, load
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Rrtf
from trainer.recipe import Lora
from trainer.training import train


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    small.model().save(folder)
    return folder


def trained(source: Path, settings: Lora) -> LanguageModel:
    model = load(source)
    lora.attach(model, settings, seed=1)
    assert len(list(train(model, TASKS, loss_of(Rrtf()), small.schedule(epochs=3), 0))) == 3
    return model


def logps(model: LanguageModel) -> torch.Tensor:
    model.network.eval()
    return forward(model, TASKS).token_logps_PRS.detach()


def test_adapters_change_nothing_until_they_are_trained(source: Path) -> None:
    """And the network still shares prefixes and skips logits."""
    model = load(source)
    before = logps(model)
    lora.attach(model, Lora(rank=4), seed=1)
    assert torch.equal(logps(model), before)
    assert model.scorer.shares_prefixes
    assert model.scorer.skips_logits


def test_only_adapters_are_trained(source: Path) -> None:
    """Every weight of the source stays as it was, to the last bit, and the model has changed all the same."""
    model = trained(source, Lora(rank=4))
    weights = {
        name.replace(".base_layer", ""): weight for name, weight in model.network.named_parameters() if "lora_" not in name
    }
    for name, weight in load(source).network.named_parameters():
        assert torch.equal(weights[name], weight)
    assert not torch.allclose(logps(model), logps(load(source)), atol=1e-2)


def test_the_merged_model_is_the_adapted_one(source: Path, tmp_path: Path) -> None:
    """In memory, saved and loaded as a plain model, and as the source with the saved adapter on top."""
    model = trained(source, Lora(rank=4, dropout=0.1, target_modules=("q_proj", "v_proj")))
    wanted = logps(model)
    lora.merge(model, tmp_path / "adapter")
    model.save(tmp_path)
    again = load(source)
    again.network = PeftModel.from_pretrained(again.network, str(tmp_path / "adapter")).merge_and_unload()
    for found in (model, load(tmp_path), again):
        assert torch.allclose(logps(found), wanted, atol=1e-4)
    assert all(weight.requires_grad for weight in model.network.parameters())


def test_adapters_of_the_head_count_where_the_model_was_asked_before(source: Path) -> None:
    """As if it had not been: its log-probabilities came straight from the plain head."""
    model = load(source)
    model.network.config.tie_word_embeddings = False
    model.network.lm_head.weight = torch.nn.Parameter(model.network.lm_head.weight.detach().clone())
    before = logps(model)
    lora.attach(model, Lora(rank=4, target_modules=("lm_head",)), seed=1)
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    assert not torch.allclose(logps(model), before, atol=1e-2)


def test_unknown_layers_are_named_in_one_line(source: Path) -> None:
    """By the key to mend."""
    with pytest.raises(ModelError, match=r"^lora\.target_modules: .*no_such_layer") as raised:
        lora.attach(load(source), Lora(rank=4, target_modules=("no_such_layer",)), seed=1)
    assert "\n" not in str(raised.value)
