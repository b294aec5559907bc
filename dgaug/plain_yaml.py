"""YAML that people wrote, read as plain values or refused."""

from __future__ import annotations

from typing import Any

import yaml

_MOST_BITS = 128


class PlainLoader(yaml.SafeLoader):
    """The safe loader, which also refuses a name that is there twice: the first value would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose names are all different."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """An integer of no more bits than anything counts: Python refuses to write out one of thousands of digits."""
        number: int = super().construct_yaml_int(node)
        if number.bit_length() > _MOST_BITS:
            raise yaml.constructor.ConstructorError(None, None, "an integer of too many digits", node.start_mark)
        return number


PlainLoader.add_constructor("tag:yaml.org,2002:int", PlainLoader.construct_yaml_int)


def read_yaml(text: str) -> Any:
    """The value of a YAML text, made of plain types only.

    Raises:
        ValueError: no YAML, a tag that asks for more than a plain type, a name twice in one mapping, a value that its
            type does not have (the 99th of a month), or nested too deeply.
    """
    try:
        return yaml.load(text, PlainLoader)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    # A tag before a value it does not fit comes out of PyYAML as whatever its own arithmetic raises.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from error
