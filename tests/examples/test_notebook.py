"""The notebook runs from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tiny_run import TINY

from dgaug.data.layouts import open_data
from dgaug.runs import Run

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"
SECTIONS = {name: values for name, values in TINY.items() if isinstance(values, dict)}
SETTINGS = [f"{name}.{key}={value}" for name, values in SECTIONS.items() for key, value in values.items()]


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    # Connections of other kernels of this user stay out of it, and so does what they have configured.
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs of somebody's machine are no part of it"
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source += f"\nSETTINGS = {[*SETTINGS, 'model.start=none']!r}"
    (tmp_path / "work").mkdir()
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path / "work")}}
    )
    client.execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    run = Run(tmp_path / "work" / "runs" / "quickstart")
    images = len(open_data(run.data_root()).splits["train"])
    assert f"{5 * images} images of {images} sources" in printed
    mixed = open_data(tmp_path / "work" / "mixed")
    assert (mixed.layout, len(mixed.splits["train"])) == ("market1501", 2 * images)
    with Image.open(tmp_path / "work" / "grid.png") as grid:
        assert grid.width > 4 * 32
