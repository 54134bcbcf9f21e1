"""An endless, resumable stream of batches from several sources of records."""

import random
from collections.abc import Iterator, Sequence

from training.batching import length_grouped_batches
from training.decoder_data import Example, ExampleBuilder, QaRecord
from training.decoder_stages import Source

POOL = 1024  # examples that are drawn together and grouped by length


class ExampleStream:
    """Pools of examples, each drawn from the sources by their shares.

    A source's records come in an order of its own, all of them before one comes again. What a pool holds
    depends on its number and the seed alone, so a resumed run sees what an unbroken one would.
    """

    def __init__(
        self,
        builder: ExampleBuilder,
        sources: Sequence[tuple[Source, Sequence[QaRecord]]],
        batch_tokens: int,
        seed: int,
    ) -> None:
        self._builder = builder
        self._batch_tokens = batch_tokens
        self._seed = seed
        self._orders: dict[str, tuple[int, list[int]]] = {}
        total = sum(source.share for source, records in sources if records)
        self._drawn = [
            (source, records, round(POOL * source.share / total)) for source, records in sources if records
        ]

    def batches(self, pool: int = 0, batch: int = 0) -> Iterator[tuple[int, int, list[Example]]]:
        """Yield (pool, batches of it that are used up with this one, examples), from a place on."""
        while True:
            rng = random.Random(self._seed * 1_000_003 + pool)
            examples = list(self._pool(pool, rng))
            lengths = [example.length for example in examples]
            for index, chosen in enumerate(length_grouped_batches(lengths, self._batch_tokens, rng)):
                if index >= batch:
                    yield pool, index + 1, [examples[i] for i in chosen]
            pool, batch = pool + 1, 0

    def _pool(self, pool: int, rng: random.Random) -> Iterator[Example]:
        for source, records, count in self._drawn:
            for place in range(pool * count, (pool + 1) * count):
                record = records[
                    self._order(source.name, place // len(records), len(records))[place % len(records)]
                ]
                example = self._builder.build(record, source.mix, rng)
                if example is not None:
                    yield example

    def _order(self, name: str, epoch: int, count: int) -> list[int]:
        if self._orders.get(name, (-1, []))[0] != epoch:
            order = list(range(count))
            random.Random(f"{self._seed} {name} {epoch}").shuffle(order)
            self._orders[name] = (epoch, order)
        return self._orders[name][1]
