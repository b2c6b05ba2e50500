"""The protocol's message classes."""

from __future__ import annotations

from pathlib import Path

from heliograph.edge.grpc import messages

SERVICE = "inference.GRPCInferenceService"
MESSAGES = messages.load(Path(__file__).with_name("oip.binpb"))
