"""The tree of commands. Each module imports what is heavy inside its functions."""

import typer

from app.cli import (
    ask,
    calibrate,
    classify,
    cluster,
    collections,
    conversations,
    convert,
    doctor,
    documents,
    duplicates,
    embed,
    evaluate,
    feedback,
    golden,
    ingest,
    jobs,
    keys,
    migrate_index,
    models,
    query_log,
    reindex,
    releases,
    search,
    serve,
    snapshot,
    stats,
    train,
    train_encoder,
    tune,
    worker,
)
from app.cli.failures import FootnoteGroup
from app.cli.output import AsJson, print_json

program = typer.Typer(
    cls=FootnoteGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Semantic search and question answering with footnotes.",
)

program.command("serve")(serve.serve)
program.command("worker")(worker.worker)
program.command("ingest")(ingest.ingest)
program.command("embed")(embed.embed)
program.command("reindex")(reindex.reindex)
program.command("migrate-index")(migrate_index.migrate_index)
program.command("search")(search.search)
program.command("ask")(ask.ask)
program.command("classify")(classify.classify)
program.command("cluster")(cluster.cluster)
program.command("duplicates")(duplicates.duplicates)
program.command("tune-fusion")(tune.tune_fusion)
program.command("calibrate")(calibrate.calibrate)
program.add_typer(collections.commands, name="collections")
program.add_typer(documents.commands, name="documents")
program.add_typer(releases.commands, name="releases")
program.add_typer(golden.commands, name="golden")
program.add_typer(conversations.commands, name="conversations")
program.add_typer(feedback.commands, name="feedback")
program.add_typer(jobs.commands, name="jobs")
program.add_typer(keys.commands, name="keys")
models.commands.command("convert")(convert.convert)
program.add_typer(models.commands, name="models")
program.command("doctor")(doctor.doctor)
program.add_typer(snapshot.commands, name="snapshot")
program.command("stats")(stats.stats)
program.add_typer(query_log.commands, name="query-log")
program.add_typer(evaluate.commands, name="eval")
train.commands.command("encoder")(train_encoder.train_encoder)
program.add_typer(train.commands, name="train")


@program.command("version")
def show_version(
    as_json: AsJson = False,
) -> None:
    """Print the version of Footnote."""
    from app.version import installed_version

    number = installed_version()
    if as_json:
        print_json({"version": number})
    else:
        typer.echo(f"footnote {number}")
