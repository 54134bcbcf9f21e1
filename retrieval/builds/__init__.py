"""Sealed index directories: written once, checked when they are opened, mapped into memory, never changed.

    manifest.json              what it was made from, and the SHA-256 of every other file
    vectors.faiss              the FAISS index
    chunk_ids.npy ...          the columns of retrieval.sealed.SealedPart
    metadata.json.bin          metadata of the documents, one JSON object after the other
    lexical/                   the tantivy index

A build is a cache of what SQL holds: any that is missing, broken or foreign is made anew.
"""
