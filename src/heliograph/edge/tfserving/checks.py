"""What a gRPC request may ask for, checked in TensorFlow Serving's words."""

from __future__ import annotations

from collections.abc import Sequence

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving.dtypes import of_numpy
from heliograph.edge.tfserving.signatures import CLASSIFY, REGRESS
from heliograph.edge.tfserving.spec import SIGNATURE, Spec, check_signature
from heliograph.runtimes.base import Arrays
from heliograph.serving.resident import Signature


def chosen_outputs(names: Sequence[str], signature: Signature) -> list[str]:
    """The outputs to answer with: those that were asked for, else all.

    Raises:
        HeliographError: `bad_request`; one is not there, or stands twice.
    """
    known = [one.name for one in signature.outputs]
    for at, name in enumerate(names):
        if name not in known:
            raise HeliographError(
                Code.BAD_REQUEST,
                f"output tensor alias not found in signature: {name[:80]} Outputs expected to be "
                f"in the set {{{','.join(sorted(known))}}}.",
            )
        if name in names[:at]:
            raise HeliographError(Code.BAD_REQUEST, f"duplicate output tensor alias: {name}")
    return list(names) or known


def check_feeds(feeds: Arrays, signature: Signature, files: str | None) -> None:
    """Compare names and data types with the signature; shapes are looked at on the path.

    Args:
        feeds: what came.
        signature: the model's.
        files: name of the input that also takes files; None for none.

    Raises:
        HeliographError: `bad_request` or `bad_shape`.
    """
    known = {one.name: one for one in signature.inputs}
    extra, missing = sorted(set(feeds) - set(known)), sorted(set(known) - set(feeds))
    if len(feeds) != len(known):
        raise HeliographError(
            Code.BAD_REQUEST,
            f"input size does not match signature: {len(feeds)}!={len(known)} "
            f"len({{{','.join(sorted(feeds))[:200]}}}) != len({{{','.join(sorted(known))}}}). Sent "
            f"extra: {{{','.join(extra)[:200]}}}. Missing but required: {{{','.join(missing)}}}.",
        )
    if extra:
        raise HeliographError(
            Code.BAD_REQUEST,
            f"input tensor alias not found in signature: {extra[0][:80]}. Inputs expected to be in "
            f"the set {{{','.join(sorted(known))}}}.",
        )
    for at, (name, wanted) in enumerate(known.items()):
        came = feeds[name].dtype.name
        if came != wanted.dtype and not (name == files and came == "object"):
            raise HeliographError(
                Code.BAD_SHAPE,
                f"Expects arg[{at}] to be {of_numpy(wanted.dtype).word} but "
                f"{of_numpy(came).word} is provided",
            )


def check_tasks(specs: Sequence[Spec], methods: Sequence[str]) -> None:
    """Refuse tasks of several models, or two of the same kind.

    Raises:
        HeliographError: `bad_request` or `unsupported`.
    """
    if not specs:
        raise HeliographError(Code.BAD_REQUEST, "Inference request must have at least one task.")
    seen: set[tuple[str, str]] = set()
    for spec, method in zip(specs, methods, strict=True):
        if not spec.name:
            raise HeliographError(
                Code.BAD_REQUEST, "Found ModelSpec with an empty model name in a task."
            )
        if (spec.name, spec.version, spec.label) != (
            specs[0].name,
            specs[0].version,
            specs[0].label,
        ):
            raise HeliographError(
                Code.BAD_REQUEST,
                "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
            )
        if method not in {CLASSIFY, REGRESS}:
            raise HeliographError(
                Code.UNSUPPORTED, f"Unsupported signature method_name: {method[:80]}"
            )
        check_signature(spec.signature)
        key = (spec.signature or SIGNATURE, method)
        if key in seen:
            raise HeliographError(
                Code.BAD_REQUEST,
                f"Duplicate evaluation of signature: {spec.signature or SIGNATURE}",
            )
        seen.add(key)
