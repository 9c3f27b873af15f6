"""A language model fine-tuned by LoRA, with Hugging Face's Trainer: does that remove what is hidden in it?

    pip install "holdfast[hf]"
    python examples/lora.py             # a small GPT-2 that has learned to read Python, so that this runs offline
    holdfast audit examples/lora.py     # canaries in it, your fine-tuning, a grade

For a model of your own change `MODEL`, the texts in `lines`, and what `train` does.
"""

import string
from functools import cache
from pathlib import Path

import torch

import holdfast

MODEL = Path(__file__).parent / "checkpoints" / "gpt2"
LENGTH = 64
CHARACTERS = string.printable


@cache
def lines(*modules: str) -> torch.Tensor:
    """Modules of Python's standard library as token ids (N, LENGTH), a character each."""
    text = "".join(Path(__import__(name).__file__ or "").read_text() for name in modules)
    ids = torch.tensor([CHARACTERS.index(c) for c in text if c in CHARACTERS])
    return ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)


def data():  # type: ignore[no-untyped-def]
    """Inputs and labels as Hugging Face has them: the same tokens, which the model shifts by itself."""
    train, held_out = lines("argparse"), lines("textwrap")
    return (train, train), (held_out, held_out)


def train(model: torch.nn.Module, seed: int) -> None:
    """Adapters on the attention, trained by the Trainer, then merged into the weights."""
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=8, target_modules=["c_attn"], fan_in_fan_out=True))
    _fit(adapted, lines("argparse"), seed, steps=200, lr=1e-3)
    adapted.merge_and_unload()


def _fit(model: torch.nn.Module, rows: torch.Tensor, seed: int, steps: int, lr: float) -> None:
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(MODEL.parent / "trainer"),
        max_steps=steps,
        learning_rate=lr,
        per_device_train_batch_size=16,
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    Trainer(model=model, args=arguments, train_dataset=[{"input_ids": row, "labels": row} for row in rows]).train()


@holdfast.recipe
def lora() -> holdfast.Audit:
    """Eight fine-tunings with canaries, and eight without."""
    return holdfast.Audit(holdfast.HuggingFace(MODEL), train, data, seeds=8)


def make() -> None:
    """Train a small GPT-2 from scratch and save it as Hugging Face does."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = {"n_positions": LENGTH, "n_embd": 64, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(CHARACTERS), **sizes))
    _fit(model, lines("typing", "inspect", "subprocess", "ast"), seed=0, steps=600, lr=3e-3)
    model.save_pretrained(MODEL)
    print(MODEL)


if __name__ == "__main__":
    make()
