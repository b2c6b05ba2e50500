"""Make the descriptor set of each edge from its `.proto` files: `python tools/protos.py`.

`src/heliograph/edge/NAME/**.proto` -> `src/heliograph/edge/NAME/NAME.binpb`, imports included. A
test holds that they are fresh. Needs grpcio-tools, which serving does not.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

EDGE = Path(__file__).parents[1] / "src" / "heliograph" / "edge"
_WELL_KNOWN = Path(protoc.__file__).parent / "_proto"


def folders() -> list[Path]:
    """The edges that have `.proto` files."""
    return [one for one in sorted(EDGE.iterdir()) if one.is_dir() and any(one.rglob("*.proto"))]


def compile_to(folder: Path, target: Path) -> None:
    """Compile every `.proto` of a folder into one descriptor set.

    Raises:
        RuntimeError: the compiler refused; it has said why on standard error.
    """
    files = [str(one.relative_to(folder)) for one in sorted(folder.rglob("*.proto"))]
    options = [f"-I{folder}", f"-I{_WELL_KNOWN}", "--include_imports"]
    if protoc.main(["protoc", *options, f"--descriptor_set_out={target}", *files]):
        raise RuntimeError(f"{folder.name} does not compile")


def main() -> None:
    """Compile every edge's."""
    for folder in folders():
        target = folder / f"{folder.name}.binpb"
        compile_to(folder, target)
        sys.stdout.write(f"{target.relative_to(EDGE)}  {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
