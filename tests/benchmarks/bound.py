"""What the processor could do at most for int8 MiniLM, and what share of it a graph reaches."""

import ctypes
import mmap
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from embeddings.batching import token_budget_batches
from embeddings.encoder import BATCH_TOKENS, Encoder
from embeddings.tokens import TokenIds

LAYERS, WIDTH = 6, 384
# Operations of one core in a cycle with AVX-512 (VNNI) on two full-width ports, as Zen 5 and Xeons have.
INT8_OPS_PER_CYCLE, FP32_OPS_PER_CYCLE = 256, 64
# mov rax, rdi; loop: dec rax; jnz loop; ret. Each round waits for the one before: one cycle.
_COUNT_DOWN = bytes.fromhex("4889f848ffc875fbc3")
_CYCLES = 40_000_000


@dataclass(frozen=True, slots=True)
class Bound:
    """Most tokens a second with int8 linear layers and fp32 attention. tokens: length of the texts."""

    cores: int
    clock_ghz: float
    tokens: int

    @property
    def tokens_per_second(self) -> float:
        linear = LAYERS * 24 * WIDTH**2  # operations for a token
        attention = LAYERS * 4 * self.tokens * WIDTH
        cycles = linear / INT8_OPS_PER_CYCLE + attention / FP32_OPS_PER_CYCLE
        return self.cores * self.clock_ghz * 1e9 / cycles


def measure_clock_ghz() -> float:
    """Cycles a second of one core now, by counting down in machine code. Raises OSError off x86-64."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise OSError(f"no clock measurement on {platform.machine()}; give the clock as an option")
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(_COUNT_DOWN)
        first = ctypes.c_char.from_buffer(page)
        count_down = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(ctypes.addressof(first))
        seconds = min(_timed(count_down) for _ in range(20))
        del first  # a page with a view on it cannot be closed
    return _CYCLES / seconds / 1e9


def _timed(count_down: Callable[[int], int]) -> float:
    started = time.perf_counter()
    count_down(_CYCLES)
    return time.perf_counter() - started


def graph_speed(encoder: Encoder, cores: int, texts: Sequence[TokenIds], runs: int) -> float:
    """Tokens a second of the graph alone: each core runs the texts again and again, in batches of the size
    that the encoder uses.
    """
    lengths = [len(ids) for ids in texts]
    batches = [[texts[place] for place in places] for places in token_budget_batches(lengths, BATCH_TOKENS)]

    def run(core: int) -> None:
        for _ in range(runs):
            for batch in batches:
                encoder.run(batch)

    started = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(run, range(cores)))
    return cores * runs * sum(lengths) / (time.perf_counter() - started)
