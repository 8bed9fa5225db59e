# SPDX-License-Identifier: BSD-3-Clause
"""Tables of a paper, with our rows under its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

MISSING = "-"


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        method: what it scores.
        cells: as many texts as the table has columns, "-" where there is none.
        ours: whether it was computed here.
    """

    method: str
    cells: tuple[str, ...]
    ours: bool = False


@dataclass(frozen=True)
class Table:
    """A table as the paper prints it.

    Attributes:
        title: where it stands and what it shows.
        columns: what each column holds.
        rows: the paper's.
        notes: what a reader must know to compare.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses rows of another length: a number would stand under the wrong heading."""
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(
                    f"Table: row '{row.method}' must have {len(self.columns)} cells,"
                    f" got {len(row.cells)}"
                )

    def with_rows(self, rows: Sequence[Row], notes: Sequence[str] = ()) -> "Table":
        """The table with further rows and notes at its end."""
        return replace(self, rows=(*self.rows, *rows), notes=(*self.notes, *notes))


def show(table: Table) -> str:
    """The table as Markdown, in columns that line up; rows computed here are marked with *.

    Example:
        >>> rows = Row("paper", ("30.00/0.90",)), Row("blurops", ("29.50/0.89",), ours=True)
        >>> print(show(Table("Table 1", ("GoPro",), rows)))
        Table 1
        <BLANKLINE>
        | method     | GoPro      |
        | ---------- | ---------- |
        | paper      | 30.00/0.90 |
        | blurops *  | 29.50/0.89 |
    """
    lines = [("method", *table.columns)]
    lines += [(f"{row.method} *" if row.ours else row.method, *row.cells) for row in table.rows]
    widths = [max(10, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
    lines.insert(1, tuple("-" * width for width in widths))
    text = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    return "\n".join([table.title, "", *text, *(["", *table.notes] if table.notes else [])])
