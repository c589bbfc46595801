"""How much a value keeps in memory: what holds a thousand things more weighs a thousand more."""

import gc
from types import FunctionType, ModuleType


def weight(value: object) -> int:
    """The number of objects that it keeps, without classes, functions and modules."""
    found: dict[int, object] = {}
    new = [value]
    while new:
        one = new.pop()
        if id(one) not in found and not isinstance(one, type | FunctionType | ModuleType):
            found[id(one)] = one
            new += gc.get_referents(one)
    return len(found)
