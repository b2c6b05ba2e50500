"""What a TensorFlow Lite model takes and gives: its engine's names, and the file's own notes."""

from __future__ import annotations

from dataclasses import replace

from heliograph.registry.importing import signature_probe
from heliograph.registry.importing.files import mapped
from heliograph.registry.importing.tflite_file import packed_labels, read_lite
from heliograph.registry.importing.values import Facts, Staged


def read_facts(staged: Staged) -> Facts:
    """Ask the engine behind its wall, and add what the file says of quantisation and labels."""
    facts = signature_probe.read_facts(staged)
    with mapped(staged.main) as data:
        lite = read_lite(data)
    outputs = [lite.tensors[number] for number in lite.outputs]
    quantised = {
        told.name: one.quantised
        for told, one in zip(facts.outputs, outputs, strict=False)
        if one.quantised and told.dtype in {"uint8", "int8"}
    }
    notes: dict[str, str] = {}
    if lite.mean and lite.std:
        notes["tflite.mean"] = ",".join(f"{one:g}" for one in lite.mean)
        notes["tflite.std"] = ",".join(f"{one:g}" for one in lite.std)
    return replace(facts, quantised=quantised, labels=packed_labels(staged.main), metadata=notes)
