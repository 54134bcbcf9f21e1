"""The doctor: looks at everything that a data folder stands on, changes nothing, and says what to do.

findings.py       what a check reports
examination.py    the checks, one after the other
folder.py         permissions, free disk, what ended processes left
models.py         manifests and checksums
database.py       SQLite's own checks, the revision of the schema
documents.py      versions, chunks and vectors that fit each other
indexes.py        builds
"""
