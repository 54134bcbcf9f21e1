import random
from dataclasses import replace

import pytest
import torch

from tests.training.decoder_fixtures import TINY_LAYOUT, tiny_decoder, tiny_tokenizer
from training.decoder_data import Example, ExampleBuilder, MixSettings, QaRecord
from training.decoder_loss import collate, copy_loss
from training.decoder_parity import torch_log_probs

CONTEXT = "The king found gold. The queen found silver. The king wrote."


def _examples() -> list[Example]:
    records = [
        QaRecord("Who found gold?", CONTEXT, "g", ((0, 8),)),
        QaRecord("Who found silver in the north?", CONTEXT, "g", ((21, 30),)),
        QaRecord("Who built Rome?", CONTEXT, "g", ()),
    ]
    builder = ExampleBuilder(tiny_tokenizer(), TINY_LAYOUT, records)
    mix, rng = MixSettings(many_passages=0.0, absent=0.0), random.Random(0)
    return [example for record in records if (example := builder.build(record, mix, rng))]


def test_padding_changes_no_loss() -> None:
    torch.manual_seed(0)
    model = tiny_decoder()
    examples = _examples()
    counts = [len(example.targets) for example in examples]
    alone = [copy_loss(model, collate([example], TINY_LAYOUT)).item() for example in examples]
    together = copy_loss(model, collate(examples, TINY_LAYOUT)).item()
    weighted = sum(loss * count for loss, count in zip(alone, counts, strict=True)) / sum(counts)
    assert together == pytest.approx(weighted, rel=1e-4)


def test_refusal_loss_is_its_negative_log_likelihood() -> None:
    torch.manual_seed(0)
    model = tiny_decoder()
    refusal = _examples()[2]
    expected = -torch_log_probs(model, TINY_LAYOUT, refusal.prompt, [])[TINY_LAYOUT.refuse]
    assert copy_loss(model, collate([refusal], TINY_LAYOUT)).item() == pytest.approx(
        float(expected), rel=1e-4
    )


def test_only_mentions_of_the_whole_answer_count() -> None:
    """The loss of a copied word is above the word's own: "the" of "the queen" is no way to say "the king"."""
    torch.manual_seed(0)
    model = tiny_decoder()
    example = _examples()[0]
    written: list[int] = []
    likelihood = 0.0
    for target in example.targets.tolist():
        likelihood -= float(torch_log_probs(model, TINY_LAYOUT, example.prompt, written)[target])
        written.append(target)
    assert copy_loss(model, collate([example], TINY_LAYOUT)).item() * len(example.targets) > likelihood


def test_a_few_steps_teach_a_tiny_decoder_its_examples() -> None:
    torch.manual_seed(0)
    model = tiny_decoder().train()
    batch = collate(_examples(), TINY_LAYOUT)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = copy_loss(model, batch).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = copy_loss(model, batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 < first


def test_what_counts_for_less_moves_the_mean_less() -> None:
    torch.manual_seed(0)
    model = tiny_decoder()
    first, _, last = _examples()
    alone = [copy_loss(model, collate([example], TINY_LAYOUT)).item() for example in (first, last)]
    light = replace(first, weight=0.1)
    together = copy_loss(model, collate([light, last], TINY_LAYOUT)).item()
    weights = [0.1 * len(first.targets), len(last.targets)]
    assert together == pytest.approx((alone[0] * weights[0] + alone[1] * weights[1]) / sum(weights), rel=1e-4)
