"""Each route of the service as a function: from what a caller gives to the request that is sent.

Both clients make their methods of these functions, so that they are written once.
"""
