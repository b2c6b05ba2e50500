// Talking to the server: the key, the models, the document of the API, one question at a time.

const KEY = "heliograph-key";

/** What the server refused with: RFC 9457 problem JSON. */
export class Problem extends Error {
  constructor(said) {
    super(said.detail ?? "");
    this.title = said.title ?? "The server could not be understood";
    this.code = /^[a-z_]{1,40}$/.test(said.code ?? "") ? said.code : "";
    this.requestId = said.request_id ?? "";
    this.retryAfter = said.retry_after;
  }
}

// This tab only, gone when it closes; never in an address, never in local storage.
export const readKey = () => sessionStorage.getItem(KEY) ?? "";
export const keepKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

export async function models() {
  return (await (await call("/api/v1/models")).json()).models;
}

/** Each task's address, question and options, as the OpenAPI document tells them. */
export async function tasks() {
  const contract = await (await call("/openapi.json")).json();
  const found = new Map();
  for (const [address, { post }] of Object.entries(contract.paths)) {
    if (!post?.["x-task"]) continue;
    const options = post.parameters.filter((one) => !["version", "format"].includes(one.name));
    const { operationId: verb, summary: asks, "x-pictured": pictured } = post;
    found.set(post["x-task"], { address, verb, asks, pictured, options });
  }
  return found;
}

/**
 * Ask about a picture.
 * @returns {Promise<{said: object|null, picture: Blob|null, id: string, timings: object,
 *   roundTrip: number}>} `said` for answers in JSON, `picture` for answers that are one.
 */
export async function ask(address, file, signal) {
  const began = performance.now();
  const type = "application/octet-stream"; // the server looks at the bytes, not at names
  const headers = { "content-type": type };
  const reply = await call(address, { method: "POST", body: file, headers, signal });
  const pictured = (reply.headers.get("content-type") ?? "").startsWith("image/");
  const body = pictured ? await reply.blob() : await reply.json();
  return {
    said: pictured ? null : body,
    picture: pictured ? body : null,
    id: reply.headers.get("x-request-id") ?? "",
    timings: timings(reply.headers.get("server-timing") ?? ""),
    roundTrip: performance.now() - began,
  };
}

async function call(address, options = {}) {
  const key = readKey();
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  let reply;
  try {
    reply = await fetch(address, { ...options, headers, referrerPolicy: "no-referrer" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "No answer", detail: "The server cannot be reached. Is it running?" });
  }
  if (!reply.ok) throw new Problem(await reply.json().catch(() => ({})));
  return reply;
}

/** `queue;dur=0.1, decode;dur=2` as an object. */
function timings(header) {
  const pairs = [...header.matchAll(/([a-z_]+);dur=([0-9.]+)/g)];
  return Object.fromEntries(pairs.map(([, step, value]) => [step, Number(value)]));
}
