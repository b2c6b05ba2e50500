// The reference pages work without this; it adds the buttons that copy code.
import { copyButton } from "./dom.js";

for (const figure of document.querySelectorAll("figure.code")) {
  const code = figure.querySelector("code");
  figure.querySelector("figcaption").append(copyButton(() => code.textContent));
}
