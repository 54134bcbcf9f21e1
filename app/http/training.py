"""Routes for trainings, for administrators."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, MultipartBody, PathParameter

from app.http.collections import CollectionName
from app.http.documents import require_form
from app.http.job_schemas import JobReply
from app.http.problems import problem_responses
from app.http.request import decode_form_json
from app.http.training_schemas import TrainingForm, TrainingReportReply, TrainingRequest
from app.jobs.training import submit_training, training_report
from app.jobs.uploads import Upload
from app.resources import Resources
from app.services.types import Scope

JobId = Annotated[str, PathParameter(description="Id of the job")]


class TrainingController(Controller):
    """Retrain the encoder of a collection."""

    path = "/admin/collections/{name:str}/train"
    tags = ("Training",)

    @post(
        scope=Scope.ADMIN,
        status_code=202,
        summary="Train the encoder",
        responses=problem_responses(404, 409, 415),
    )
    async def train(
        self, name: CollectionName, data: JSONBody[TrainingRequest], resources: NamedDependency[Resources]
    ) -> JobReply:
        """Start a job that trains a better encoder on the collection's documents and feedback, judges it
        against the one in service, and makes a release of it when it is better.
        """
        wanted = data.to_input()
        return JobReply.of(await submit_training(resources.training, resources.jobs, name, wanted))

    @post(
        "/files",
        scope=Scope.ADMIN,
        status_code=202,
        summary="Train the encoder on examples",
        guards=[require_form],
        responses=problem_responses(404, 409, 413, 415, 507),
    )
    async def train_on_files(
        self, name: CollectionName, data: MultipartBody[TrainingForm], resources: NamedDependency[Resources]
    ) -> JobReply:
        """The same with files of examples: pairs, triplets, scored pairs or labelled texts. They are safe on
        the disk when this answers.
        """
        request = TrainingRequest()
        if data.request:
            request = decode_form_json("request", data.request, TrainingRequest)
        uploads = [Upload(file.filename, file.file) for file in data.file]
        for file in data.file:
            file.file.seek(0)
        wanted = request.to_input()
        return JobReply.of(await submit_training(resources.training, resources.jobs, name, wanted, uploads))

    @get(
        "/{job_id:str}/report",
        scope=Scope.ADMIN,
        summary="Show the report of a training",
        responses=problem_responses(404),
    )
    async def show_report(
        self, name: CollectionName, job_id: JobId, resources: NamedDependency[Resources]
    ) -> TrainingReportReply:
        """The plan, the loss curves so far, and, when it has judged, what was learned from and how the new
        encoder compares with the old one.
        """
        found = await training_report(resources.training, resources.jobs, name, job_id)
        return TrainingReportReply.of(found)
