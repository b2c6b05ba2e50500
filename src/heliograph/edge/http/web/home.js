// The front page: a photo, a question, an answer. Each change asks again; the last one wins.
import { Problem, ask, forgetKey, keepKey, models, readKey, tasks } from "./api.js";
import { showPicture, showPredictions, showProblem, showTimings } from "./answer.js";
import { bytes, copyButton, el, find } from "./dom.js";
import { showOptions } from "./options.js";
import { curl, python, search } from "./snippets.js";
import { Stage } from "./stage.js";

const FIRST = "detection"; // what most people try
const PAUSE = 250; // ms without a change before asking again
const PATIENCE = 60; // times to wait for a model that is still loading

const photo = find("photo");
const stage = new Stage(photo, find("canvas"), point);
const state = { tasks: new Map(), models: [], task: "", file: null, url: "", picture: "" };
let options = () => ({});
let asking = null;
let timer = 0;

start();

async function start() {
  listen();
  try {
    state.tasks = await tasks();
    await refresh();
  } catch (problem) {
    fail(problem);
  }
}

/** Read what is served; again while something is still loading. */
async function refresh() {
  state.models = await models();
  find("keyform").hidden = true;
  if (!state.task) showTasks();
  showModels();
  if (state.models.some((one) => one.state === "loading")) setTimeout(refresh, 1000);
}

function showTasks() {
  const served = [...state.tasks.keys()].filter((task) => ofTask(task).length);
  served.sort((one, other) => (other === FIRST) - (one === FIRST));
  const radios = served.map((task) => {
    const radio = { type: "radio", name: "task", value: task, onchange: () => choose(task) };
    const verb = state.tasks.get(task).verb;
    return el("label", {}, el("input", radio), verb[0].toUpperCase() + verb.slice(1));
  });
  find("tasks").replaceChildren(...radios);
  if (!served.length) return;
  find("question").hidden = find("snippets").hidden = false;
  radios[0].firstChild.checked = true;
  choose(served[0]);
}

const ofTask = (task) => state.models.filter((one) => one.task === task);

function choose(task) {
  state.task = task;
  find("asks").textContent = state.tasks.get(task).asks;
  options = showOptions(find("options"), state.tasks.get(task).options, later);
  find("model").replaceChildren();
  clear();
  showModels();
  run();
}

function showModels() {
  const select = find("model");
  const chosen = select.value;
  const mine = ofTask(state.task).sort((one, other) => other.default - one.default);
  const names = mine.map((one) => {
    const note = one.state === "ready" ? "" : ` (${one.state})`;
    return el("option", { value: one.name }, `${one.title}${note}`);
  });
  select.replaceChildren(...names);
  if (mine.some((one) => one.name === chosen)) select.value = chosen;
  showSnippets();
}

/** The question as it stands: where it goes, with which options. */
function question() {
  const model = state.models.find((one) => one.name === find("model").value);
  const task = state.tasks.get(state.task);
  const address = model?.default ? task.address : `/api/v1/models/${model?.name}/predict`;
  const { verb, pictured } = task;
  const name = model?.default ? "" : model?.name;
  return { address, verb, name, query: options(), keyed: readKey() !== "", pictured };
}

function showSnippets() {
  if (!state.task) return;
  const asked = question();
  find("curl").textContent = curl(asked);
  find("python").textContent = python(asked);
}

function later() {
  showSnippets();
  clearTimeout(timer);
  timer = setTimeout(run, PAUSE);
}

async function run() {
  clearTimeout(timer);
  showSnippets();
  if (!state.file || !state.task) return;
  asking?.abort();
  const mine = (asking = new AbortController());
  busy(true);
  try {
    const { address, query } = question();
    const reply = await patiently(address + search(query), mine.signal);
    if (mine === asking) show(reply);
  } catch (problem) {
    if (mine === asking && problem.name !== "AbortError") fail(problem);
  } finally {
    if (mine === asking) busy(false);
  }
}

/** Ask; while the model is still loading, wait and ask again. */
async function patiently(address, signal, left = PATIENCE) {
  try {
    return await ask(address, state.file, signal);
  } catch (problem) {
    if (problem.code !== "model_unavailable" || !problem.retryAfter || !left) throw problem;
    say(`${problem.message}. Waiting for it.`);
    await new Promise((done) => setTimeout(done, problem.retryAfter * 1000));
    signal.throwIfAborted();
    return patiently(address, signal, left - 1);
  }
}

