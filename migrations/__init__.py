"""The history of the tables. `footnote serve` applies it; see app/db/migrations.py."""
