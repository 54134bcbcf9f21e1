"""Adapters: a few new numbers are trained in place of all, and merged into the weights in the end.

Sources: Hu et al., ICLR 2022 (LoRA); Liu et al., NeurIPS 2022 (IA3).
"""

from typing import Any

from peft import IA3Config, LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn

from embeddings.errors import InvalidInput
from training.siamese.plan import Adapter

# IA3 scales keys, values and what enters the last matrix of the feed-forward block; by the names that these
# have in the architectures that Footnote converts. ModernBERT has one matrix for queries, keys and values.
_KEYS_AND_VALUES = r".*\.(key|value|k_lin|v_lin|key_proj|value_proj|attn\.k|attn\.v|Wqkv)"
_FEED_FORWARD = r".*((?<!attention)\.output\.dense|\.lin2|\.ffn_output|mlp\.Wo)"
# Sentence vectors do not pass through the pooler.
_POOLER = r".*pooler.*"


def add_adapter(model: SentenceTransformer, adapter: Adapter) -> None:
    """Put an adapter into the model's transformer, whose own weights are then not trained; "none": nothing.

    The vectors do not change by it. What follows the transformer goes on being trained. An adapter wants
    about ten times the learning rate of full training. Raises InvalidInput for a model that cannot take one.
    """
    if adapter.kind == "none":
        return
    transformer = _transformer(model)
    if _adapted(transformer):
        raise _unfit("a model with an adapter", "a model without, or one whose adapter was merged")
    try:
        inject_adapter_in_model(_configuration(adapter, _has_pooler(transformer)), transformer)
    except ValueError as error:
        raise _unfit(str(error).splitlines()[0], "a transformer with layers that the adapter knows") from None


def merge_adapter(model: SentenceTransformer) -> None:
    """Merge the adapter, if there is one, into the weights: the same vectors without it.

    All weights are trained again from then on. Raises InvalidInput for an adapter with NaN in it.
    """
    parents = {name: each for name, each in model.named_modules() if not isinstance(each, BaseTunerLayer)}
    adapted = _adapted(model)
    for module in model.modules():
        vars(module).pop("peft_config", None)
    for name, layer in adapted.items():
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise _unfit(str(error).splitlines()[0], "finite numbers", "train with a lower rate") from None
        parent, _, own = name.rpartition(".")
        setattr(parents[parent], own, layer.get_base_layer())
    if adapted:
        model.requires_grad_(True)


def _configuration(adapter: Adapter, has_pooler: bool) -> Any:
    if adapter.kind == "ia3":
        return IA3Config(
            target_modules=f"{_KEYS_AND_VALUES}|{_FEED_FORWARD}", feedforward_modules=_FEED_FORWARD
        )
    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules="all-linear",
        exclude_modules=_POOLER if has_pooler else None,
    )


def _has_pooler(transformer: nn.Module) -> bool:
    return any("pooler" in name for name, _ in transformer.named_modules())


def _adapted(module: nn.Module) -> dict[str, BaseTunerLayer]:
    return {name: each for name, each in module.named_modules() if isinstance(each, BaseTunerLayer)}


def _transformer(model: SentenceTransformer) -> Any:
    if not isinstance(model[0], Transformer):
        raise _unfit(
            f"a model that begins with {type(model[0]).__name__}", "one that begins with a transformer"
        )
    return model[0].auto_model


def _unfit(found: str, expected: str, next_step: str = "train without an adapter") -> InvalidInput:
    return InvalidInput(
        f"the adapter does not fit: found {found}, expected {expected}",
        field="adapter",
        found=found,
        expected=expected,
        next_step=next_step,
    )
