"""The parts of TSDAE: damaged sentences, and a decoder that writes them again. Source: Wang et al., 2021."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import DenoisingAutoEncoderLoss

from embeddings.errors import InvalidInput
from generation.sentences import split_sentences
from training.encoder_source import quiet_transformers
from training.siamese.text_training import TokenRow

MIN_SENTENCE_WORDS = 4


def autoencoder(model: SentenceTransformer) -> DenoisingAutoEncoderLoss:
    """The loss with its decoder tied to the model, which keeps the weights it has.

    sentence-transformers reads the decoder from the folder that the model came from, and ties by putting the
    decoder's weights in the model's place.
    """
    weights = {name: each.detach().clone() for name, each in model.state_dict().items()}
    try:
        with quiet_transformers():
            loss = DenoisingAutoEncoderLoss(model, tie_encoder_decoder=True)
    except ValueError as error:
        found = cast(Any, model[0]).auto_model.config.model_type
        raise InvalidInput(
            "this architecture has no decoder that writes a sentence from its vector",
            field="pretraining.kind",
            found=f"tsdae with {found}",
            expected="tsdae with bert, roberta, xlm-roberta or electra",
            next_step="use mlm",
        ) from error
    model.load_state_dict(weights)
    return loss


def sentences(texts: Sequence[str]) -> list[str]:
    """The sentences of texts, each once."""
    return list(dict.fromkeys(text[start:end] for text in texts for start, end in split_sentences(text)))


def of_some_words(rows: Sequence[TokenRow]) -> list[TokenRow]:
    """Without rows of so few words that nothing would be left of them; all, where there is no other."""
    return [row for row in rows if row.words.max(initial=-1) + 1 >= MIN_SENTENCE_WORDS] or list(rows)


def damaged(row: TokenRow, share: float) -> NDArray[np.int32]:
    """Without a share of its words; one is left at least."""
    words = np.unique(row.words[row.words >= 0])
    if not len(words):
        return row.ids
    kept = torch.rand(len(words)).numpy() >= share
    kept[int(torch.randint(len(words), ()))] |= not kept.any()
    return row.ids[np.isin(row.words, [-1, *words[kept]])]
