"""Errors a user can act on: every message names the input, what was expected and what to do."""


class M2aError(Exception):
    """Base of all errors that m2a raises on purpose; the CLI prints them without a traceback."""


class ConfigError(M2aError):
    """A configuration file, parameter or command-line value is unknown or out of range."""


class CheckpointError(M2aError):
    """Weights are missing, corrupt, foreign or do not fit the model."""


class ExportError(M2aError):
    """A model could not be exported, or the exported graph disagrees with its source."""


class EngineError(M2aError):
    """A model bundle (ONNX file, engine, manifest) is missing, corrupt or does not match its manifest."""


class InferenceError(M2aError):
    """The network failed on an input that passed validation."""


class DataError(M2aError):
    """An image, label, data set or message is malformed."""
