"""Takes ``.pt2`` files apart and puts them together again, differently: for tests of what a reader refuses."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: A real export, so that hostile files can be made without torch: ``python -m tests.pt2_files`` writes it again.
SMALL = Path(__file__).parent / "models" / "small.pt2"

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"


def entries(data: bytes) -> dict[str, bytes]:
    """Name without the root folder → content."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def archive(contents: dict[str, bytes], compression: int = zipfile.ZIP_STORED, root: str = "small/") -> bytes:
    """A zip file of entries under a root folder."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in contents.items():
            file.writestr(root + name, content)
    return stream.getvalue()


def edited(data: bytes, change: Callable[[Any], Any], name: str = MODEL) -> bytes:
    """The file with one JSON document changed, in place or by what ``change`` returns."""
    contents = entries(data)
    document = json.loads(contents[name])
    replaced = change(document)
    contents[name] = json.dumps(document if replaced is None else replaced).encode()
    return archive(contents)


def nodes(document: Any) -> list[Any]:
    """The nodes of the graph in a model document."""
    found: list[Any] = document["graph_module"]["graph"]["nodes"]
    return found


def argument(node: Any, name: str) -> Any:
    """An argument of a node."""
    return next(entry["arg"] for entry in node["inputs"] if entry["name"] == name)


def main() -> None:
    """Export the small model."""
    import torch

    from tests import torch_models as models

    program = models.pt2e(models.digits(), models.xnnpack_quantizer(), (torch.randn(2, *models.IMAGE),), batch=True)
    contents = entries(models.saved(program))
    document = json.loads(contents[MODEL])
    for node in nodes(document):
        node["metadata"] = {}  # paths of whoever exported it
    contents[MODEL] = json.dumps(document).encode()
    SMALL.write_bytes(archive(contents))


if __name__ == "__main__":
    main()
