"""Numbers that threads share inside compiled calls, each operation one step for all of them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def added(_typing: Any, counter: Any) -> Any:
    """Add 1 to the first number of an array; what it was."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(counter), code


@intrinsic
def swapped(_typing: Any, flag: Any, value: Any) -> Any:
    """Put a value in the first place of an array; what was there."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("xchg", array.data, arguments[1], "acq_rel")

    return types.int64(flag, types.int64), code


@intrinsic
def seen(_typing: Any, flag: Any) -> Any:
    """The first number of an array as other threads have left it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, "acquire", 8)

    return types.int64(flag), code
