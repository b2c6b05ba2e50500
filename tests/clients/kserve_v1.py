"""The kserve REST client, protocol v1, against a server: ADDRESS."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any

from kserve import InferenceRESTClient, RESTConfig
from seen import tell

ADDRESS = sys.argv[1]


async def refused(call: Awaitable[Any]) -> str:
    try:
        await call
    except Exception as error:
        return str(error)
    return ""


async def main() -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    data = {"instances": [[1.0, 2.0]]}
    tell(
        {
            "ready": await client.is_model_ready(ADDRESS, "half"),
            "version_not_loaded": await client.is_model_ready(ADDRESS, "half/versions/1"),
            "infer": await client.infer(ADDRESS, data, model_name="half"),
            "no_model_ready": await refused(client.is_model_ready(ADDRESS, "nosuch")),
            "no_model": await refused(client.infer(ADDRESS, data, model_name="nosuch")),
            "explain": await refused(client.explain(ADDRESS, "half", data)),
        }
    )
    await client.close()


asyncio.run(main())
