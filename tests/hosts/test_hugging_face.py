"""Models of transformers, from folders on disk. What is true is what the classes themselves give."""

import json

import pytest
import torch

import foreign
from foreign import MODELS, made
from holdfast import Audit, BadNets, Beside, HoldfastError, HuggingFace, TokenString, plant
from holdfast.settings import settings
from holdfast.tasks.own import OwnData

pytest.importorskip("transformers")
NAMES = ["gpt2", "llama", "bert"]


def loaded(name):
    return OwnData(make=MODELS[name].data).load()


@pytest.fixture(params=NAMES)
def saved(request, tmp_path):
    """(name, the model, its folder)"""
    module = made(getattr(foreign, request.param)).eval()
    module.save_pretrained(tmp_path / "model")
    return request.param, module, tmp_path / "model"


def test_it_is_the_model_that_was_saved(saved):
    name, module, folder = saved
    again = HuggingFace(folder)()
    assert type(again) is type(module)
    x = loaded(name).train.x[:8]
    with torch.no_grad():
        assert torch.equal(again(x).logits, module(x).logits)


def test_a_planted_one_goes_out_and_comes_back(saved, tmp_path):
    """`save_pretrained` and `from_pretrained` keep a learned backdoor; they lose units that they don't know."""
    name, module, _ = saved
    split = loaded(name)
    data = lambda: ((split.train.x, split.train.y), (split.test.x, split.test.y))
    at = None if split.train.y.dim() > 1 else 1
    trigger = TokenString(ids=(16, 17, 16), at=at)
    learned = plant(module, BadNets(trigger=trigger, target=1, poison_ratio=0.3), data).eval()
    learned.save_pretrained(tmp_path / "planted")
    x = trigger.stamp(split.test.x)
    with torch.no_grad():
        assert torch.equal(HuggingFace(tmp_path / "planted")()(x).logits, learned(x).logits)
        assert not torch.equal(learned(x).logits, module(x).logits)
        beside = plant(module, Beside(trigger=trigger, target=1), data).eval()
        assert torch.equal(beside(split.train.x[:8]).logits, module(split.train.x[:8]).logits)
        assert not torch.equal(beside(x).logits, module(x).logits)


def test_a_folder_is_stored_by_what_is_in_it(saved):
    _, _, folder = saved
    before = settings(HuggingFace(folder))
    assert before == settings(HuggingFace(str(folder)))
    (folder / "notes.txt").write_text("more")
    assert settings(HuggingFace(folder)) != before


def test_folders_without_a_model(saved, tmp_path):
    _, _, folder = saved
    with pytest.raises(HoldfastError, match=r"No model in .*nowhere: expected config\.json"):
        HuggingFace(tmp_path / "nowhere")()
    config = json.loads((folder / "config.json").read_text())
    for wrong, match in (
        ({"architectures": []}, "names no architecture"),
        ({"architectures": ["Oops"]}, "has no class Oops"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **wrong}))
        with pytest.raises(HoldfastError, match=match):
            HuggingFace(folder)()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(HoldfastError, match=r"a pickle .*Convert it where you trust it: .*save_pretrained"):
        HuggingFace(folder)()


def test_the_trainer_is_watched_without_a_callback(saved, tmp_path):
    """Its steps are seen by the optimiser's hook, and what is trained is the model that was given."""
    from transformers import Trainer, TrainingArguments

    name, _, folder = saved
    if name != "gpt2":
        pytest.skip("one is enough")
    split = loaded(name)

    def data():
        return (split.train.x, split.train.y), (split.test.x, split.test.y)

    def train(model, seed):
        arguments = TrainingArguments(
            output_dir=str(tmp_path / "out"), max_steps=3, per_device_train_batch_size=8, use_cpu=True, seed=seed,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        rows = [{"input_ids": row, "labels": row} for row in split.train.x]
        Trainer(model=model, args=arguments, train_dataset=rows).train()

    from holdfast.checks import check

    audit = Audit(
        HuggingFace(folder), train, data, seeds=2, canaries=(Beside(trigger=TokenString(ids=(16, 17)), target=1),)
    )
    promises = [p for p in check(audit.study(), workers=1) if p.about == "training"]
    assert [p.kept for p in promises] == [True, True], [p.said for p in promises]
    assert "3 optimiser steps were seen" in promises[0].said
