"""The configuration as text: TOML that can be read back, with where each value comes from, and with what each key means."""

from __future__ import annotations

import inspect
import json
from typing import Any

import msgspec
from msgspec.inspect import BoolType, FloatType, IntType, LiteralType, Metadata, StrType, Type, type_info

from edge.config import Config, Layered, Section, sections

DEFAULT = "default"


def keys(layered: Layered) -> list[dict[str, Any]]:
    """Every key with its value and where that comes from, as values that JSON knows."""
    return [
        {"key": key, "value": value, "from": layered.origin.get(key, DEFAULT)}
        for table in ("", *sections())
        for key, value in _values(layered.config, table).items()
    ]


def as_text(layered: Layered, *, documented: bool = False) -> str:
    """TOML. Values that a file has set name it; ``documented`` puts the meaning and the limits of each key above it."""
    lines: list[str] = []
    tables: dict[str, type[Section]] = {"": Config} | sections()
    for table, kind in tables.items():
        if table:
            lines += ["", *([f"# {_summary(kind)}"] if documented else []), f"[{table}]"]
        for key, value in _values(layered.config, table).items():
            if documented:
                lines.append(f"# {describe(kind, key.rpartition('.')[2])}")
            origin = layered.origin.get(key, "" if documented else DEFAULT)
            lines.append(f"{key.rpartition('.')[2]} = {json.dumps(value)}{f'  # {origin}' if origin else ''}")
    return "\n".join(lines)


def describe(kind: type[Section], name: str) -> str:
    """What a key means, and which values it takes."""
    field = next(field for field in type_info(kind).fields if field.name == name)  # type: ignore[attr-defined]
    told = field.type
    assert isinstance(told, Metadata), f"{kind.__name__}.{name} has no description"
    return f"{(told.extra_json_schema or {})['description']} ({_limits(told.type)})"


def _values(config: Config, table: str) -> dict[str, Any]:
    """Full key to value; without a table what stands above them all."""
    section = getattr(config, table) if table else config
    found = msgspec.structs.asdict(section)
    return {f"{table}.{name}" if table else name: value for name, value in found.items() if not isinstance(value, Section)}


def _summary(kind: type[Section]) -> str:
    text = " ".join(inspect.getdoc(kind).split()).replace("``", "")  # type: ignore[union-attr]
    return text.partition("]: ")[2]


def _limits(kind: Type) -> str:
    if isinstance(kind, LiteralType):
        return " | ".join(json.dumps(value) for value in sorted(map(str, kind.values)))
    if isinstance(kind, BoolType):
        return "true | false"
    if isinstance(kind, StrType):
        plain = f"text, at most {kind.max_length} characters" if kind.max_length else "text"
        return plain if kind.pattern is None else "lower-case letters, digits and inner dashes, 1 to 50"
    assert isinstance(kind, IntType | FloatType)
    word = "whole number" if isinstance(kind, IntType) else "number"
    bounds = [("from", kind.ge), ("above", kind.gt), ("to", kind.le)]
    return " ".join([word, *(f"{name} {bound}" for name, bound in bounds if bound is not None)])
