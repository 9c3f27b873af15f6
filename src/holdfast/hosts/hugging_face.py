"""A Hugging Face model in a folder on disk, as the function that builds it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from holdfast.errors import HoldfastError


@dataclass(frozen=True)
class HuggingFace:
    """`build` for an audit: the model that `save_pretrained` wrote into a folder, of the class its config names.

        Audit(HuggingFace("my-model"), train, data)

    Read from disk only: nothing is looked up on a hub, and no code that comes with a model is run. Weights must be
    safetensors. It comes in evaluation mode, as `from_pretrained` gives it; a Trainer sets the mode itself.
    """

    folder: str | Path
    architecture: str | None = None
    """A class of transformers, such as "LlamaForCausalLM". None: the first that the folder's config.json names."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    @property
    def __name__(self) -> str:
        return Path(self.folder).name

    def __call__(self) -> nn.Module:
        """Load it.

        Raises:
            HoldfastError: transformers is not installed, no model in the folder, or one that can't be read safely.
        """
        try:
            import transformers
        except ImportError:
            raise HoldfastError(
                'Hugging Face models need transformers. Install it: pip install "holdfast[hf]"'
            ) from None
        folder = Path(self.folder)
        name = self.architecture or self._named(folder)
        kind: Any = getattr(transformers, name, None)
        if kind is None:
            raise HoldfastError(f"transformers {transformers.__version__} has no class {name}, which {folder} names.")
        if not list(folder.glob("*.safetensors")):
            raise HoldfastError(
                f"{folder} has no weights as safetensors; a pickle (.bin) runs whatever code is in it. Convert it "
                f"where you trust it: {name}.from_pretrained('{folder}').save_pretrained('{folder}-safe')."
            )
        try:
            model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except Exception as error:
            raise HoldfastError(f"{folder} could not be loaded as {name}: {type(error).__name__}: {error}") from error
        assert isinstance(model, nn.Module)
        return model

    @staticmethod
    def _named(folder: Path) -> str:
        config = folder / "config.json"
        try:
            return str(json.loads(config.read_text())["architectures"][0])
        except FileNotFoundError:
            raise HoldfastError(f"No model in {folder}: expected config.json and *.safetensors beside it.") from None
        except (ValueError, KeyError, TypeError, IndexError):
            raise HoldfastError(f"{config} names no architecture. Pass architecture='...ForCausalLM'.") from None
