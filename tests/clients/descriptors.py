"""Names, numbers, types and labels of every field of tritonclient's messages, and of kserve's."""

from __future__ import annotations

import sys
from typing import Any

from google.protobuf.descriptor import Descriptor, FileDescriptor
from seen import tell


def fields(message: Descriptor, found: dict[str, Any]) -> None:
    for one in message.fields:
        kind = one.message_type or one.enum_type
        found[f"{message.full_name}.{one.name}"] = [
            one.number,
            one.type,
            one.is_repeated,
            kind.full_name if kind else "",
        ]
    for nested in message.nested_types:
        fields(nested, found)


def file(one: FileDescriptor, found: dict[str, Any]) -> None:
    for message in one.message_types_by_name.values():
        fields(message, found)
    for service in one.services_by_name.values():
        for method in service.methods:
            found[method.full_name] = [
                method.input_type.full_name,
                method.output_type.full_name,
                method.client_streaming,
                method.server_streaming,
            ]


if sys.argv[1] == "triton":
    from tritonclient.grpc import model_config_pb2, service_pb2

    modules = [model_config_pb2, service_pb2]
else:
    from kserve.protocol.grpc import grpc_predict_v2_pb2

    modules = [grpc_predict_v2_pb2]
seen: dict[str, Any] = {}
for module in modules:
    file(module.DESCRIPTOR, seen)
tell(seen)
