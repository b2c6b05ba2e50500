"""What scaled JPEG decoding does to answers: every picture exact and scaled, side by side.

    python -m bench.scale_effect --data ../shared/data

For each built-in model and each JPEG that the decoder may scale down for it: does the top label
change, by how much does the top score move, how well do boxes match. Writes
`bench/results/scale_effect.md`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.machine import line as machine
from heliograph.accounts.key import OpenGate
from heliograph.app import App, build
from heliograph.serving.values import Head
from heliograph.settings import home_folder, read_settings
from heliograph.vision.decode import decode
from heliograph.vision.nms import iou
from heliograph.vision.prepare import prepare

MODELS = ("efficientnet-lite0", "efficientnet-lite3", "ssd-mobilenet-v2-coco")


def start(*, exact: bool) -> App:
    settings = read_settings(home_folder(), {"serving": {"exact": exact}})
    app = build(settings, gate=OpenGate(), only=MODELS)
    app.catalog.load_all()
    return app


def ask(app: App, model: str, data: bytes) -> Any:
    entry = app.path.enter(Head(model=model, form="json"))
    return app.path.answer(entry, data).result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    folder = parser.parse_args().data
    files = sorted(one for one in folder.rglob("*.jpg"))
    exact, scaled = start(exact=True), start(exact=False)
    lines = [
        f"Answers at the decoder's scale against answers at full size. {machine()}",
        "",
        "| model | pictures that are scaled | top label changes | of these near ties | "
        "top score moves: median | worst |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    details: list[str] = []
    for model in MODELS[:2]:
        moves, changed, ties = [], 0, 0
        for file in files:
            data = file.read_bytes()
            spec = exact.catalog.find(model).input
            if decode(data, None, spec.need).scale == 1:
                continue
            a, b = ask(exact, model, data), ask(scaled, model, data)
            moves.append(abs(a.scores[0] - b.scores[0]))
            if a.class_ids[0] != b.class_ids[0]:
                changed += 1
                ties += a.scores[0] - a.scores[1] < 0.05
                details.append(
                    f"- {model}: {file.name}: {a.labels[0]} {a.scores[0]:.3f} "
                    f"(second {a.scores[1]:.3f}) -> {b.labels[0]} {b.scores[0]:.3f}"
                )
        lines.append(
            f"| {model} | {len(moves)} | {changed} | {ties} | {np.median(moves):.4f} "
            f"| {max(moves):.4f} |"
        )
    lines += ["", *boxes(exact, files), "", *details]
    text = "\n".join(lines) + "\n"
    print(text)
    (Path(__file__).parent / "results" / "scale_effect.md").write_text(text, "utf-8")


def detect(app: App, data: bytes, *, scaled: bool) -> Any:
    """The detector's answer with the decoder held or let go, whatever its package says."""
    model = app.catalog.find(MODELS[2])
    spec = msgspec.structs.replace(model.input, scaled_decode=scaled)
    tensor, placement = prepare(decode(data, None, spec.need), spec)
    raw = model.lane.runner.run({spec.name: tensor[None]})
    options = model.task.options()
    one = {name: array[0] for name, array in raw.items()}
    return model.decoder.decode(one, placement, model.labels, options)


def boxes(app: App, files: list[Path]) -> list[str]:
    matched: list[float] = []
    moves: list[float] = []
    lost = gained = count = 0
    spec = msgspec.structs.replace(app.catalog.find(MODELS[2]).input, scaled_decode=True)
    for file in files:
        data = file.read_bytes()
        if decode(data, None, spec.need).scale == 1:
            continue
        count += 1
        a, b = detect(app, data, scaled=False), detect(app, data, scaled=True)
        left = set(range(len(b.scores)))
        for at in range(len(a.scores)):
            overlap = iou(a.boxes[at : at + 1], b.boxes)[0] if len(b.boxes) else np.zeros(0)
            same = [j for j in left if b.class_ids[j] == a.class_ids[at] and overlap[j] > 0.5]
            if not same:
                lost += 1
                continue
            best = max(same, key=lambda j: overlap[j])
            left.discard(best)
            matched.append(float(overlap[best]))
            moves.append(abs(float(a.scores[at]) - float(b.scores[best])))
        gained += len(left)
    return [
        f"{MODELS[2]}, if it were scaled ({count} pictures): {len(matched)} boxes match, IoU "
        f"median {np.median(matched):.3f}, least {min(matched):.3f}; scores move by "
        f"{np.median(moves):.3f} in the median, {max(moves):.3f} at worst; {lost} lost, "
        f"{gained} gained at min_score 0.5. So its package says scaled_decode = false."
    ]


if __name__ == "__main__":
    main()
