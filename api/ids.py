"""Ids in paths: whatever cannot be one of ours is unknown, and never reaches the database."""

import re
from typing import Annotated

from fastapi import Depends, Path

from worker.errors import NotFound

_TAIL = re.compile(r"[0-9a-z]{1,40}", re.ASCII)


def _check(text: str, prefix: str, what: str) -> str:
    head, _, tail = text.partition("_")
    if head != prefix or not _TAIL.fullmatch(tail):
        raise NotFound(f"no such {what}")
    return text


async def _job(
    job_id: Annotated[str, Path(description="The job's id.", examples=["job_01kqzv7m3e8f4x2c9t5b6n0hyd"])],
) -> str:
    return _check(job_id, "job", "job")


async def _conversation(
    conversation_id: Annotated[
        str, Path(description="A job's `conversation_id`.", examples=["job_01kqzv7m3e8f4x2c9t5b6n0hyd"])
    ],
) -> str:
    return _check(conversation_id, "job", "conversation")


async def _delivery(
    delivery_id: Annotated[str, Path(description="The delivery's id.", examples=["dlv_01kqzvb2q7r1s4w8y3d6g9k0ma"])],
) -> str:
    return _check(delivery_id, "dlv", "delivery")


async def _endpoint(
    endpoint_id: Annotated[str, Path(description="The endpoint's id.", examples=["whe_01kqzv8d2f5h7k9m1p3r6t8v0x"])],
) -> str:
    return _check(endpoint_id, "whe", "webhook endpoint")


JobId = Annotated[str, Depends(_job)]
ConversationId = Annotated[str, Depends(_conversation)]
DeliveryId = Annotated[str, Depends(_delivery)]
EndpointId = Annotated[str, Depends(_endpoint)]
