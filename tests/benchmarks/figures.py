"""From times to the figures that are shown."""

from collections.abc import Mapping, Sequence
from statistics import median

from tests.benchmarks.bound import Bound
from tests.benchmarks.encoder import Figures, Graph, InProcess
from tests.benchmarks.encoder_http import Load, OverHttp
from tests.benchmarks.quantiles import percentile
from tests.benchmarks.texts import TextSet


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """How many times longer one took than the other: the median of the rounds' ratios."""
    return median(a / b for a, b in zip(slower, faster, strict=True))


def summarise(found: InProcess, sets: Mapping[str, TextSet], threads: int) -> dict[str, object]:
    """Figures of the encoders in process, by name, and of the graph against the bound."""
    ours = found.figures["Footnote"]
    return {
        "encoders": {name: _encoder(each, ours, sets) for name, each in found.figures.items()},
        "bound": _bound(found.graph, ours, sets, threads),
        "unavailable": found.unavailable,
    }


def _encoder(found: Figures, ours: Figures, sets: Mapping[str, TextSet]) -> dict[str, object]:
    speeds = {
        name: {
            "tokens_per_second": round(sets[name].tokens / median(seconds)),
            "texts_per_second": round(len(sets[name].texts) / median(seconds), 1),
            "footnote_is_faster_by": round(ratio(seconds, ours.seconds[name]), 2),
        }
        for name, seconds in found.seconds.items()
    }
    return {
        **speeds,
        "query_ms_p50": _ms(found.singles_s, 0.50),
        "query_ms_p99": _ms(found.singles_s, 0.99),
        "peak_mb": round(found.peak_mb),
        "batch_texts": found.batch_texts,
        "load_s": round(found.load_s, 2),
        "lowest_cosine": round(found.lowest_cosine, 4),
        "mean_cosine": round(found.mean_cosine, 4),
    }


def _bound(graph: Graph, ours: Figures, sets: Mapping[str, TextSet], threads: int) -> dict[str, object]:
    """The bound at the fastest clock that was seen: a busy neighbour lowers what is measured, not what is."""
    bound = Bound(threads, max(graph.clock_ghz), 128)
    whole = sets["tokens_128"].tokens / median(ours.seconds["tokens_128"])
    alone = median(graph.tokens_per_second)
    return {
        "clock_ghz": round(bound.clock_ghz, 2),
        "bound_tokens_per_second": round(bound.tokens_per_second),
        "graph_tokens_per_second": round(alone),
        "graph_share": round(alone / bound.tokens_per_second, 3),
        "with_tokeniser_and_queue_tokens_per_second": round(whole),
        "with_tokeniser_and_queue_share": round(whole / bound.tokens_per_second, 3),
    }


def summarise_http(found: OverHttp) -> dict[str, object]:
    """Figures by server and number of clients."""
    return {
        "servers": {
            name: {str(clients): _load(load) for clients, load in loads.items()}
            for name, loads in found.loads.items()
        },
        "peak_mb": {name: round(peak) for name, peak in found.peak_mb.items()},
        "unavailable": found.unavailable,
    }


def _load(load: Load) -> dict[str, object]:
    answered = bool(load.latencies_s)
    return {
        "p50_ms": _ms(load.latencies_s, 0.50) if answered else None,
        "p99_ms": _ms(load.latencies_s, 0.99) if answered else None,
        "max_ms": _ms(load.latencies_s, 1.0) if answered else None,
        "requests_per_second": round(median(load.requests_per_second)),
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
    }


def _ms(seconds: Sequence[float], share: float) -> float:
    return round(1000 * percentile(seconds, share), 2)
