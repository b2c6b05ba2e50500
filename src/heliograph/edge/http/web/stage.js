// The photo and what lies over it. Predictions are in pixels of the upright picture; here they are
// scaled to whatever size the photo is shown at, drawn, and found again under the pointer.
import { Labels, box, colour, pose, titled } from "./paint.js";

const REACH = 14; // CSS pixels around a joint
const CAPTIONS = 3;

export class Stage {
  /**
   * @param {HTMLImageElement} photo
   * @param {HTMLCanvasElement} canvas lies over it
   * @param {(index: number) => void} pointed is told which prediction the pointer is on, or -1
   */
  constructor(photo, canvas, pointed) {
    Object.assign(this, { photo, canvas, pointed, things: [], size: null, lit: -1, near: null });
    new ResizeObserver(() => this.draw()).observe(photo);
    canvas.addEventListener("pointermove", (event) => this.#point(event));
    canvas.addEventListener("pointerdown", (event) => this.#point(event));
    canvas.addEventListener("pointerleave", () => this.#leave());
  }

  /** Draw these predictions of a picture of this size; none clears. */
  show(things, size = { width: 1, height: 1 }) {
    this.things = things;
    this.size = size;
    this.near = null;
    this.light(-1);
  }

  /** Make one prediction stand out; -1 for none. */
  light(index) {
    this.lit = index;
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.photo;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.lineJoin = pen.lineCap = "round";
    this.#shapes(pen);
    this.#labels(new Labels(pen, width, height));
  }

  #shapes(pen) {
    const order = [...this.things.keys()].reverse(); // the best on top, the lit one over all
    for (const index of order.filter((one) => one !== this.lit)) this.#shape(pen, index);
    if (this.lit in this.things) this.#shape(pen, this.lit);
  }

  #shape(pen, index) {
    const thing = this.things[index];
    pen.globalAlpha = this.lit < 0 || this.lit === index ? 1 : 0.3;
    if (thing.keypoints) {
      const joints = new Map(thing.keypoints.map((one) => [one.name, this.#place(one)]));
      pose(pen, joints, colour(index), this.near?.thing === thing ? this.near.name : "");
    } else if (thing.box) {
      box(pen, this.#sides(thing.box), colour(thing.class_id ?? index), index === this.lit);
    }
    pen.globalAlpha = 1;
  }

  #labels(labels) {
    const lit = this.things[this.lit];
    if (this.near) this.#jointLabel(labels);
    else if (lit?.box && !lit.keypoints) this.#boxLabel(labels, lit, this.lit, true);
    for (const [index, thing] of this.things.entries()) {
      if (thing.box && !thing.keypoints && this.lit < 0) this.#boxLabel(labels, thing, index);
      else if (!thing.box && thing.label && index < CAPTIONS) this.#caption(labels, thing, index);
    }
  }

  #boxLabel(labels, thing, index, must = false) {
    const ink = colour(thing.class_id ?? index);
    labels.put(titled(thing.label, thing.score), this.#sides(thing.box), ink, must);
  }

  #jointLabel(labels) {
    const { name, score, thing } = this.near;
    const [x, y] = this.#place(this.near);
    const ink = colour(this.things.indexOf(thing));
    labels.put(titled(name.replaceAll("_", " "), score), [x + 9, y - 6, 0, 12], ink, true);
  }

  #caption(labels, thing, index) {
    labels.put(titled(thing.label, thing.score), [9, 30 + index * 24, 0, 0], colour(thing.class_id));
  }

  get #scale() {
    return this.photo.clientWidth / this.size.width;
  }

  #place({ x, y }) {
    return [x * this.#scale, y * this.#scale];
  }

  #sides({ x, y, width, height }) {
    return [x, y, width, height].map((side) => side * this.#scale);
  }

  #point({ offsetX: x, offsetY: y }) {
    this.near = this.#joint(x, y);
    this.pointed(this.near ? this.things.indexOf(this.near.thing) : this.#smallest(x, y));
  }

  #leave() {
    this.near = null;
    this.pointed(-1);
  }

  #joint(x, y) {
    const joints = this.things.flatMap((thing) =>
      (thing.keypoints ?? []).map((one) => {
        const [left, top] = this.#place(one);
        return { ...one, thing, far: Math.hypot(left - x, top - y) };
      }),
    );
    const within = joints.filter((one) => one.far <= REACH);
    return within.sort((one, other) => one.far - other.far)[0] ?? null;
  }

  /** Of the boxes under the pointer the smallest: a large one can be pointed at beside it. */
  #smallest(x, y) {
    const under = [...this.things.entries()]
      .filter(([, thing]) => thing.box)
      .map(([index, thing]) => ({ index, sides: this.#sides(thing.box) }))
      .filter(({ sides }) => inside(sides, x, y));
    const area = ({ sides: [, , width, height] }) => width * height;
    return under.sort((one, other) => area(one) - area(other))[0]?.index ?? -1;
  }
}

const inside = ([left, top, width, height], x, y) =>
  x >= left && x <= left + width && y >= top && y <= top + height;
