"""The verbs of a pipeline and their parameters, read off the step classes.

One table feeds three readers: `vision/pipeline.py` parses by it, its error messages speak from it,
and `docs/reference` is written from it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from msgspec import inspect

from heliograph.vision import steps
from heliograph.vision.steps import Step

Value: TypeAlias = int | float | str
Kind: TypeAlias = Literal["integer", "number", "word", "colour"]

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(nan|inf(inity)?)")
_SYNONYMS = {"contain": "pad", "fill": "stretch", "h": "horizontal", "v": "vertical"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a verb, as the reference shows it.

    Attributes:
        name: its key.
        kind: `integer`, `number`, `word` or `colour` (rrggbb).
        meaning: in a few words, with the unit.
        choices: for words.
        low: for numbers, inclusive; high: likewise.
        required: must be given.
        default: what it is when left out; None: follows from the picture.
    """

    name: str
    kind: Kind
    meaning: str
    choices: tuple[str, ...]
    low: float
    high: float
    required: bool
    default: Value | None

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if self.kind == "word":
            return f"one of {', '.join(self.choices)}"
        if self.kind == "colour":
            return "a colour as rrggbb, e.g. ffffff"
        whole = "a whole number" if self.kind == "integer" else "a number"
        return f"{whole} from {self.low:g} to {self.high:g}"

    def takes(self, text: str) -> bool:
        """Whether a value without a key is of this parameter's kind."""
        if self.kind == "colour":
            return False
        return (self.kind == "word") != bool(_NUMBER.fullmatch(text))

    def read(self, text: str) -> Value | None:
        """The value, or None if it is not what is expected."""
        if self.kind == "word":
            text = text if text in self.choices else _SYNONYMS.get(text, text)
            return text if text in self.choices else None
        if self.kind == "colour":
            return text if re.fullmatch("[0-9a-f]{6}", text) else None
        if not _NUMBER.fullmatch(text):
            return None
        number = float(text)
        # NaN is in no range.
        if not self.low <= number <= self.high:
            return None
        if self.kind == "number":
            return number
        return int(number) if number.is_integer() else None


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of the language.

    Attributes:
        name: what the caller writes.
        aliases: other names for it.
        step: its class.
        meaning: its class's first sentence.
        parameters: in the order of values without a key.
    """

    name: str
    aliases: tuple[str, ...]
    step: type[Step]
    meaning: str
    parameters: tuple[Parameter, ...]


def _parameter(field: inspect.Field) -> Parameter:
    meta = field.type
    if isinstance(meta, inspect.UnionType):
        meta = meta.types[0]
    if not isinstance(meta, inspect.Metadata):
        raise TypeError(f"Parameter {field.name} has no description. This is a bug.")
    kind, choices, low, high = meta.type, (), -math.inf, math.inf
    name: Kind = "colour"
    if isinstance(kind, inspect.LiteralType):
        name, choices = "word", tuple(str(one) for one in kind.values)
    elif isinstance(kind, inspect.IntType | inspect.FloatType):
        name = "integer" if isinstance(kind, inspect.IntType) else "number"
        low, high = float(kind.ge or 0), float(kind.le or 0)
    default = None if field.required else field.default
    extra = cast("dict[str, str]", meta.extra_json_schema)  # pyright: ignore[reportUnknownMemberType]
    return Parameter(
        field.name, name, extra["description"], choices, low, high, field.required, default
    )


def _verb(step: type[Step], *aliases: str) -> Verb:
    info = inspect.type_info(step)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{step} is no Struct. This is a bug.")
    meaning = (step.__doc__ or "").partition("\n")[0]
    fields = tuple(_parameter(field) for field in info.fields)
    return Verb(str(info.tag), aliases, step, meaning, fields)


TABLE: tuple[Verb, ...] = (
    _verb(steps.Resize),
    _verb(steps.Crop),
    _verb(steps.Rotate),
    _verb(steps.Flip),
    _verb(steps.Grayscale, "greyscale", "gray", "grey"),
    _verb(steps.Brightness),
    _verb(steps.Contrast),
    _verb(steps.Gamma),
    _verb(steps.Saturation),
    _verb(steps.Invert),
    _verb(steps.Posterize),
    _verb(steps.Equalize),
    _verb(steps.Clahe),
    _verb(steps.Blur),
    _verb(steps.Median),
    _verb(steps.Sharpen),
    _verb(steps.Denoise),
    _verb(steps.Threshold),
    _verb(steps.Edges),
    _verb(steps.Png),
    _verb(steps.Jpeg, "jpg"),
    _verb(steps.Webp),
)
"""Every verb; `docs/reference` is written from it."""

VERBS = {name: verb for verb in TABLE for name in (verb.name, *verb.aliases)}
"""The same by name and alias."""
