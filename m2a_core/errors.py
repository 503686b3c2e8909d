"""Errors a user can act on: every message names the input, what was expected and what to do."""

from __future__ import annotations

import reprlib

from m2a_core.deprecation import old_names


class M2aError(Exception):
    """Base of all errors that m2a raises on purpose; the CLI prints them without a traceback.

    Attributes:
        exit_code: of a command that ends with it.
    """

    exit_code = 2


class ConfigError(M2aError):
    """A configuration file, parameter or command-line value is unknown or out of range."""


class CheckpointError(M2aError):
    """Weights are missing, corrupt, foreign or do not fit the model."""


class ExportError(M2aError):
    """A model could not be exported, or the exported graph disagrees with its source."""


class ModelError(M2aError):
    """A model cannot be loaded here: its bundle, engine or code is missing, corrupt or does not match."""


class NoGpuError(ModelError):
    """No GPU can be used: no binding, no or too old a driver, no permission, no such device."""

    exit_code = 3


class OtherEngineError(ModelError):
    """There is an engine, but damaged or not the one that was asked for; rebuild it."""

    exit_code = 4


class ToleranceError(ModelError):
    """An engine's results are too far from its graph's; rebuilding it from the same graph does not help."""

    exit_code = 5


class InferenceError(M2aError):
    """The network failed on an input that passed validation."""


class RestartNeededError(InferenceError):
    """The process has lost the GPU: every later call fails, and only a new process gets it back."""

    exit_code = 6


class DataError(M2aError):
    """An image, label, data set or message is malformed."""


MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading raises where a document (JSON, YAML) is not built as expected: keys, types, numbers that do not fit.

An infinite number as an integer, and an integer too large for a float, are an OverflowError.
"""


def quoted(text: str, longest: int = 80) -> str:
    """Text from outside as a message shows it: in quotes, control characters escaped, cut to a length.

    A name of megabytes would fill logs and diagnostics, a line break would forge a line of them.
    """
    return repr(text if len(text) <= longest else f"{text[:longest]}...")


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 20


def shown(value: object, longest: int = 80) -> str:
    """A value from outside as a message shows it: its ``repr``, cut in length and depth.

    ``repr`` itself would spell out what YAML's aliases nest to gigabytes.
    """
    text = _SHORT.repr(value)
    return text if len(text) <= longest else f"{text[:longest]}..."


def one_line(text: str, longest: int = 1000) -> str:
    """A message as one line of a log: control characters escaped, cut to a length.

    For messages of libraries that repeat what came from outside, and where messages leave the process.
    """
    shown = text if len(text) <= longest else f"{text[:longest]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


__getattr__ = old_names(globals(), {"EngineError": "ModelError"})
