// SPDX-License-Identifier: Apache-2.0
// The console's one page: what runs, the latest tracks, one track step by step. Text only through textContent.

import { drawNeeded, drawWhy } from "./story.js";
import { drawWiring, make, tone } from "./wiring.js";

const $ = (selector) => document.querySelector(selector);
const get = async (path) => {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error((await reply.text()).trim());
  return reply.json();
};
const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
const ms = (value) => (value < 10 ? value.toFixed(1) : value < 10000 ? value.toFixed(0) : `${(value / 1000).toFixed(1)} s`) + (value < 10000 ? " ms" : "");

let chosen = decodeURIComponent(location.hash.slice(1));
let shownTrack = "";
let things = {};

/** Make `list` hold one item for each row, in order; items that are there already stay, with focus and scroll. */
function reconcile(list, rows, key, create, update) {
  const old = new Map([...list.children].map((item) => [item.dataset.key, item]));
  rows.forEach((row, index) => {
    const id = key(row);
    const item = old.get(id) ?? create(row);
    item.dataset.key = id;
    old.delete(id);
    update(item, row);
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  for (const item of old.values()) item.remove();
}

const say = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

// What runs

async function showStatus() {
  const status = await get("api/status");
  say($("#about"), `${status.endpoint} · account ${status.account} · ${status.region} · sandbox ${status.sandbox_mode} · IAM on · ${status.version}`);
  reconcile($("#limits ul"), status.not_blocked, String, () => make("li"), say);
  $("#limits").hidden = status.not_blocked.length === 0;
  const rows = [];
  for (const [service, parts] of Object.entries(status.parts)) {
    for (const part of parts) if (part.kind !== "s3") rows.push({ service, ...part });
  }
  for (const [service, kind, names] of [["s3", "bucket", things.Buckets], ["lambda", "function", things.Functions]]) {
    for (const id of names ?? []) {
      if (!rows.some((row) => row.service === service && row.id === id)) rows.push({ service, kind, id, state: "", detail: "" });
    }
  }
  reconcile($("#running"), rows, (row) => `${row.service} ${row.kind} ${row.id}`, drawThing, updateThing);
}

function drawThing(row) {
  const item = make("li", "", `thing ${tone(row.service)}`);
  const name = row.url ? make("a", row.id, "name") : make("span", row.id, "name");
  if (row.url) Object.assign(name, { href: row.url, target: "_blank", rel: "noopener" });
  item.append(make("span", `${row.service} ${row.kind === row.service ? "" : row.kind}`, "kind"), name, make("span", "", "state"), make("span", "", "detail dim"));
  return item;
}

function updateThing(item, row) {
  const state = item.querySelector(".state");
  say(state, row.state ?? "");
  state.classList.toggle("error", /fail|stopp|terminat|error|incompat/i.test(row.state ?? ""));
  say(item.querySelector(".detail"), row.detail ?? "");
}

async function showThings() {
  things = await get("api/things");
  await showStatus();
}

// Tracks

async function showTracks() {
  const query = new URLSearchParams({ limit: "100" });
  if ($("#words").value.trim()) query.set("q", $("#words").value.trim());
  if ($("#all").checked) query.set("all", "1");
  let tracks = await get(`api/tracks?${query}`);
  if ($("#denied").checked) tracks = tracks.filter((track) => track.errors);
  reconcile($("#tracks"), tracks, (track) => track.id, drawTrack, updateTrack);
  $("#none").hidden = tracks.length > 0;
}

function drawTrack(track) {
  const button = make("button");
  button.type = "button";
  button.append(make("span", "", "title"), make("span", "", "about dim"), make("span", "", "error"));
  button.addEventListener("click", () => choose(track.id));
  const item = make("li");
  item.append(button);
  return item;
}

function updateTrack(item, track) {
  const button = item.firstChild;
  button.setAttribute("aria-current", String(track.id === chosen));
  const [title, about, error] = button.children;
  say(title, `${track.title}${track.resource ? ` · ${track.resource}` : ""}`);
  say(about, `${time(track.started)} · ${ms(track.duration_ms)} · ${track.steps} ${track.steps === 1 ? "step" : "steps"} · ${track.services.join(" → ")}${track.who ? ` · ${track.who}` : ""}`);
  say(error, track.error);
}

function walkTracks(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...$("#tracks").querySelectorAll("button")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (next) next.focus();
  event.preventDefault();
}

// One track

function drawBar(step, total) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", `bar ${tone(step.service)} ${step.error ? "failed" : ""}`);
  svg.setAttribute("viewBox", "0 0 1000 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const from = Math.min(996, (step.offset_ms / total) * 1000);
  rect.setAttribute("x", String(from));
  rect.setAttribute("width", String(Math.max(4, Math.min(1000 - from, (step.duration_ms / total) * 1000))));
  rect.setAttribute("height", "10");
  svg.append(rect);
  return svg;
}

function drawStep(step, number, total) {
  const row = make("li", "", "step");
  const what = make("div", "", "what");
  what.style.setProperty("padding-inline-start", `${Math.min(step.depth, 10) * 1.2}rem`);
  const head = make("div", "", "head");
  head.append(make("span", String(number), "number"), make("span", step.service, `tag ${tone(step.service)}`), make("code", step.name));
  if (step.what) head.append(make("span", step.what, "resource"));
  what.append(head);
  if (step.who) what.append(make("div", `as ${step.who}`, "dim"));
  step.decisions.forEach((decision, index) => what.append(drawDecision(step, index)));
  const told = step.notes.message ?? step.notes.denied ?? step.notes.reason;
  if (step.error && !step.decisions.some((d) => !d.allowed)) what.append(make("div", `${step.error}${told ? `: ${told}` : ""}`, "error"));
  const details = make("details");
  details.append(make("summary", "details", "dim"), make("pre", facts(step)));
  what.append(details);
  for (const entity of new Set(step.decisions.map((decision) => decision.entity).filter(Boolean))) what.append(drawNeeded(entity));
  const when = make("div", "", "when");
  when.append(drawBar(step, total), make("div", `+${ms(step.offset_ms)}, took ${ms(step.duration_ms)}${step.status ? ` · ${step.status}` : ""}`, "times"));
  row.append(what, when);
  return row;
}

function drawDecision(step, index) {
  const node = make("div", step.decided[index], step.decisions[index].allowed ? "allowed" : "error");
  node.append(drawWhy(step, index));
  return node;
}

const facts = (step) =>
  [["resource", step.resource], ["principal", step.principal], ["request", step.request_id], ["segment", step.id], ...Object.entries(step.notes)]
    .filter(([, value]) => value !== "" && value !== null)
    .map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join("\n");

async function choose(id, { follow = true } = {}) {
  chosen = id;
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  for (const item of $("#tracks").children) item.firstChild.setAttribute("aria-current", String(item.dataset.key === id));
  let track;
  try {
    track = await get(`api/tracks/${encodeURIComponent(id)}`);
  } catch {
    say($("#track-title"), "One track");
    say($("#track-about"), `There is no track ${id} (any more).`);
    return;
  }
  const version = JSON.stringify(track.segments.map((step) => [step.id, step.status]));
  if (version === shownTrack) return;
  shownTrack = version;
  say($("#track-title"), `${track.title}${track.resource ? ` · ${track.resource}` : ""}`);
  say($("#track-about"), `${track.id} · began ${time(track.started)} · ${ms(track.duration_ms)} · ${track.steps} steps${track.error ? ` · failed: ${track.error}` : ""}`);
  const total = Math.max(track.duration_ms, 1);
  const order = new Map([...track.segments].sort((a, b) => a.started - b.started).map((step, i) => [step.id, i + 1]));
  $("#wiring").replaceChildren(drawWiring(track.segments, order));
  $("#track").replaceChildren(...track.segments.map((step) => drawStep(step, order.get(step.id), total)));
  if (follow && matchMedia("(max-width: 900px)").matches) $("#track-title").scrollIntoView();
}

// Live

let waiting = 0;
const changed = new Set();
function refreshSoon(track) {
  changed.add(track);
  waiting ||= setTimeout(async () => {
    waiting = 0;
    const ours = changed.has(chosen);
    changed.clear();
    await showTracks();
    if (ours) await choose(chosen, { follow: false });
  }, 500);
}

function follow() {
  const events = new EventSource("api/follow");
  events.addEventListener("open", () => say($("#alive"), ""));
  events.addEventListener("error", () => say($("#alive"), "The chamber does not answer; trying again."));
  events.addEventListener("message", (event) => {
    const step = JSON.parse(event.data);
    const looks = /^(Describe|List|Get|Head)/.test(step.name);
    if (step.service === "cloudchamber" && !$("#all").checked) return;
    refreshSoon(step.track_id);
    if (!looks && /^(Create|Delete|Run|Terminate|Start|Stop)/.test(step.name)) setTimeout(showThings, 1000);
  });
}

$("#filter").addEventListener("submit", (event) => event.preventDefault());
$("#filter").addEventListener("input", () => refreshSoon(""));
$("#tracks").addEventListener("keydown", walkTracks);
await showThings();
await showTracks();
if (chosen) await choose(chosen);
else if ($("#tracks").firstChild) await choose($("#tracks").firstChild.dataset.key);
setInterval(() => showStatus().catch(() => {}), 5000);
follow();
