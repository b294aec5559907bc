"""The page of a study: one HTML file with its chart and tables, which needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from dgaug.files import write_text
from dgaug.studies.metric_texts import TextTable, study_notes, study_tables

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 2rem}th,td{padding:.2rem .7rem;border-bottom:1px solid #ddd}
th,td,caption{text-align:left}caption{font-weight:600;padding:.3rem 0}img{max-width:100%}"""


def write_page(path: Path, results: Mapping[str, Any], chart: Path) -> None:
    """Write the page of a study with its chart, a PNG file, inside."""
    protocol = results["protocol"]
    image = base64.b64encode(chart.read_bytes()).decode()
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>dgaug study</title>',
        f"<style>{_STYLE}</style></head><body>",
        "<h1>What generated images are worth</h1>",
        f"<p>{escape(_summary(protocol))}</p>",
        f'<p><img alt="Learning curves of all arms" src="data:image/png;base64,{image}"></p>',
        *(_table(table) for table in study_tables(results)),
        "<ul>",
        *(f"<li>{escape(note)}</li>" for note in study_notes(results)),
        "</ul></body></html>",
    ]
    write_text(path, "\n".join(lines) + "\n")


def _summary(protocol: Mapping[str, Any]) -> str:
    data, held_out = protocol["data"], protocol["held_out"]
    return (
        f"Model {protocol['model']} ({protocol['backbone']}), {protocol['repeats']} repeats, axis {protocol['axis']}; "
        f"{data['training_images']:,} training images of {data['training_identities']:,} identities, tested on "
        f"{held_out['queries']:,} queries and {held_out['gallery']:,} gallery images. "
        f"Generator: {protocol['generator']}."
    )


def _table(table: TextTable) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f"<table><caption>{escape(table.title)}</caption><tr>{head}</tr>\n{rows}</table>"
