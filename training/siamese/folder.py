"""What lies in the folder of a run, by name. Nothing here needs torch: the service reads and writes it too.

Given: the plan, and as there are any the corpus, feedback, and files of examples under `DATA`. Made: progress
and losses on the way; in the end the artifact with the report, or the failure.
"""

PLAN = "plan.json"
CORPUS = "corpus.jsonl.gz"
FEEDBACK = "feedback.jsonl"
DATA = "data"
PROGRESS = "progress.json"
LOSSES = "loss.jsonl"
ARTIFACT = "artifact"
# In the artifact: the model as sentence-transformers opens it, which the next training goes on from.
CHECKPOINT = "checkpoint"
REPORT = "report.json"
FAILURE = "failure.json"
