"""Where bags are: paths, URLs of object stores, and patterns of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import cast

from m2a_core.errors import ConfigError, DataError
from m2a_core.extras import install_command

_WILD = "*?["


def locate(texts: Sequence[str]) -> tuple[Path, ...]:
    """The bags that the texts name, each text's sorted.

    Args:
        texts: paths and URLs (``s3://bucket/drive.mcap`` and whatever else fsspec has a client of), which
            may be patterns.

    Returns:
        Paths; for a URL a ``upath.UPath``, which behaves like one and is read piece by piece where the bag is.

    Raises:
        ConfigError: a URL, and its client is not installed.
        DataError: the store cannot be read, or nothing fits a pattern.
    """
    return tuple(path for text in texts for path in _locate(text))


def is_remote(path: Path) -> bool:
    """Whether a bag is behind a URL."""
    return "://" in str(path)


def path_of(text: str) -> Path:
    """One path or URL, no pattern.

    Raises:
        ConfigError: as ``locate``.
    """
    if "://" not in text:
        return Path(text)
    with _named(text):
        from upath import UPath

        path = cast(Path, UPath(text))
        # The client itself is looked for only now.
        path.exists()
    return path


@contextmanager
def _named(text: str) -> Iterator[None]:
    """Whatever goes wrong in a store, as an error that names what was asked of it."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"{text}: bags behind URLs need a client that is not installed ({error}); for S3 {install_command('cloud')}"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{text}: no URL of a store that can be read ({error})") from error
    except Exception as error:
        # Each store has errors of its own: no credentials, no such bucket, no answer.
        raise DataError(
            f"{text}: the store cannot be read ({type(error).__name__}: {error}); check the address and "
            "the credentials (for S3 those of the AWS command line)"
        ) from error


def _locate(text: str) -> list[Path]:
    parts = text.split("/")
    wild = next((i for i, part in enumerate(parts) if set(_WILD) & set(part)), None)
    if wild is None or ("://" not in text and Path(text).exists()):
        return [path_of(text)]
    folder = path_of("/".join(parts[:wild]) or ("/" if wild else "."))
    with _named(text) if is_remote(folder) else nullcontext():
        found = sorted(folder.glob("/".join(parts[wild:])))
    if not found:
        raise DataError(f"bag {text}: nothing there fits the pattern")
    return found
