// Drawing answers with a canvas's pen: boxes, poses, captions, labels. Coordinates are CSS pixels.

const SHADE = "rgb(0 0 0 / .35)"; // under each line, so that it shows on any photo
const PANEL = "rgb(16 20 24 / .84)";
const TALL = 21;
const LIMBS = [
  ["nose", "left_eye"], ["nose", "right_eye"], ["left_eye", "left_ear"],
  ["right_eye", "right_ear"], ["nose", "left_shoulder"], ["nose", "right_shoulder"],
  ["left_shoulder", "right_shoulder"], ["left_shoulder", "left_elbow"],
  ["left_elbow", "left_wrist"], ["right_shoulder", "right_elbow"],
  ["right_elbow", "right_wrist"], ["left_shoulder", "left_hip"],
  ["right_shoulder", "right_hip"], ["left_hip", "right_hip"], ["left_hip", "left_knee"],
  ["left_knee", "left_ankle"], ["right_hip", "right_knee"], ["right_knee", "right_ankle"],
];

/** The colour of a class: the same as in pictures that the server draws. */
export function colour(id) {
  const light = [55, 68, 42][Math.floor(id / 8) % 3];
  return `hsl(${((0.02 + id * 0.618033988749895) % 1) * 360} 85% ${light}%)`;
}

export const titled = (label, score) => `${label} ${Math.round(score * 100)} %`;

export function box(pen, sides, ink, lit) {
  if (lit) {
    pen.fillStyle = ink;
    pen.save();
    pen.globalAlpha = 0.18;
    pen.fillRect(...sides);
    pen.restore();
  }
  for (const [width, style] of [[4.5, SHADE], [2.5, ink]]) {
    pen.lineWidth = width;
    pen.strokeStyle = style;
    pen.strokeRect(...sides);
  }
}

/** Joints by name, each [x, y], and the limbs between those found; `near` is drawn larger. */
export function pose(pen, joints, ink, near) {
  const limbs = LIMBS.filter((ends) => ends.every((one) => joints.has(one)));
  for (const [width, style] of [[5.5, SHADE], [3, ink]]) {
    pen.lineWidth = width;
    pen.strokeStyle = style;
    pen.beginPath();
    for (const [from, to] of limbs) {
      pen.moveTo(...joints.get(from));
      pen.lineTo(...joints.get(to));
    }
    pen.stroke();
  }
  for (const [name, [x, y]] of joints) joint(pen, x, y, ink, name === near ? 7 : 4);
}

function joint(pen, x, y, ink, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fillStyle = "#fff";
  pen.fill();
  pen.lineWidth = 2;
  pen.strokeStyle = ink;
  pen.stroke();
}

/** Labels that do not cover each other: above a thing, else inside it, else below, else not. */
export class Labels {
  constructor(pen, width, height) {
    Object.assign(this, { pen, width, height, taken: [] });
  }

  put(text, [left, top, , tall], ink, must = false) {
    const { pen } = this;
    pen.font = "600 13px system-ui, sans-serif";
    const short = text.length > 40 ? `${text.slice(0, 39)}…` : text;
    const wide = pen.measureText(short).width + 13;
    const x = Math.max(0, Math.min(left - 1, this.width - wide));
    const heights = [top - TALL - 1, top, top + tall + 1].filter((y) => this.#fits(y));
    const places = heights.map((y) => ({ x, y, wide }));
    const place = places.find((one) => !this.#meets(one)) ?? (must ? places[0] : undefined);
    if (!place) return;
    this.taken.push(place);
    panel(pen, place, ink);
    pen.fillStyle = "#fff";
    pen.fillText(short, x + 8, place.y + 15);
  }

  #fits(y) {
    return y >= 0 && y + TALL <= this.height;
  }

  #meets({ x, y, wide }) {
    return this.taken.some(
      (one) => x < one.x + one.wide && one.x < x + wide && Math.abs(y - one.y) < TALL,
    );
  }
}

function panel(pen, { x, y, wide }, ink) {
  pen.fillStyle = PANEL;
  pen.beginPath();
  pen.roundRect(x, y, wide, TALL, 4);
  pen.fill();
  pen.fillStyle = ink;
  pen.fillRect(x, y + 3, 3, TALL - 6);
}
