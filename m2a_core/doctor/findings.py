"""What a check found, and how findings are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


_MARKS = {Level.OK: "ok  ", Level.NOTE: "note", Level.WARNING: "WARN", Level.ERROR: "FAIL"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what, in a few words, e.g. ``/dev/shm``.
        level: how bad it is.
        text: what was found.
        remedy: the command or the step that fixes it; empty where nothing is to be fixed.
    """

    subject: str
    level: Level
    text: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON has it."""
        return asdict(self) | {"level": self.level.value}


Check = Callable[[], Iterable[Finding]]


def run_checks(checks: Iterable[Check]) -> Iterator[Finding]:
    """Run checks one after the other; one that breaks is a finding of its own and costs none of the others."""
    for check in checks:
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001 # a doctor who falls ill helps nobody
            name = getattr(check, "__name__", "check").replace("_", " ")
            yield Finding(name, Level.WARNING, f"could not be checked: {type(error).__name__}: {error}")


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Findings for people, each remedy below what it fixes."""
    for finding in findings:
        yield f"{_MARKS[finding.level]}  {finding.subject}: {finding.text}"
        if finding.remedy:
            yield f"      -> {finding.remedy}"


def summary(findings: Iterable[Finding]) -> str:
    """How many findings of which level there are."""
    found = [finding.level for finding in findings]
    counts = {level: found.count(level) for level in (Level.ERROR, Level.WARNING)}
    if not any(counts.values()):
        return "no problems found"
    return ", ".join(f"{n} {level.value}{'s' if n != 1 else ''}" for level, n in counts.items() if n)
