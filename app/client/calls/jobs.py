"""Jobs: follow, cancel and take them up."""

from app.client.call import EVENT_STREAM, Call, segment
from app.client.job_replies import ItemState, Job, JobItems, Jobs, JobState


def list_jobs(
    *,
    state: JobState | None = None,
    kind: str | None = None,
    collection: str | None = None,
    limit: int | None = None,
    after: str | None = None,
) -> Call[Jobs]:
    """One page of jobs, newest first. after: `next` of the page before."""
    query = {"state": state, "kind": kind, "collection": collection, "limit": limit, "after": after}
    return Call("GET", "/v1/jobs", Jobs, query)


def get_job(job_id: str) -> Call[Job]:
    """One job as it stands now."""
    return Call("GET", _path(job_id), Job)


def list_job_items(
    job_id: str, *, state: ItemState | None = None, limit: int | None = None, after: int | None = None
) -> Call[JobItems]:
    """One page of a job's items, each with its state and its reason when it failed."""
    query = {"state": state, "limit": limit, "after": after}
    return Call("GET", _path(job_id, "/items"), JobItems, query)


def job_events(job_id: str) -> Call[Job]:
    """A job's changes as a stream of events."""
    return Call("GET", _path(job_id, "/events"), Job, accept=EVENT_STREAM)


def cancel_job(job_id: str) -> Call[Job]:
    """Stop a job within two seconds. What it has done stays."""
    return Call("POST", _path(job_id, "/cancel"), Job)


def resume_job(job_id: str) -> Call[Job]:
    """Take a cancelled or failed job up again where it stopped."""
    return Call("POST", _path(job_id, "/resume"), Job)


def retry_job(job_id: str) -> Call[Job]:
    """Try the failed items of a job again, and no others."""
    return Call("POST", _path(job_id, "/retry"), Job)


def create_snapshot(name: str) -> Call[Job]:
    """Write a snapshot of everything into the service's data folder, in a job."""
    return Call("POST", "/v1/snapshots", Job, body={"name": name})


def _path(job_id: str, rest: str = "") -> str:
    return f"/v1/jobs/{segment(job_id)}{rest}"
