"""TensorFlow Serving's own configuration: which models are served, and how they are batched.

The same messages come as text in files (`--model-config-file`, `--batching-parameters-file`) and,
for the models, over gRPC. Names are TensorFlow Serving's. What is not known, and what has no
meaning here, is refused by name: nothing that somebody wrote down is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from google.protobuf import text_format

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.grpc.messages import load
from heliograph.runtimes.base import Plan

_SET = Path(__file__).with_name("tfserving.binpb")
_NO_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]{1,80})"')
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Policy:
    """Which versions of a model are served.

    Attributes:
        kind: `latest`, `all` or `specific`.
        count: for `latest`: how many, the highest numbers first.
        versions: for `specific`: which.
    """

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model of a configuration.

    Attributes:
        name: the model's.
        base_path: the folder of its versions.
        policy: which of them are served.
        labels: versions by label.
    """

    name: str
    base_path: str
    policy: Policy = Policy()
    labels: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Batching:
    """How calls are gathered into batches; None where the file says nothing.

    Attributes:
        max_batch_size: most rows in one run.
        batch_timeout_micros: how long a batch that is not full waits for more, in microseconds.
        num_batch_threads: runs at the same time.
        max_enqueued_batches: most batches of a model that wait; calls beyond are refused.
    """

    max_batch_size: int | None = None
    batch_timeout_micros: int | None = None
    num_batch_threads: int | None = None
    max_enqueued_batches: int | None = None

    def plan(self, plan: Plan) -> Plan:
        """A model's plan with what the file says in place of what was measured."""
        changed: dict[str, Any] = {}
        if self.max_batch_size is not None:
            changed["max_batch"] = self.max_batch_size
        if self.batch_timeout_micros is not None:
            changed["max_wait_ms"] = self.batch_timeout_micros / 1000.0
        if self.num_batch_threads is not None:
            changed["instances"] = self.num_batch_threads
        if not changed:
            return plan
        return replace(plan, **changed, reason="as the batching parameters file says")

    def most_waiting(self, plan: Plan) -> int | None:
        """Most rows of a model that may wait under this plan; None for no limit of its own."""
        if self.max_enqueued_batches is None:
            return None
        return self.max_enqueued_batches * plan.max_batch


def read_model_config(path: Path) -> tuple[ServedModel, ...]:
    """Read a model config file.

    Raises:
        HeliographError: `validation`, naming the file, the line and the field.
    """
    return served_models(_parse(path, "ModelServerConfig"))


def read_batching(path: Path) -> Batching:
    """Read a batching parameters file.

    Raises:
        HeliographError: `validation`, naming the file and the field.
    """
    said = _parse(path, "BatchingParameters")
    for name, why in _NOT_HERE.items():
        if _is_set(said, name):
            raise _wrong(f"{path.name}: {name} {why}")
    given = {name: getattr(said, name).value if said.HasField(name) else None for name in _AT_LEAST}
    for name, least in _AT_LEAST.items():
        value = given[name]
        if value is not None and not least <= value <= _MOST:
            raise _wrong(f"{path.name}: {name} is {value}; it must be {least} to {_MOST}")
    return Batching(**given)


_MOST = 1_000_000_000
_AT_LEAST = {
    "max_batch_size": 1,
    "batch_timeout_micros": 0,
    "num_batch_threads": 1,
    "max_enqueued_batches": 1,
}
_NOT_HERE = {
    "allowed_batch_sizes": "has no meaning here: batches are not padded; leave it out",
    "pad_variable_length_inputs": "is not offered: rows of one batch have one shape; leave it out",
    "thread_pool_name": "has no meaning here: each model has threads of its own; leave it out",
}


def served_models(config: Any) -> tuple[ServedModel, ...]:
    """The models of a ModelServerConfig.

    Raises:
        HeliographError: `validation`, naming the model and the field.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise _wrong(
            "ServerModelConfig type not supported. Only ModelConfigList is currently supported"
        )
    models = tuple(_model(one) for one in config.model_config_list.config)
    names = [one.name for one in models]
    for name in names:
        if names.count(name) > 1:
            raise _wrong(f"Duplicate model name: {name}")
    return models


def _model(said: Any) -> ServedModel:
    name = said.name[:80]
    if not name:
        raise _wrong("A model of model_config_list has no name")
    if not said.base_path:
        raise _wrong(f"Model {name}: base_path is empty")
    if said.HasField("logging_config"):
        raise _wrong(f"Model {name}: logging_config is not offered; leave it out")
    # What runs a model stands in its package; every file written for TensorFlow Serving says this.
    if said.model_platform not in {"", "tensorflow"} or said.model_type == _OTHER:
        raise _wrong(
            f"Model {name}: model_platform may be left out or be tensorflow, not "
            f"{said.model_platform[:40] or 'OTHER'!r}"
        )
    return ServedModel(said.name, said.base_path, _policy(said), dict(said.version_labels))


_OTHER = 2


def _policy(said: Any) -> Policy:
    policy = said.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return Policy("all")
    if kind == "specific":
        versions = tuple(sorted(set(policy.specific.versions)))
        if not versions or versions[0] < 1:
            raise _wrong(
                f"Model {said.name[:80]}: specific needs versions, each a number of 1 or more"
            )
        return Policy("specific", versions=versions)
    return Policy("latest", count=policy.latest.num_versions or 1)


def _parse(path: Path, kind: str) -> Any:
    message = load(_SET)[f"tensorflow.serving.{kind}"]()
    try:
        text = path.read_bytes()
        if len(text) > _LARGEST_FILE:
            raise _wrong(f"{path.name} is larger than {_LARGEST_FILE} bytes")
        return text_format.Parse(text.decode("utf-8"), message)
    except OSError as error:
        raise _wrong(f"{path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _wrong(f"{path.name} is not text in UTF-8") from error
    except text_format.ParseError as error:
        raise _wrong(
            f"{path.name}, line {error.GetLine() or 1}: {_explain(error, kind)}"
        ) from error


def _explain(error: text_format.ParseError, kind: str) -> str:
    unknown = _NO_FIELD.search(str(error))
    if unknown:
        of = unknown[1].rpartition(".")[2]
        return f"there is no field {unknown[2]} in {of}"
    return f"this is not the text form of a {kind}"


def _is_set(said: Any, name: str) -> bool:
    return any(one.name == name for one, _ in said.ListFields())


def _wrong(detail: str) -> HeliographError:
    return HeliographError(Code.VALIDATION, detail)
