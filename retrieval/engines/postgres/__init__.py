"""Indexes in PostgreSQL: words and the state of every engine's indexes, and vectors with pgvector.

pool        connections and transactions, and what their failures mean
schema      the tables of the schema `footnote_index`, made and dropped with their index
state       how far an index is, and the moments of its vectors
metadata    metadata as jsonb, and filters as SQL
words       the word store: full text, BM25, documents
vectors     the vector store: halfvec, exact or by an HNSW graph
rows        rows and vectors in PostgreSQL's binary form

The words of an index whose vectors are in Milvus are here too.
"""
