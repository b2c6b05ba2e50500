"""Settings that clients may read and change over the protocol: the log's, and the trace's.

What cannot be done here is refused by name, never taken and ignored. A change counts for this
process until it stops.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.telemetry.trace import LEVELS, Tracer, TraceRule

Value = bool | int | str
_SWITCHES = ("log_info", "log_warning", "log_error")
_LOG = logging.getLogger("heliograph")


class LogControl:
    """The settings of the log; see the module's docstring."""

    def __init__(self) -> None:
        level = _LOG.getEffectiveLevel()
        self._settings: dict[str, Value] = {
            "log_file": "",
            "log_info": level <= logging.INFO,
            "log_warning": level <= logging.WARNING,
            "log_error": level <= logging.ERROR,
            "log_verbose_level": int(level <= logging.DEBUG),
            "log_format": "default",
        }

    def read(self) -> dict[str, Value]:
        """Every setting."""
        return dict(self._settings)

    def update(self, changes: Mapping[str, Any]) -> dict[str, Value]:
        """Change some settings; either all of them or none.

        Raises:
            HeliographError: `validation` or `unsupported`, naming the setting.
        """
        for name, value in changes.items():
            self._check(name, value)
        self._settings |= changes
        _LOG.setLevel(self._level())
        return self.read()

    def _check(self, name: str, value: Any) -> None:
        if name not in self._settings:
            raise HeliographError(Code.VALIDATION, f"log setting '{name[:60]}' is not recognized")
        if name == "log_file":
            raise HeliographError(
                Code.UNSUPPORTED, "log file location can not be updated through network protocol"
            )
        if name in _SWITCHES and not isinstance(value, bool):
            raise HeliographError(Code.VALIDATION, f"log setting '{name}' must be true or false")
        if name == "log_verbose_level" and (
            not isinstance(value, int) or isinstance(value, bool) or value < 0
        ):
            raise HeliographError(
                Code.VALIDATION, "log setting 'log_verbose_level' must be a number of 0 or more"
            )
        if name == "log_format" and value != self._settings[name]:
            raise HeliographError(
                Code.UNSUPPORTED,
                "log setting 'log_format' can not be changed while the server runs; its operator "
                "chooses with the setting log.style",
            )

    def _level(self) -> int:
        said = self._settings
        if said["log_verbose_level"]:
            return logging.DEBUG
        levels = (logging.INFO, logging.WARNING, logging.ERROR)
        for name, level in zip(_SWITCHES, levels, strict=True):
            if said[name]:
                return level
        return logging.CRITICAL


class TraceControl:
    """The settings of the trace: of all models, and of single ones that differ."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def read(self, model: str = "") -> dict[str, Any]:
        """Every setting that counts for a model, or for those that have none of their own."""
        rule = self._tracer.rule(model)
        return {
            "trace_file": self._tracer.file.name,
            "trace_level": list(rule.levels),
            "trace_rate": str(rule.rate),
            "trace_count": str(rule.count),
            "log_frequency": "0",
            "trace_mode": "triton",
        }

    def update(self, changes: Mapping[str, Any], model: str = "") -> dict[str, Any]:
        """Change some settings; None clears one, so that the one of all models counts again.

        Raises:
            HeliographError: `validation` or `unsupported`, naming the setting.
        """
        rule, base = self._tracer.rule(model), self._tracer.rule("") if model else TraceRule()
        for name, value in changes.items():
            rule = _change(rule, base, name, value)
        self._tracer.set_rule(model, None if model and rule == base else rule)
        return self.read(model)


def _change(rule: TraceRule, base: TraceRule, name: str, value: Any) -> TraceRule:
    if name == "trace_level":
        levels = base.levels if value is None else tuple(_texts(name, value))
        for level in levels:
            if level not in LEVELS:
                raise _refuse(f"trace level '{level[:20]}' is not one of {', '.join(LEVELS)}")
        return rule.having(levels=levels)
    if name == "trace_rate":
        return rule.having(rate=base.rate if value is None else _number(name, value, 1))
    if name == "trace_count":
        return rule.having(count=base.count if value is None else _number(name, value, -1))
    if name == "log_frequency" and (value is None or _number(name, value, 0) == 0):
        return rule
    if name == "trace_file" and value is not None:
        raise _refuse("trace file location can not be updated through network protocol")
    if name in {"trace_file", "log_frequency", "trace_mode"} and value in (None, "triton"):
        return rule
    raise _refuse(f"trace setting '{name[:60]}' can not be set to that here")


def _texts(name: str, value: Any) -> list[str]:
    values: list[Any] = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) for one in values):
        raise _refuse(f"trace setting '{name}' must be a text or a list of texts")
    return values


def _number(name: str, value: Any, least: int) -> int:
    one = value[0] if isinstance(value, list) and len(value) == 1 else value
    try:
        number = int(str(one)[:20])
    except ValueError as error:
        raise _refuse(f"trace setting '{name}' must be a number") from error
    if number < least:
        raise _refuse(f"trace setting '{name}' must be at least {least}")
    return number


def _refuse(why: str) -> HeliographError:
    return HeliographError(Code.VALIDATION, why)
