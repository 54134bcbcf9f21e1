"""Run benchmarks by name, or all, and print their figures: one line of JSON each."""

import json
import sys
from collections.abc import Callable, Mapping

from tests.benchmarks import encoding, service

BENCHMARKS: Mapping[str, Callable[[], Mapping[str, object]]] = {
    "encoding": encoding.measure,
    "service": service.measure,
}


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        print(json.dumps({"benchmark": name, **BENCHMARKS[name]()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
