"""What the machine could do at most for a decoder: bytes read for each new token, operations for a prompt."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tests.benchmarks.bound import FP32_OPS_PER_CYCLE, INT8_OPS_PER_CYCLE

Precision = Literal["fp32", "bf16", "int8", "int4"]
BITS: dict[str, int] = {"fp32": 32, "bf16": 16, "int8": 8, "int4": 4}
# Four-bit weights are multiplied as 8-bit ones; bf16 has instructions of its own (AVX512_BF16).
OPS_PER_CYCLE: dict[str, int] = {
    "fp32": FP32_OPS_PER_CYCLE,
    "bf16": 128,
    "int8": INT8_OPS_PER_CYCLE,
    "int4": INT8_OPS_PER_CYCLE,
}
_READ_MB = 512


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a Llama-like decoder whose head is its embedding."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    vocabulary: int

    @classmethod
    def read(cls, folder: Path) -> "DecoderShape":
        """From the config.json of a transformers folder."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            kv_heads=config["num_key_value_heads"],
            head_size=config["head_dim"],
            inner=config["intermediate_size"],
            vocabulary=config["vocab_size"],
        )

    @property
    def linear_parameters(self) -> int:
        """Of all layers, which every token is multiplied with."""
        attention = self.head_size * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * self.hidden * (attention + 3 * self.inner)

    @property
    def head_parameters(self) -> int:
        """Which only tokens whose logits are wanted are multiplied with."""
        return self.hidden * self.vocabulary

    def prefill_bound(self, tokens: int, precision: str, cores: int, clock_ghz: float) -> float:
        """Most tokens a second over a prompt of so many, whose last one gets logits; attention in fp32."""
        linear = 2 * (self.linear_parameters + self.head_parameters / tokens)
        attention = self.layers * 4 * self.heads * self.head_size * (tokens / 2)
        cycles = linear / OPS_PER_CYCLE[precision] + attention / FP32_OPS_PER_CYCLE
        return cores * clock_ghz * 1e9 / cycles

    def decode_bound(self, batch: int, context: int, precision: str, bytes_per_second: float) -> float:
        """Most new tokens a second, all sequences together: the weights are read once for a pass, keys and
        values (fp32) of `context` tokens for each sequence. Scales of quantised blocks are left out.
        """
        weights = (self.linear_parameters + self.head_parameters) * BITS[precision] / 8
        state = 2 * self.layers * self.kv_heads * self.head_size * 4 * context
        return batch * bytes_per_second / (weights + batch * state)


def measure_bandwidth(threads: int, repeats: int = 5) -> float:
    """Bytes a second that all threads read together, at best. Half a gigabyte each: no cache holds it."""
    rows = [np.ones(_READ_MB * 1024 * 1024 // 4, dtype=np.float32) for _ in range(threads)]

    def read(row: np.ndarray) -> None:
        # A dot product of a row with itself reads it once, many numbers an instruction.
        for _ in range(repeats):
            np.dot(row, row)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, rows))
        started = time.perf_counter()
        list(pool.map(read, rows))
        seconds = time.perf_counter() - started
    return repeats * sum(row.nbytes for row in rows) / seconds