function busy(yes) {
  find("busy").hidden = !yes;
  find("stage").setAttribute("aria-busy", String(yes));
  if (yes) say("Asking …");
}

function say(text) {
  find("status").textContent = text;
}

/** Put an answer on the page. */
async function show({ said, picture, timings, roundTrip }) {
  find("problem").hidden = true;
  if (picture) await showImage(picture);
  else showThings(said);
  showTimings(find("timings"), timings, roundTrip);
  find("answer").hidden = false;
}

function showThings(said) {
  original();
  stage.show(said.predictions, said.image);
  showPredictions(find("predictions"), said, (index) => stage.light(index));
  find("json").textContent = JSON.stringify(said, null, 2);
  find("raw").hidden = false;
  const labels = said.predictions.slice(0, 5).map((one) => one.label);
  say(labels.length ? `Found: ${labels.join(", ")}.` : "Nothing found.");
}

async function showImage(picture) {
  stage.show([]);
  URL.revokeObjectURL(state.picture);
  state.picture = URL.createObjectURL(picture);
  compare(false);
  await photo.decode().catch(() => {});
  showPicture(find("predictions"), picture, { width: photo.naturalWidth, height: photo.naturalHeight });
  find("raw").hidden = true;
  find("compare").hidden = false;
  say("The picture is ready.");
}

function compare(yes) {
  find("compare").setAttribute("aria-pressed", String(yes));
  find("compare").textContent = yes ? "Show result" : "Show original";
  photo.src = yes ? state.url : state.picture;
}

function original() {
  find("compare").hidden = true;
  if (photo.src !== state.url) photo.src = state.url;
}

function clear() {
  find("answer").hidden = true;
  find("problem").hidden = true;
  stage.show([]);
  if (state.file) original();
}

function fail(problem) {
  if (!(problem instanceof Problem)) throw problem;
  clear();
  say("");
  if (problem.code === "unauthenticated") askForKey(problem);
  else showProblem(find("problem"), problem);
}

function askForKey(problem) {
  if (readKey()) showProblem(find("problem"), problem);
  forgetKey();
  find("keyform").hidden = false;
  find("key").focus();
}

/** Light a row for the thing under the pointer. */
function point(index) {
  stage.light(index);
  [...find("predictions").querySelectorAll("li")].forEach((row, at) => {
    row.classList.toggle("lit", at === index);
  });
}

async function take(file) {
  if (!file) return;
  state.file = file;
  URL.revokeObjectURL(state.url);
  state.url = URL.createObjectURL(file);
  find("empty").hidden = true;
  find("shown").hidden = false;
  clear();
  photo.alt = file.name || "Your photo";
  await photo.decode().catch(() => { photo.alt = "This browser cannot show the file."; });
  const size = photo.naturalWidth ? `${photo.naturalWidth} × ${photo.naturalHeight}, ` : "";
  find("about").textContent = `${file.name || "photo"} · ${size}${bytes(file.size)}`;
  run();
}

/** Save the answer as a picture, drawn by the server where the page drew it itself. */
async function save() {
  const { address, query, pictured } = question();
  try {
    const form = pictured ? {} : { format: "jpeg" };
    const { picture } = await ask(address + search({ ...query, ...form }), state.file);
    const name = `${state.task}.${picture.type.split("/")[1].replace("jpeg", "jpg")}`;
    const url = URL.createObjectURL(picture);
    el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  } catch (problem) {
    fail(problem);
  }
}

function listen() {
  for (const id of ["file", "camera"]) {
    find(id).addEventListener("change", (event) => {
      take(event.target.files[0]);
      event.target.value = ""; // the same file again is a change, too
    });
  }
  find("model").addEventListener("change", run);
  find("question").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  find("compare").addEventListener("click", (event) => {
    compare(event.target.getAttribute("aria-pressed") !== "true");
  });
  find("save").addEventListener("click", save);
  find("keyform").addEventListener("submit", (event) => {
    event.preventDefault();
    keepKey(find("key").value.trim());
    find("key").value = "";
    find("problem").hidden = true;
    const fresh = !state.task; // the first task that is shown asks by itself
    refresh().then(() => fresh || run(), fail);
  });
  for (const id of ["curl", "python"]) {
    const code = find(id);
    code.closest("figure").querySelector("figcaption").append(copyButton(() => code.textContent));
  }
  listenForFiles();
}

/** Drop and paste work anywhere on the page. */
function listenForFiles() {
  const over = (yes) => find("stage").classList.toggle("over", yes);
  addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => take(event.clipboardData.files[0]));
}
