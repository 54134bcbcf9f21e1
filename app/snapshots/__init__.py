"""Snapshots: all that a data folder needs to answer the same elsewhere, in one file.

    footnote.db, jobs.db             copies by SQLite's backup, each of one instant
    uploads/JOB/ORDINAL              files that jobs still name
    indexes/COLLECTION/BUILD/...     the newest build of each index that fits the copy; may lack
    models/MODEL/...                 models that are not part of the program
    manifest.json                    what all of these have to be
    seal.sha256                      SHA-256 of every byte before it

The file is an uncompressed tar: any system lists and unpacks it, it is written and read from front to end,
and vectors and weights hardly compress. A zip would need its directory at the end to be read at all, and
protect its contents by 32 bits.
"""
