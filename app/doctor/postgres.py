"""What a PostgreSQL server says of itself."""

from app.doctor.findings import Finding, ok, warning
from app.doctor.reading import Reader

# With one of these off, a power cut on the server can take acknowledged writes, or the whole database.
KEPT_ON = ("fsync", "full_page_writes", "synchronous_commit")
MIN_FREE_CONNECTIONS = 30


def has_tables(reader: Reader) -> bool:
    """Whether the service has ever worked with this database."""
    (found,) = reader.execute("SELECT to_regclass('alembic_version')").fetchone()
    return found is not None


def check_server(reader: Reader) -> Finding:
    """Its version, the size of the database, and whether what is acknowledged stays."""
    version, size = reader.execute(
        "SELECT current_setting('server_version'), pg_database_size(current_database())"
    ).fetchone()
    off = [name for name in KEPT_ON if _setting(reader, name) == "off"]
    if off:
        return warning(
            "database server",
            f"{' and '.join(off)} off: a power cut there can take what was acknowledged",
            f"set {' = on, '.join(off)} = on in the server's postgresql.conf",
        )
    return ok("database server", f"PostgreSQL {version}, {size / 1e6:,.1f} MB")


def check_connections(reader: Reader) -> Finding:
    """Whether the server has connections to spare for one more process."""
    most = int(_setting(reader, "max_connections"))
    ((used,),) = reader.execute("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL")
    if most - used < MIN_FREE_CONNECTIONS:
        return warning(
            "connections",
            f"{used:,} of {most:,} are in use; each process of Footnote opens up to 27",
            "raise max_connections of the server, or run fewer processes",
        )
    return ok("connections", f"{used:,} of {most:,} are in use")


def _setting(reader: Reader, name: str) -> str:
    return str(reader.execute("SELECT current_setting(?)", (name,)).fetchone()[0])
