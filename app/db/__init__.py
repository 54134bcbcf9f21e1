"""The tables, and the way transactions are made on them."""
