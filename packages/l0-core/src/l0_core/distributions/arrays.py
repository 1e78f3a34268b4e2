"""How the formulas take their arguments: one array-API namespace, one kind of number, plain Python numbers aligned."""

from __future__ import annotations

from typing import Any

from l0_core.errors import InputError

Array = Any

_NAMESPACES: dict[type, Any] = {}
"""The array-API namespace of each array type seen: to ask anew costs more than a small formula does, and
compilers such as torch's cannot follow the asking."""


def floating(**arguments: Array) -> tuple[Any, list[Array]]:
    """The array-API namespace of the arguments, and the arguments as floating arrays of it.

    Python numbers take the dtype and device of the arrays beside them (float64 of NumPy where there
    is none). Arrays are handed back as they are.

    Parameters
    ----------
    arguments
        Arrays or Python numbers by name; the names are for the messages.

    Raises
    ------
    InputError
        Something that is no array, whole numbers where real ones are meant, arrays of two libraries or devices.
    """
    arrays = {name: value for name, value in arguments.items() if not isinstance(value, (int, float))}
    if not arrays:
        import numpy as np

        return floating(**{name: np.asarray(value, dtype=np.float64) for name, value in arguments.items()})
    known = [_NAMESPACES.get(type(value)) for value in arrays.values()]
    xp = known[0] if known[0] is not None and all(each is known[0] for each in known) else _namespace(arrays)
    for name, value in arrays.items():
        if not xp.isdtype(value.dtype, "real floating"):
            raise InputError(f"{name} must hold real numbers (float32, float64), got dtype {value.dtype}")
    if len(arrays) > 1:
        _check_devices(arrays)
    if len(arrays) == len(arguments):
        return xp, list(arrays.values())
    import array_api_compat

    like = next(iter(arrays.values()))
    device = array_api_compat.device(like)
    return xp, [
        arrays[name] if name in arrays else xp.asarray(value, dtype=like.dtype, device=device)
        for name, value in arguments.items()
    ]


def _check_devices(arrays: dict[str, Array]) -> None:
    # Arrays of NumPy before 2 do not say where they are: on the host, all of them.
    places = {name: getattr(value, "device", None) for name, value in arrays.items()}
    first = next(iter(places.values()))
    if any(place != first for place in places.values()):
        where = ", ".join(f"{name}: {place}" for name, place in places.items())
        raise InputError(f"the arrays must be on one device, got {where}; use backend.asarray for all")


def check_inside(xp: Any, name: str, probabilities: Array) -> None:
    """InputError unless all of the probabilities lie strictly between 0 and 1.

    It looks at the values, so it is for what is asked once, not for the draws of every step.
    """
    if not bool(xp.all((probabilities > 0.0) & (probabilities < 1.0))):
        raise InputError(f"{name} must lie strictly between 0 and 1 (and be no NaN)")


def _namespace(arrays: dict[str, Array]) -> Any:
    """The one namespace of the arrays, remembered by their types."""
    import array_api_compat

    for name, value in arrays.items():
        if not array_api_compat.is_array_api_obj(value):
            raise InputError(f"{name} must be an array or a number, got {type(value).__name__}; use backend.asarray")
    try:
        xp = array_api_compat.array_namespace(*arrays.values())
    except TypeError as error:
        kinds = ", ".join(f"{name}: {type(value).__module__}" for name, value in arrays.items())
        raise InputError(f"the arrays must be of one library, got {kinds}; use backend.asarray for all") from error
    for value in arrays.values():
        _NAMESPACES[type(value)] = xp
    return xp


def stop_gradient(array: Array) -> Array:
    """The same values, without a gradient (the array itself where its library has no gradients)."""
    detach = getattr(array, "detach", None)
    if detach is not None:
        return detach()
    if type(array).__module__.partition(".")[0] in ("jax", "jaxlib"):
        import jax  # type: ignore[import-not-found, unused-ignore]

        return jax.lax.stop_gradient(array)
    return array
