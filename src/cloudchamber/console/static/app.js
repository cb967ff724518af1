// SPDX-License-Identifier: Apache-2.0
// The console's one page: what runs, the latest tracks, one track step by step. Text only through textContent.

const get = async (path) => {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error(await reply.text());
  return reply.json();
};

const make = (tag, text = "", name = "") => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (name) node.className = name;
  return node;
};

const known = new Set(["ec2", "s3", "rds", "lambda", "iam", "sts", "logs", "cloudformation"]);
const kind = (service) => (known.has(service) ? service : "");
const list = document.querySelector("#tracks");
const onlyInstances = document.querySelector("#mine");
let chosen = location.hash.slice(1);

async function showStatus() {
  const status = await get("api/status");
  document.querySelector("#about").textContent =
    `${status.endpoint} · sandbox ${status.sandbox_mode} · IAM on · ${status.version}`;
  const rows = [];
  for (const [service, parts] of Object.entries(status.parts)) {
    for (const part of parts) {
      const row = make("tr");
      for (const text of [service, part.kind, part.id, part.state, part.detail]) row.append(make("td", text ?? ""));
      rows.push(row);
    }
  }
  document.querySelector("#running tbody").replaceChildren(...rows);
}

async function showTracks() {
  const tracks = await get("api/tracks?limit=100");
  const shown = onlyInstances.checked ? tracks.filter((t) => t.title.startsWith("ec2 ") && t.title.includes("/")) : tracks;
  list.replaceChildren(
    ...shown.map((track) => {
      const button = make("button");
      button.type = "button";
      button.setAttribute("aria-current", String(track.id === chosen));
      button.append(make("div", track.title, track.errors ? "error" : ""));
      const began = new Date(track.started * 1000).toLocaleTimeString();
      button.append(make("div", `${began} · ${track.steps} steps · ${track.duration_ms.toFixed(1)} ms · ${track.services.join(", ")}`, "dim"));
      button.addEventListener("click", () => choose(track.id));
      const item = make("li");
      item.append(button);
      return item;
    }),
  );
}

function drawBar(step, total) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", `bar ${kind(step.service)} ${step.error ? "failed" : ""}`);
  svg.setAttribute("viewBox", "0 0 1000 10");
  svg.setAttribute("preserveAspectRatio", "none");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  rect.setAttribute("x", String((step.offset_ms / total) * 1000));
  rect.setAttribute("width", String(Math.max(4, (step.duration_ms / total) * 1000)));
  rect.setAttribute("height", "10");
  svg.append(rect);
  return svg;
}

function drawStep(step, total) {
  const row = make("div", "", "step");
  const what = make("div", "", "what");
  what.style.setProperty("padding-inline-start", `${step.depth * 1.4}rem`);
  const head = make("div");
  head.append(make("span", step.service, `tag ${kind(step.service)}`), make("code", step.name));
  what.append(head);
  if (step.resource) what.append(make("div", step.resource, "dim"));
  if (step.principal) what.append(make("div", `as ${step.principal}`, "dim"));
  for (const text of step.decided) what.append(make("div", text, text.startsWith("DENIED") ? "error" : "dim"));
  if (step.error) what.append(make("div", `${step.error}: ${step.notes.message ?? ""}`, "error"));
  const when = make("div");
  when.append(drawBar(step, total));
  when.append(make("div", `+${step.offset_ms.toFixed(1)} ms, took ${step.duration_ms.toFixed(1)} ms${step.status ? ` · ${step.status}` : ""}`, "times"));
  row.append(what, when);
  return row;
}

async function choose(id) {
  chosen = id;
  history.replaceState(null, "", `#${id}`);
  const track = await get(`api/tracks/${encodeURIComponent(id)}`);
  document.querySelector("#track-title").textContent = track.title;
  document.querySelector("#track-about").textContent = track.id;
  const total = Math.max(track.duration_ms, 1);
  document.querySelector("#track").replaceChildren(...track.segments.map((step) => drawStep(step, total)));
  for (const button of list.querySelectorAll("button")) button.setAttribute("aria-current", "false");
}

let waiting = 0;
function refreshSoon() {
  if (!waiting) waiting = setTimeout(async () => {
    waiting = 0;
    await showTracks();
    if (chosen) await choose(chosen);
  }, 400);
}

onlyInstances.addEventListener("change", showTracks);
await showStatus();
await showTracks();
if (chosen) await choose(chosen);
setInterval(showStatus, 5000);
new EventSource("api/follow").addEventListener("message", refreshSoon);
