"""Masked language modelling on an encoder of sentences: its head, its masks, and the tokens' states.

Sources: Devlin et al., NAACL 2019 (BERT, with whole words in the authors' later release); Liu et al., 2019
(RoBERTa: a new mask at each pass).
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForMaskedLM, DataCollatorForLanguageModeling
from transformers.modeling_outputs import BaseModelOutput

from embeddings.errors import InvalidInput
from training.encoder_source import quiet_transformers
from training.siamese.cpu_training import first_position, pack, takes_packed
from training.siamese.swaps import precision_here
from training.siamese.text_training import TokenRow

IGNORED = -100


class MaskedHead(nn.Module):
    """States (n, D) to scores of the vocabulary (n, V): the head of the model's own architecture.

    Its output matrix is the model's token embeddings. is_trained: whether the model's folder has weights for
    it; a folder of sentence-transformers has none as a rule. Raises InvalidInput for an architecture without
    such a head.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        transformer: Any = cast(Any, model[0]).auto_model
        inner, self.is_trained = _load_head(transformer)
        setattr(inner, inner.base_model_prefix, _Given())
        self.inner = inner
        self.tie(model)

    def tie(self, model: SentenceTransformer) -> None:
        """Take this model's token embeddings for the output matrix."""
        inner: Any = self.inner
        transformer: Any = cast(Any, model[0]).auto_model
        self.tied: nn.Parameter = transformer.get_input_embeddings().weight
        inner.get_output_embeddings().weight = self.tied

    def forward(self, states: Tensor) -> Tensor:
        scores: Tensor = self.inner(inputs_embeds=states[None]).logits
        return scores[0]

    def own_parameters(self) -> list[nn.Parameter]:
        """All but the embeddings."""
        return [each for each in self.inner.parameters() if each is not self.tied]


class _Given(nn.Module):
    """Stands in the place of a head's transformer and passes the states on."""

    def forward(self, *_given: Any, inputs_embeds: Tensor, **_options: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=cast(Any, inputs_embeds))


def _load_head(transformer: Any) -> tuple[Any, bool]:
    folder = Path(transformer.config._name_or_path)
    kinds: Any = AutoModelForMaskedLM
    try:
        with quiet_transformers():
            if not (folder / "config.json").is_file():
                return kinds.from_config(transformer.config), False
            inner, loading = kinds.from_pretrained(
                folder, output_loading_info=True, local_files_only=True, dtype=torch.float32
            )
    except ValueError as error:
        raise InvalidInput(
            "this architecture cannot guess masked words",
            field="base",
            found=transformer.config.model_type,
            expected="an architecture with a masked-language head",
            next_step="train without masked pre-training",
        ) from error
    missing = [name for name in loading["missing_keys"] if not name.startswith(inner.base_model_prefix + ".")]
    return inner, not missing


class Masker:
    """Draws the tokens to be guessed, anew at each call, from torch's generator.

    share: of words (whole_words) or tokens. A word's tokens are all masked or none. Raises InvalidInput for
    a tokenizer without a mask token.
    """

    def __init__(self, tokenizer: Any, share: float, whole_words: bool) -> None:
        if tokenizer.mask_token is None:
            raise InvalidInput(
                "this model's tokenizer has no mask token",
                field="pretraining.kind",
                found="mlm",
                expected="a model that was trained on masked words",
                next_step="use tsdae, or no pre-training",
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of replacements that whole words cannot have
            self._collator: Any = DataCollatorForLanguageModeling(
                tokenizer, whole_word_mask=whole_words, mlm_probability=share
            )
        self._padding = int(tokenizer.pad_token_id or 0)

    def __call__(self, rows: Sequence[TokenRow]) -> tuple[list[NDArray[np.int64]], Tensor]:
        """The rows with masks in them, and for each token, row after row, its id or IGNORED."""
        ids = _padded([row.ids for row in rows], self._padding)
        words = _padded([row.words for row in rows], -1)
        # Padding is a special token here, since -1 stands for both.
        masked, labels = self._collator.torch_mask_tokens(
            ids.clone(), special_tokens_mask=(words == -1).long(), offset_mapping=_offsets(words)
        )
        lengths = [len(row) for row in rows]
        given = [row[:length].numpy() for row, length in zip(masked, lengths, strict=True)]
        return given, torch.cat([row[:length] for row, length in zip(labels, lengths, strict=True)])


def _padded(rows: Sequence[NDArray[np.int32]], value: int) -> Tensor:
    return pad_sequence([torch.from_numpy(row).long() for row in rows], batch_first=True, padding_value=value)


def _offsets(words: Tensor) -> Tensor:
    """(B, S, 2) of (B, S): spans that touch within a word and only there.

    The collator finds words by the gaps between tokens' characters. Those do not tell words for tokenizers
    that count the space before a word in, nor where no space is written.
    """
    starts = 2 * torch.arange(words.shape[1]).expand_as(words)
    following = torch.cat([words[:, 1:], torch.full_like(words[:, :1], -1)], dim=1)
    return torch.stack([starts, starts + 1 + (words == following).long()], dim=-1)


def token_states(model: SentenceTransformer, rows: Sequence[NDArray[Any]]) -> Tensor:
    """The transformer's last states (tokens, D) of rows of ids, row after row; within `fast_training`."""
    transformer: Any = model[0]
    if takes_packed(model):
        features = pack(cast(Any, rows))
        features["position_ids"] += first_position(model)
        return cast(Tensor, transformer(features)["token_embeddings"][0])
    ids = _padded([np.asarray(row, np.int32) for row in rows], int(model.tokenizer.pad_token_id or 0))
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    found = transformer({"input_ids": ids, "attention_mask": mask.long()})["token_embeddings"]
    return cast(Tensor, found[mask])


def guess_loss(head: MaskedHead, states: Tensor, labels: Tensor, precision: str) -> Tensor:
    """Mean cross-entropy in nats of the tokens to be guessed: states (tokens, D), labels (tokens,)."""
    wanted = labels != IGNORED
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision_here(precision) == "bf16"):
        scores = head(states[wanted])
    # Where nothing was drawn, the sum over nothing is 0 and its gradient too.
    return cross_entropy(scores.float(), labels[wanted], reduction="sum") / max(int(wanted.sum()), 1)
