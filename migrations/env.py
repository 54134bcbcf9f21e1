"""How Alembic reaches the database: on the connection it is given, else on the file that the settings
name."""

from alembic import context
from sqlalchemy import Connection

from app.db.conversations import ConversationRow  # noqa: F401  # its tables belong to the metadata
from app.db.leases import LeaseRow  # noqa: F401  # its table belongs to the metadata
from app.db.migrations import writer_connection
from app.db.models import Model
from app.db.query_log import QueryLogRow  # noqa: F401  # its table belongs to the metadata
from app.db.sessions import PageSession  # noqa: F401  # a table of Model.metadata once it is imported
from app.settings import load_settings


def run(connection: Connection) -> None:
    # SQLite cannot alter most of a table in place; batch mode copies it.
    context.configure(connection=connection, target_metadata=Model.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    with writer_connection(settings.database, settings.busy_timeout_s) as opened:
        run(opened)
