"""Long work with progress, done by a worker process that may be killed at any instant.

The tables `jobs` and `job_items` are the truth: the service writes what is wanted into them, the worker what
became of it. DBOS, in the worker alone, carries an attempt across the end of a process: a step that was
finished is not done again. The service never imports DBOS.
"""
