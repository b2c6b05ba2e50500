// Making elements. Text only ever becomes text: nothing here, or anywhere, parses markup.

/** An element with attributes (`onclick` and its sisters as functions) and children. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined) made.setAttribute(key, String(value));
  }
  made.append(...children);
  return made;
}

export const find = (id) => document.getElementById(id);

/** A button that copies what `text()` says, and says that it did. */
export function copyButton(text) {
  const button = el("button", { class: "copy", type: "button", "aria-live": "polite" }, "Copy");
  button.addEventListener("click", async () => {
    const done = await copy(text());
    button.textContent = done ? "Copied" : "Press Ctrl C";
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // no clipboard without HTTPS or permission; the text can still be selected
  }
}

/** Milliseconds as people read them. */
export function ms(value) {
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;
}

export const percent = (score) => `${(score * 100).toFixed(score < 0.0995 ? 1 : 0)} %`;

export function bytes(count) {
  if (count < 1e3) return `${count} B`;
  return count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}
