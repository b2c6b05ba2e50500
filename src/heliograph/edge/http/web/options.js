// A task's options as form controls, made from the parameters of the OpenAPI document.
import { el } from "./dom.js";

const EXAMPLES = [
  ["Grey", "grayscale"],
  ["Small", "resize:320"],
  ["Square", "resize:480x480:cover"],
  ["Turn", "rotate:90"],
  ["Soft", "blur:4"],
  ["Crisp", "sharpen"],
  ["Contrast", "clahe"],
  ["Outline", "edges"],
  ["Poster", "posterize"],
  ["Two tones", "threshold"],
];

/**
 * Fill `place` with controls; `changed` is called when the answer would be another one.
 * @returns {() => Record<string, string>} reads what differs from the defaults.
 */
export function showOptions(place, parameters, changed) {
  const fields = parameters.map((one) => field(one, changed));
  const [more, first] = [true, false].map((rare) => fields.filter((one) => one.rare === rare));
  place.replaceChildren(...first.map((one) => one.row));
  if (more.length) {
    const rows = more.map((one) => one.row);
    place.append(el("details", {}, el("summary", {}, "More options"), ...rows));
  }
  return () => Object.fromEntries(fields.filter((one) => one.given()).map((one) => one.pair()));
}

function field(parameter, changed) {
  const { name, schema, description, required } = parameter;
  const id = `option-${name}`;
  const about = el("span", { class: "unseen", id: `${id}-about` }, description);
  const made = control(parameter, id, changed);
  made.input.setAttribute("aria-describedby", about.id);
  const label = el("label", { for: id, title: description }, name.replaceAll("_", " "));
  return {
    rare: !required && schema.default === undefined,
    row: el("div", { class: `option ${made.kind}` }, label, ...made.parts, about),
    given: () => made.input.value !== "" && made.input.value !== String(schema.default),
    pair: () => [name, made.input.value],
  };
}

function control(parameter, id, changed) {
  if (parameter.name === "ops") return pipeline(parameter, id, changed);
  const { schema } = parameter;
  if (schema.enum) return choice(schema, id, changed);
  if (schema.maximum === 1 && schema.default !== undefined) return slider(schema, id, changed);
  return number(schema, id, changed);
}

function choice(schema, id, onchange) {
  const options = schema.enum.map((one) => el("option", {}, one));
  const input = el("select", { id, onchange }, ...options);
  input.value = schema.default;
  return { kind: "choice", input, parts: [input] };
}

function slider(schema, id, changed) {
  const shown = el("output", { for: id }, Number(schema.default).toFixed(2));
  const oninput = () => { shown.textContent = Number(input.value).toFixed(2); changed(); };
  const range = { min: schema.minimum ?? 0, max: 1, step: 0.01, value: schema.default };
  const input = el("input", { id, type: "range", ...range, oninput });
  return { kind: "slider", input, parts: [input, shown] };
}

function number(schema, id, oninput) {
  const whole = schema.type === "integer";
  const input = el("input", {
    id,
    type: "number",
    min: schema.minimum ?? 0,
    max: schema.maximum,
    step: whole ? 1 : "any",
    value: schema.default,
    placeholder: "auto",
    inputmode: whole ? "numeric" : "decimal",
    oninput,
  });
  return { kind: "number", input, parts: [input] };
}

function pipeline(parameter, id, changed) {
  const words = { rows: 2, spellcheck: "false", autocapitalize: "off", autocomplete: "off" };
  const input = el("textarea", { id, ...words, maxlength: parameter.schema.maxLength });
  input.value = parameter.example ?? "";
  input.addEventListener("input", changed);
  const put = (text) => { input.value = text; changed(); };
  const add = (step) => put([...steps(input.value), step].join(","));
  const chips = EXAMPLES.map(([name, step]) => {
    const about = { type: "button", class: "step", title: step, onclick: () => add(step) };
    return el("button", about, `+ ${name}`);
  });
  const undo = el(
    "button",
    { type: "button", class: "step", onclick: () => put(steps(input.value).slice(0, -1).join(",")) },
    "− last step",
  );
  const link = el("a", { href: "/docs#steps" }, "All steps");
  return { kind: "ops", input, parts: [input, el("div", { class: "steps" }, ...chips, undo), link] };
}

const steps = (text) => text.split(/[,|]/).map((one) => one.trim()).filter(Boolean);
