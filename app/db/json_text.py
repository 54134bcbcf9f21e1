"""JSON as it is stored, on every database alike."""

import json
from functools import partial

to_json = partial(json.dumps, ensure_ascii=False, allow_nan=False)
