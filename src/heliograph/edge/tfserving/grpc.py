"""TensorFlow Serving's gRPC services: `PredictionService` and `ModelService`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.grpc.booking import booking
from heliograph.edge.grpc.calls import (
    Context,
    Handler,
    Unary,
    credentials,
    metadata,
    service,
    unary,
)
from heliograph.edge.grpc.messages import Messages, load
from heliograph.edge.services import Services
from heliograph.edge.tfserving import answers, examples, signatures
from heliograph.edge.tfserving.checks import check_feeds, check_tasks, chosen_outputs
from heliograph.edge.tfserving.config import served_models
from heliograph.edge.tfserving.reload import replace_models
from heliograph.edge.tfserving.signatures import CLASSIFY, REGRESS
from heliograph.edge.tfserving.spec import (
    SIGNATURE,
    Spec,
    check_signature,
    enter,
    file_input,
    signature_of,
    statuses,
    version_number,
)
from heliograph.edge.tfserving.tensors import read_tensor, write_outputs
from heliograph.edge.waiting import wait
from heliograph.runtimes.base import Arrays
from heliograph.serving.values import Entry, Model, Tensors

SET = Path(__file__).with_name("tfserving.binpb")
PREDICTION = "tensorflow.serving.PredictionService"
MODEL = "tensorflow.serving.ModelService"
_FIELD = "signature_def"


def handlers(services: Services) -> Sequence[grpc.GenericRpcHandler]:
    """Both services over these use cases."""
    messages = load(SET)
    api = Api(services, messages)
    prediction, model = messages.methods(PREDICTION), messages.methods(MODEL)

    def answered(name: str, behave: Unary) -> Handler:
        return unary(prediction[name][0], booking(services, f"{PREDICTION}/{name}", behave))

    return [
        service(
            PREDICTION,
            {
                "Predict": answered("Predict", api.predict),
                "Classify": answered("Classify", api.classify),
                "Regress": answered("Regress", api.regress),
                "MultiInference": answered("MultiInference", api.multi),
                "GetModelMetadata": unary(prediction["GetModelMetadata"][0], api.metadata),
            },
        ),
        service(
            MODEL,
            {
                "GetModelStatus": unary(model["GetModelStatus"][0], api.status),
                "HandleReloadConfigRequest": unary(
                    model["HandleReloadConfigRequest"][0], api.reload
                ),
            },
        ),
    ]


class Api:
    """The methods of both services.

    Args:
        services: the use cases.
        messages: the message classes.
    """

    def __init__(self, services: Services, messages: Messages) -> None:
        self._services = services
        self._messages = messages

    def _new(self, kind: str, /, **fields: Any) -> Any:
        return self._messages[f"tensorflow.serving.{kind}"](**fields)

    # --- PredictionService ---------------------------------------------------------------------

    async def predict(self, asked: Any, context: Context) -> bytes:
        """Tensors in, tensors out."""
        spec, entry = self._enter(asked, context)
        check_signature(spec.signature)
        signature = await signature_of(entry.model)
        wanted = chosen_outputs(asked.output_filter, signature)
        feeds = {name: read_tensor(one, name) for name, one in asked.inputs.items()}
        check_feeds(feeds, signature, file_input(entry.model, signature.inputs))
        found = await self._run(entry, feeds, asked.ByteSize())
        head = self._new("PredictResponse", model_spec=self._answered(entry.model))
        arrays = {name: found.arrays[name] for name in wanted}
        return head.SerializeToString() + write_outputs(arrays)

    async def classify(self, asked: Any, context: Context) -> Any:
        """Examples in, classes with scores out."""
        spec, entry = self._enter(asked, context)
        check_signature(spec.signature)
        await signature_of(entry.model)
        answers.check_classifies(entry.model)
        found = await self._run_examples(entry, asked)
        return self._new(
            "ClassificationResponse",
            model_spec=self._answered(entry.model),
            result=self._classified(entry.model, found.arrays),
        )

    async def regress(self, asked: Any, context: Context) -> Any:
        """Examples in, a number for each out."""
        spec, entry = self._enter(asked, context)
        check_signature(spec.signature)
        await signature_of(entry.model)
        answers.check_regresses(entry.model)
        found = await self._run_examples(entry, asked)
        return self._new(
            "RegressionResponse",
            model_spec=self._answered(entry.model),
            result=self._regressed(found.arrays),
        )

    async def multi(self, asked: Any, context: Context) -> Any:
        """Examples in, classes and numbers of one model out; the model runs once."""
        self._services.gate.check(credentials(context), Permission.MODELS_CALL)
        specs = [_spec(task.model_spec) for task in asked.tasks]
        check_tasks(specs, [task.method_name for task in asked.tasks])
        entry = self._admit(specs[0], context)
        await signature_of(entry.model)
        for task in asked.tasks:
            check = answers.check_classifies
            if task.method_name == REGRESS:
                check = answers.check_regresses
            check(entry.model)
        found = await self._run_examples(entry, asked)
        answered = self._answered(entry.model)
        results = [
            self._new(
                "InferenceResult",
                model_spec=answered,
                classification_result=self._classified(entry.model, found.arrays),
            )
            if task.method_name == CLASSIFY
            else self._new(
                "InferenceResult",
                model_spec=answered,
                regression_result=self._regressed(found.arrays),
            )
            for task in asked.tasks
        ]
        return self._new("MultiInferenceResponse", results=results)

    async def metadata(self, asked: Any, context: Context) -> Any:
        """What a model takes and gives."""
        self._services.gate.check(credentials(context), Permission.MODELS_CALL)
        if not asked.HasField("model_spec"):
            raise HeliographError(Code.BAD_REQUEST, "Missing ModelSpec")
        if not asked.metadata_field:
            raise HeliographError(
                Code.BAD_REQUEST, "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for one in asked.metadata_field:
            if one != _FIELD:
                raise HeliographError(
                    Code.BAD_REQUEST, f"Metadata field {one[:80]} is not supported"
                )
        _, entry = self._enter(asked, context)
        said = signatures.in_message(self._messages, await signature_of(entry.model))
        answer = self._new("GetModelMetadataResponse", model_spec=self._answered(entry.model))
        answer.model_spec.signature_name = ""
        answer.metadata[_FIELD].Pack(said)
        return answer

    # --- ModelService --------------------------------------------------------------------------

    async def status(self, asked: Any, context: Context) -> Any:
        """How far the versions of a model are."""
        self._services.gate.check(credentials(context), Permission.MODELS_READ)
        if not asked.HasField("model_spec"):
            raise HeliographError(Code.BAD_REQUEST, "Missing ModelSpec")
        answer = self._new("GetModelStatusResponse")
        for one in statuses(self._services, _spec(asked.model_spec)):
            answer.model_version_status.add(
                version=int(one.version),
                state=one.state,
                status={"error_code": one.code, "error_message": one.message},
            )
        return answer

    async def reload(self, asked: Any, context: Context) -> Any:
        """Replace what is served; returns when it is."""
        self._services.gate.check(credentials(context), Permission.MODELS_WRITE)
        models = served_models(asked.config)
        await asyncio.to_thread(replace_models, self._services.catalog, models)
        return self._new("ReloadConfigResponse", status={"error_code": "OK"})

    # --- what they share -----------------------------------------------------------------------

    def _enter(self, asked: Any, context: Context) -> tuple[Spec, Entry]:
        spec = _spec(asked.model_spec)
        return spec, self._admit(spec, context)

    def _admit(self, spec: Spec, context: Context) -> Entry:
        sticky = metadata(context, "x-sticky-key")
        return enter(self._services, spec, credentials(context), _present(context), sticky)

    async def _run(self, entry: Entry, feeds: Arrays, size: int) -> Tensors:
        return await wait(entry, self._services.path.submit_tensors(entry, feeds, size))

    async def _run_examples(self, entry: Entry, asked: Any) -> Tensors:
        inputs = entry.model.signature.inputs
        rows = examples.of_input(asked.input)
        feeds = examples.feeds_of(rows, inputs, file_input(entry.model, inputs))
        return await self._run(entry, feeds, asked.ByteSize())

    def _answered(self, model: Model) -> Any:
        """The ModelSpec of an answer: which version it was."""
        return self._new(
            "ModelSpec",
            name=model.name,
            version={"value": int(model.version)},
            signature_name=SIGNATURE,
        )

    def _classified(self, model: Model, arrays: Arrays) -> Any:
        result = self._new("ClassificationResult")
        for row in answers.classify(model, arrays):
            classes = result.classifications.add().classes
            for label, score in row:
                classes.add(label=label, score=score)
        return result

    def _regressed(self, arrays: Arrays) -> Any:
        regressions = [{"value": value} for value in answers.regress(arrays)]
        return self._new("RegressionResult", regressions=regressions)


def _present(context: Context) -> Callable[[], bool]:
    return lambda: not context.cancelled()


def _spec(given: Any) -> Spec:
    choice = given.WhichOneof("version_choice")
    version = given.version.value if choice == "version" else 0
    if version < 0:
        raise HeliographError(Code.BAD_REQUEST, f"A version is 1 or more, not {version}.")
    return Spec(
        given.name,
        version_number(str(version)) if choice == "version" else "",
        given.version_label if choice == "version_label" else "",
        given.signature_name,
    )
