"""Index engines outside of this process, behind one contract: PostgreSQL with pgvector, and Milvus.

    address        a URL of the settings to an engine
    types          what an index is called and what it stores
    vector_store   what an engine has to do with vectors
    word_store     what PostgreSQL does with words, metadata and the state of an index
    engine_index   both joined to what the service searches
    open           from an address to an index

An engine holds a copy, as a build does: whatever is lost in it is made anew from SQL.
"""
