"""Protobuf messages of the published interface, made from a short notation of their fields.

The notation of a message is its fields in the order of their numbers, from 1: ``name:type``, ``name:type*`` for a repeated one,
``name:{type}`` for a map from strings. A type is one of protobuf's or the name of a message or an enum. The notation of an enum
is its names in the order of their numbers, from 0.

The messages live in a pool of their own, so that a program may also bring generated classes of the same names.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping, Sequence

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

__all__ = ["declare"]

_POOL = descriptor_pool.DescriptorPool()
_FIELD = re.compile(r"(\w+):(?:\{(\w+)\}|([\w.]+)(\*?))$")
_Field = descriptor_pb2.FieldDescriptorProto


def declare(
    module: str, *, enums: Mapping[str, str], messages: Mapping[str, str], imports: Sequence[str] = ()
) -> Dict[str, Any]:
    """Return the classes of a file's messages, its enums, and the numbers of their names, by name.

    ``module`` is the module that offers them, and ``imports`` are those whose types its fields have.
    """
    file = descriptor_pb2.FileDescriptorProto(name=_file(module), syntax="proto3", dependency=[_file(i) for i in imports])
    for name, values in enums.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    declared: Dict[str, Any] = {}
    for name, fields in messages.items():
        outer, _, inner = name.rpartition(".")
        message = declared[name] = (declared[outer].nested_type if outer else file.message_type).add(name=inner)
        for number, field in enumerate(fields.split(), 1):
            _add_field(message, number, field, name)
    _POOL.AddSerializedFile(file.SerializeToString())
    found: Dict[str, Any] = {}
    for name, values in enums.items():
        found[name] = enum_type_wrapper.EnumTypeWrapper(_POOL.FindEnumTypeByName(name))
        found.update((value, number) for number, value in enumerate(values.split()))
    for name in messages:
        if "." not in name:
            found[name] = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))
            found[name].__module__ = module  # so that messages can be pickled
    return found


def _file(module: str) -> str:
    return module.replace(".", "/").replace("_pb2", ".proto")


def _add_field(message: Any, number: int, notation: str, within: str) -> None:
    matched = _FIELD.match(notation)
    assert matched is not None, f"{notation!r} in {within} is not a field"
    name, of_map, kind, repeated = matched.groups()
    label = _Field.LABEL_REPEATED if of_map or repeated else _Field.LABEL_OPTIONAL
    if not of_map:
        _set_type(message.field.add(name=name, number=number, label=label), kind)
        return
    entry = message.nested_type.add(name="".join(word.capitalize() for word in name.split("_")) + "Entry")
    entry.options.map_entry = True
    _set_type(entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), "string")
    _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), of_map)
    _set_type(message.field.add(name=name, number=number, label=label), f"{within}.{entry.name}")


def _set_type(field: Any, kind: str) -> None:
    scalar = getattr(_Field, f"TYPE_{kind.upper()}", None)
    if scalar is None:
        field.type_name = f".{kind}"  # the pool finds out whether it is a message or an enum
    else:
        field.type = scalar
