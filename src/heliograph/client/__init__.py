"""The Python client: needs nothing of the server, only its address.

`heliograph.Client().detect("photo.jpg").save("drawn.jpg")`
"""

from heliograph.client.aio import AsyncClient
from heliograph.client.errors import (
    ApiError,
    BadReplyError,
    ClientError,
    OutOfTimeError,
    UnreachableError,
)
from heliograph.client.pictures import Source
from heliograph.client.prediction import Prediction
from heliograph.client.questions import ModelCard, ModelInfo
from heliograph.client.sync import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadReplyError",
    "Client",
    "ClientError",
    "ModelCard",
    "ModelInfo",
    "OutOfTimeError",
    "Prediction",
    "Source",
    "UnreachableError",
]
