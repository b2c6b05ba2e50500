// The answer in words: rows with scores, a picture's facts, where the time went, what went wrong.
import { bytes, el, ms, percent } from "./dom.js";
import { colour } from "./paint.js";

const STEPS = ["queue", "decode", "batch", "run", "finish"];
const NOTHING = {
  detection: "Nothing found with this score. Lower the least score to see weaker guesses.",
  keypoints: "Nobody found with this score. Lower the least score to see weaker guesses.",
  classification: "No class reaches this score. Lower the least score to see weaker guesses.",
};

/** Rows of predictions; `lit(index)` is told which one has the pointer or the focus. */
export function showPredictions(place, said, lit) {
  const rows = said.predictions.map((one, index) => row(one, index, lit));
  const nothing = el("p", { class: "note" }, NOTHING[said.task] ?? "Nothing found.");
  place.replaceChildren(rows.length ? el("ol", { class: "rows" }, ...rows) : nothing);
}

function row(one, index, lit) {
  const ink = colour(one.keypoints || one.class_id === undefined ? index : one.class_id);
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("i"));
  bar.firstChild.style.width = `${Math.max(0.5, one.score * 100)}%`;
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  const points = one.box || one.keypoints;
  if (points) dot.style.background = ink;
  return el(
    "li",
    {
      tabindex: points ? 0 : undefined,
      onpointerenter: () => lit(index),
      onpointerleave: () => lit(-1),
      onfocus: () => lit(index),
      onblur: () => lit(-1),
    },
    ...(points ? [dot] : []),
    el("span", { class: "label" }, one.label, ...where(one)),
    el("span", { class: "score" }, percent(one.score)),
    bar,
  );
}

function where(one) {
  if (one.keypoints) return [el("small", {}, ` ${one.keypoints.length} joints`)];
  if (!one.box) return [];
  const { x, y, width, height } = one.box;
  const [left, top, across, down] = [x, y, width, height].map(Math.round);
  return [el("small", { class: "place" }, ` ${across} × ${down} at ${left}, ${top}`)];
}

/** What is known of a picture that came back. */
export function showPicture(place, picture, size) {
  const kind = picture.type.replace("image/", "").toUpperCase();
  const facts = `${kind}, ${size.width} × ${size.height}, ${bytes(picture.size)}`;
  place.replaceChildren(el("p", { class: "facts" }, facts));
}

/** A bar of the steps on the server, their names and milliseconds, and the round trip. */
export function showTimings(place, timings, roundTrip) {
  const total = timings.total || STEPS.reduce((sum, step) => sum + (timings[step] ?? 0), 0);
  const known = STEPS.filter((step) => step in timings);
  const parts = known.map((step) => share(step, timings[step] / (total || 1)));
  const bar = el("div", { class: "timebar", "aria-hidden": "true" }, ...parts);
  const items = known.map((step) =>
    el("li", {}, el("i", { class: step }), el("span", {}, step), el("b", {}, ms(timings[step]))),
  );
  const said = `${ms(total)} on the server, ${ms(roundTrip)} there and back`;
  place.replaceChildren(el("p", { class: "note" }, said), bar, el("ul", { class: "legend" }, ...items));
}

function share(step, part) {
  const made = el("i", { class: step });
  made.style.flexGrow = String(part);
  return made;
}

/** A problem: its title, its detail, its code with a link to what it means. */
export function showProblem(place, problem) {
  const code = problem.code
    ? [el("a", { href: `/docs/errors#${problem.code}` }, el("code", {}, problem.code))]
    : [];
  const id = problem.requestId ? [el("small", {}, ` ${problem.requestId}`)] : [];
  place.replaceChildren(
    el("strong", {}, problem.title),
    el("p", {}, problem.message),
    el("p", { class: "code-line" }, ...code, ...id),
  );
  place.hidden = false;
}
