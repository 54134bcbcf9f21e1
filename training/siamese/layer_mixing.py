"""A learned mix of all layers instead of the last. Source: Peters et al., NAACL 2018, equation 1 (ELMo)."""

from pathlib import Path
from typing import Any, cast

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.module import Module
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import Tensor, nn

from embeddings.errors import InvalidInput

# A transformer's learning rate would move a softmax's scores by thousandths in a whole run, so that the mix
# would stay as it began: what is trained is a hundredth of the score.
STRETCH = 100.0
LAST_SHARE = 0.9


class LayerMix(Module):
    """Token states as `scale` times the mean of all layers' states, weighted by a softmax over the layers.

    layers: how many states there are, the embeddings' first; last_share: the last one's weight at the
    beginning, below 1; the others share the rest. scale begins at 1; it matters to what follows a pooling
    only where that is not the normalisation.
    """

    config_keys = ["layers"]  # noqa: RUF012 - sentence-transformers' own form

    def __init__(self, layers: int, last_share: float = LAST_SHARE) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if layers < 2 or not 0 < last_share < 1:
            raise InvalidInput(
                "there is nothing to mix",
                field="layer_mixing",
                found=f"{layers} layers, the last with a share of {last_share}",
                expected="2 layers or more, the last with a share above 0 and below 1",
            )
        self.layers = layers
        shares = torch.full((layers,), (1 - last_share) / (layers - 1))
        shares[-1] = last_share
        self.scores = nn.Parameter(shares.log() / STRETCH)
        self.scale = nn.Parameter(torch.ones(()))

    def weights(self) -> Tensor:
        """(layers,): each layer's weight, the scale in it."""
        return self.scale * torch.softmax(STRETCH * self.scores, dim=0)

    def forward(self, features: dict[str, Any], **_options: Any) -> dict[str, Any]:
        """Replace the token states (B, S, D) by the mix. Raises InvalidInput without all layers' states."""
        states: Any = features.get("all_layer_embeddings", ())
        if len(states) != self.layers:
            raise InvalidInput(
                "the transformer does not give the states that are to be mixed",
                found=f"states of {len(states)} layers",
                expected=f"states of {self.layers} layers",
                next_step="set output_hidden_states in the transformer's config.json",
            )
        exact = features["token_embeddings"].dtype  # in bf16 training only this one is float32
        mixed = [weight * each.to(exact) for weight, each in zip(self.weights(), states, strict=True)]
        features["token_embeddings"] = cast(Tensor, sum(mixed[1:], mixed[0]))
        return features

    def save(self, output_path: str, *_args: Any, safe_serialization: bool = True, **_kwargs: Any) -> None:
        """Write what `load` reads."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(  # type: ignore[override]
        cls, model_name_or_path: str, subfolder: str = "", **_kwargs: Any
    ) -> "LayerMix":
        """Read a saved mix from a folder of this machine."""
        module = cls(**cls.load_config(model_name_or_path, subfolder=subfolder))
        return cast(LayerMix, cls.load_torch_weights(model_name_or_path, subfolder=subfolder, model=module))


def mix_layers(model: SentenceTransformer) -> SentenceTransformer:
    """Let the model pool a mix of its layers; it is changed, unless it does already.

    Raises InvalidInput for a model that does not begin with a transformer.
    """
    if layer_mix(model) is not None:
        return model
    if not isinstance(model[0], Transformer):
        raise InvalidInput(
            "this model has no layers to mix",
            field="layer_mixing",
            found=type(model[0]).__name__,
            expected="a model that begins with a transformer",
        )
    config: Any = model[0].auto_model.config
    config.output_hidden_states = True  # saved with the transformer
    model.insert(1, LayerMix(config.num_hidden_layers + 1))
    return model


def layer_mix(model: SentenceTransformer) -> LayerMix | None:
    """The model's mix of layers, if it has one."""
    return next((module for module in model if isinstance(module, LayerMix)), None)


def open_encoder(folder: Path, **options: Any) -> SentenceTransformer:
    """Open a folder that sentence-transformers saved, with a mix of layers too, and from this machine only.

    sentence-transformers opens modules of others only with `trust_remote_code`, which would also let the
    folder bring code of its own; this opens our module and no other. options: of SentenceTransformer.
    """
    own = {f"{LayerMix.__module__}.{LayerMix.__name__}": LayerMix}
    given = {"device": "cpu", "local_files_only": True, **options}
    model: SentenceTransformer = SentenceTransformer._load_with_module_classes(str(folder), own, **given)
    return model
