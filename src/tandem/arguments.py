"""A call's arguments as the ledger keeps them: JSON text of a bounded size."""

from collections.abc import Mapping, Sequence

from django.tasks.exceptions import InvalidTask

from tandem.task import Task
from tandem.values import InvalidValue, encode, shown

__all__ = ["InvalidArguments", "encoded_arguments"]


class InvalidArguments(InvalidTask, TypeError):
    """Arguments that the ledger cannot keep. A `TypeError` too, which is what Django's own backends raise."""


def encoded_arguments(task: Task, args: object, kwargs: object, *, limit: int) -> str:
    """Encode one call's arguments; raises `InvalidArguments` for what is not JSON, cannot be stored or is too large."""
    named = isinstance(kwargs, Mapping) and all(isinstance(key, str) for key in kwargs)
    if not named or not isinstance(args, Sequence) or isinstance(args, str):
        raise InvalidArguments(
            f"{task.module_path}: a call is a list of arguments and a dictionary of named ones, not {shown(args)} and"
            f" {shown(kwargs)}."
        )
    try:
        return encode({"args": args, "kwargs": kwargs}, what="the arguments", limit=limit)
    except InvalidValue as error:
        raise InvalidArguments(
            f"{task.module_path}: {error} Pass strings, numbers, lists, dictionaries, and the keys of rows instead of"
            " the rows; store what is large (OPTIONS['MAX_ARGUMENTS_BYTES']) elsewhere, and pass where it is."
        ) from error
