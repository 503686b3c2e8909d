"""MkDocs hook: pages that are made from the code, and links that lead out of the documentation.

``mkdocs build`` calls the two functions; see https://www.mkdocs.org/user-guide/configuration/#hooks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from command_help import every_parser
from mkdocs.structure.files import File, Files
from parameter_schema import parameter_schema
from topic_list import INPUTS, OUTPUTS

ROOT = Path(__file__).resolve().parents[2]
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([^)]+)\)")
_IN_README = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)]+)\)")
_PYTHON = {
    "A model": ["api.load", "api.Model"],
    "What it answers": [
        *["api.Result", "types.UnknownInstance", "stream.objects.TrackedObject"],
        *["geometry.localization.LocalizedInstance", "labels.label_set.LabelSet", "types.OpenSetResult"],
        *["types.Horizon", "types.FarEnd", "api.Logits"],
    ],
    "Errors": [
        *["errors.M2aError", "errors.ConfigError", "errors.DataError", "errors.ModelError", "errors.NoGpuError"],
        *["errors.InferenceError", "errors.RestartNeededError"],
    ],
}
"""Chapters of the page on Python: what ``import m2a_core`` offers, and what the attributes of that are."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file holds."""
    pages = {
        "index.md": home(),
        "overview.md": overview(),
        "reference/commands.md": commands(),
        "reference/topics.md": topics(),
        "reference/parameters.md": parameters(),
        "reference/python.md": python(),
    }
    # MkDocs would write it to index.html, where the home page is.
    readme = files.get_file_from_path("README.md")
    if readme is not None:
        files.remove(readme)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to sources become their paths: the site does not hold them."""

    def path_only(match: re.Match[str]) -> str:
        text, target = match.groups()
        inside = Path(page.file.src_uri).parent.parts
        return match.group() if len(inside) >= match.group().count("../") else f"{text} (`{target}` in the repository)"

    return _OUTSIDE.sub(path_only, markdown)


def home() -> str:
    """The README, as the front page: links to ``docs/`` lead to the pages, all others become paths."""

    def on_site(match: re.Match[str]) -> str:
        text, target = match.groups()
        if not target.startswith("docs/"):
            return f"{text} (`{target}` in the repository)"
        page = target.removeprefix("docs/")
        return f"[{text}]({'overview.md' if page == 'README.md' else page})"

    return _IN_README.sub(on_site, (ROOT / "README.md").read_text(encoding="utf-8"))


def overview() -> str:
    """``docs/README.md``, which on the site is a page of its own."""
    return (ROOT / "docs" / "README.md").read_text(encoding="utf-8")


def commands() -> str:
    """What ``--help`` says, of every command."""
    from m2a_ros.main import COMMANDS

    parts = [
        "# Commands\n\nMade from the commands' own `--help`. After `make demo` the command is `.venv/bin/m2a`; in a "
        "colcon workspace it is `ros2 run m2a_ros m2a`.\n"
    ]
    for parser in every_parser(COMMANDS):
        parts.append(f"## `{parser.prog}`\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def topics() -> str:
    """Every topic of the node, from the list that a test compares with a running node."""
    parts = [
        "# Topics\n\nCAMERA is a name from the parameter `cameras`, and `~` is the node's name: `/m2a` by default. "
        "[The node](../node.md#topics) explains quality of service, sizes and when outputs are computed.\n"
    ]
    for title, listed in (("Read", INPUTS), ("Published", OUTPUTS)):
        rows = [f"| `{t.name}` | {' or '.join(k for k in t.kinds if k)} | {t.content} |" for t in listed]
        parts.append(f"## {title}\n\n| topic | type | content |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def python() -> str:
    """The Python interface, from its docstrings; the first lines are those of the README."""
    (example,) = re.findall(r"```python\n.*?```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    offered = "`load`, `Model`, `Result`, `UnknownInstance`, `Logits` and `M2aError` are names of `m2a_core`."
    parts = [f"# Python\n\n{example}\n\n{offered} Longer programs: `examples/` in the repository.\n"]
    for title, names in _PYTHON.items():
        parts += [f"## {title}\n", *(f"::: m2a_core.{name}\n    options:\n      heading_level: 3\n" for name in names)]
    return "\n".join(parts)


def parameters() -> str:
    """Every parameter of the node, from the JSON Schema of parameter files."""
    schema = parameter_schema()
    found = schema["additionalProperties"]["properties"]["ros__parameters"]["properties"]
    rows = ["# Parameters\n", "Made from the node's declarations; [The node](../node.md) explains them.\n"]
    rows += ["| parameter | type | default | meaning |", "| --- | --- | --- | --- |"]
    rows += [_row(name, spec) for name, spec in _flat(found, "")]
    return "\n".join(rows) + "\n"


def _flat(found: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, spec in found.items():
        if "properties" in spec:
            yield from _flat(spec["properties"], f"{prefix}{name}.")
        elif isinstance(spec.get("additionalProperties"), dict) and "properties" in spec["additionalProperties"]:
            yield from _flat(spec["additionalProperties"]["properties"], f"{prefix}{name}.NAME.")
        else:
            yield f"{prefix}{name}", spec


def _row(name: str, spec: dict[str, Any]) -> str:
    kind = spec.get("type", "")
    kind = "/".join(kind) if isinstance(kind, list) else kind
    if "enum" in spec:
        kind = ", ".join(map(str, spec["enum"]))
    # As in a parameter file: JSON is YAML.
    default = f"`{json.dumps(spec['default'])}`" if "default" in spec else ""
    text = str(spec.get("description", "")).replace("|", "\\|").replace("\n", " ")
    return f"| `{name}` | {kind} | {default} | {text} |"
