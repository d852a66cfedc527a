"""Write the table of settings in ``docs/configuration.md`` from the settings themselves.

A test fails when the table is out of date. Usage: ``python -m tools.make_settings_table``, after a change of
``core/settings.py``.
"""

from pathlib import Path

from pydantic.fields import FieldInfo

from core.settings import Settings, variable

DOCUMENT = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGIN, END = "<!-- settings: written by tools.make_settings_table -->", "<!-- end of settings -->"


def make_table() -> str:
    """Every setting in Markdown: its variable, its default, its meaning."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{variable(name)}` | {_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def with_table(document: str) -> str:
    """The document with the table between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{make_table()}{END}{after}"


def _default(field: FieldInfo) -> str:
    if field.default in (None, ()):
        return "unset"
    return f"`{','.join(map(str, field.default)) if isinstance(field.default, tuple) else field.default}`"


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
