"""`footnote stats`: what the data folder holds, and what the service on it is doing."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import AsJson, print_fields, print_json, print_table
from app.cli.session import run_with_database

if TYPE_CHECKING:
    from app.http.stats_schemas import IndexStats, ServiceStats, StatsReply
    from app.settings import Settings

TIMEOUT_S = 3.0
MIB = 1024 * 1024


def stats(
    url: Annotated[
        str | None,
        typer.Option(help="Address of the service; without it, what FOOTNOTE_HOST and FOOTNOTE_PORT name."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="A key with the scope read; the service needs none on loopback."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show collections, jobs, sizes and, while the service runs, its queues, batches and indexes."""
    from app.settings import load_settings

    found = _with_service(_read_folder(), url or _address(load_settings()), key)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _read_folder() -> "StatsReply":
    """The figures of the folder, without loading a model."""
    from app.http.stats_schemas import StatsReply
    from app.services.stats import StatsService
    from app.settings import load_settings

    settings = load_settings()
    return StatsReply.of(run_with_database(lambda database: StatsService(database, settings).stored()))


def _with_service(stored: "StatsReply", url: str, key: str | None) -> "StatsReply":
    """The same with what the service tells, if one runs there, lets us in and has the same folder open."""
    import httpx
    import msgspec

    from app.http.stats_schemas import StatsReply

    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        reply = httpx.get(f"{url.rstrip('/')}/v1/admin/stats", headers=headers, timeout=TIMEOUT_S)
    except httpx.HTTPError:
        return stored
    if reply.status_code != 200:
        typer.echo(
            f"The service at {url} answered {reply.status_code}: its own figures are left out.", err=True
        )
        return stored
    told = msgspec.json.decode(reply.content, type=StatsReply)
    if told.database_id != stored.database_id:
        typer.echo(f"The service at {url} has another data folder open: its figures are left out.", err=True)
        return stored
    return told


def _address(settings: "Settings") -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # not bound
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _print(found: "StatsReply") -> None:
    rows = ((each.name, each.documents, each.chunks, each.release) for each in found.collections)
    print_table(("collection", "documents", "chunks", "release"), rows)
    typer.echo()
    storage = found.storage
    print_fields(
        (
            (
                "jobs",
                ", ".join(f"{count} {state}" for state, count in found.jobs.states.items() if count) or 0,
            ),
            ("database", _mib(storage.database_bytes)),
            ("indexes", _mib(storage.indexes_bytes)),
            ("free on disk", _mib(storage.free_bytes)),
            ("query log", f"{found.logged_queries} questions"),
        )
    )
    typer.echo()
    if found.service is None:
        typer.echo("No service was found running on this folder.")
    else:
        _print_service(found.service)


def _print_service(service: "ServiceStats") -> None:
    print_fields(_about_service(service))
    typer.echo()
    lanes = (
        (
            lane.model,
            lane.lane,
            lane.waiting_texts,
            lane.texts,
            lane.tokens,
            _share(lane.tokens, lane.padded_tokens),
        )
        for lane in service.encoder
    )
    print_table(("encoder", "lane", "waiting", "texts", "tokens", "batch fill"), lanes)
    typer.echo()
    indexes = (
        (each.collection, each.chunks, each.recent_rows, _lag(each), f"{each.dead_share:.1%}")
        for each in service.indexes
    )
    print_table(("index", "chunks", "newer", "lag", "dead"), indexes)


def _about_service(service: "ServiceStats") -> Iterator[tuple[str, object]]:
    process, decoder = service.process, service.decoder
    yield "service", f"{process.version}, process {process.pid}, up {process.uptime_s:.0f} s"
    yield "memory", None if process.resident_bytes is None else _mib(process.resident_bytes)
    yield "event loop", f"{service.event_loop_lag_s * 1000:.1f} ms late"
    yield "in flight", ", ".join(f"{each.in_flight} {each.load}" for each in service.loads)
    refused = sum(each.refused for each in service.loads) + service.bodies_refused
    yield "turned away", f"{refused} overload, {service.rate_limited} rate limit"
    yield "closed", f"{service.slow_connections} slow connections"
    yield "out of time", service.deadlines_exceeded
    yield "answers", f"{service.answers_in_flight} at work or waiting"
    if decoder is not None:
        yield "decoder", f"{decoder.active} active, {decoder.queued} waiting, {decoder.free_slots} slots free"
        yield "cached prompts", _share(decoder.cached_prompt_tokens, decoder.prompt_tokens)


def _lag(index: "IndexStats") -> str:
    return f"{index.lag_writes} writes, {index.lag_s:.1f} s" if index.lag_writes else "none"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f} MiB"
