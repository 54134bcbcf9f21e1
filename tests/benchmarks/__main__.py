"""Run a benchmark by name, or the quick ones, and print its figures: one line of JSON each."""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.benchmarks import (
    answers,
    api_fuzz,
    building,
    capacity,
    decoder_speed,
    encoder_speed,
    engines,
    extraction_fuzz,
    few_shot,
    gate,
    kills,
    load,
    metadata,
    queries_beside_bulk,
    random_labels,
    ray_scaling,
    replicas,
    retraining,
    scale,
    scale_http,
    searches_beside_training,
    service,
    service_kills,
    services,
    soak,
    stores,
    switches,
    training_kills,
    training_speed,
)


class Benchmark(NamedTuple):
    """How to measure with the given options, and how to declare them."""

    measure: Callable[[Namespace], Mapping[str, object]]
    add_arguments: Callable[[ArgumentParser], None]


BENCHMARKS = {
    "service": Benchmark(service.measure, service.add_arguments),
    "encoder": Benchmark(encoder_speed.measure, encoder_speed.add_arguments),
    "answers": Benchmark(answers.measure, answers.add_arguments),
    "decoder": Benchmark(decoder_speed.measure, decoder_speed.add_arguments),
    "queries-beside-bulk": Benchmark(queries_beside_bulk.measure, queries_beside_bulk.add_arguments),
    "scale": Benchmark(scale.measure, scale.add_arguments),
    "scale-http": Benchmark(scale_http.measure, scale_http.add_arguments),
    "searches-beside-training": Benchmark(
        searches_beside_training.measure, searches_beside_training.add_arguments
    ),
    "stores": Benchmark(stores.measure, stores.add_arguments),
    "building": Benchmark(building.measure, building.add_arguments),
    "engines": Benchmark(engines.measure, engines.add_arguments),
    "capacity": Benchmark(capacity.measure, capacity.add_arguments),
    "metadata": Benchmark(metadata.measure, metadata.add_arguments),
    "switches": Benchmark(switches.measure, switches.add_arguments),
    "services": Benchmark(services.measure, services.add_arguments),
    "service-kills": Benchmark(service_kills.measure, service_kills.add_arguments),
    "ray-scaling": Benchmark(ray_scaling.measure, ray_scaling.add_arguments),
    "replicas": Benchmark(replicas.measure, replicas.add_arguments),
    "kills": Benchmark(kills.measure, kills.add_arguments),
    "retraining": Benchmark(retraining.measure_domain, retraining.add_arguments),
    "gate": Benchmark(gate.measure, gate.add_arguments),
    "random-labels": Benchmark(random_labels.measure, random_labels.add_arguments),
    "few-shot": Benchmark(few_shot.measure, few_shot.add_arguments),
    "training-kills": Benchmark(training_kills.measure, training_kills.add_arguments),
    "training-speed": Benchmark(training_speed.measure, training_speed.add_arguments),
    "schemathesis": Benchmark(api_fuzz.measure, api_fuzz.add_arguments),
    "extraction-fuzz": Benchmark(extraction_fuzz.measure, extraction_fuzz.add_arguments),
    "load": Benchmark(load.measure, load.add_arguments),
    "soak": Benchmark(soak.measure, soak.add_arguments),
}
BY_DEFAULT = ("service", "encoder", "queries-beside-bulk")


def main() -> None:
    parser = ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name")
    for name, benchmark in BENCHMARKS.items():
        benchmark.add_arguments(commands.add_parser(name))
    arguments = parser.parse_args()
    for name in (arguments.name,) if arguments.name else BY_DEFAULT:
        options = arguments if arguments.name else parser.parse_args([name])
        figures = BENCHMARKS[name].measure(options)
        print(json.dumps({"benchmark": name, **figures}), flush=True)
        if figures.get("passed") is False:
            sys.exit(f"{name} did not pass")


if __name__ == "__main__":
    main()
