// SPDX-License-Identifier: Apache-2.0
// The wiring of one track: who called what, as which role, numbered in time. Layers from left to right.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 150;
const HEIGHT = 46;
const GAP_X = 108;
const GAP_Y = 34;
const AROUND = 48;
const TOP = 60;
const known = new Set(["ec2", "s3", "rds", "lambda", "iam", "sts", "logs", "cloudformation"]);

export const tone = (service) => (known.has(service) ? service : "other");

export const make = (tag, text = "", name = "") => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (name) node.className = name;
  return node;
};

const shape = (tag, attributes, text = "") => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  if (text) node.textContent = text;
  return node;
};

/** Text that fits, its beginning and its end kept. */
const cut = (text, length) =>
  text.length > length ? `${text.slice(0, Math.ceil(length / 2) - 1)}…${text.slice(-Math.floor(length / 2))}` : text;

/** The thing that a step happened in: a bucket, an instance, a database, a function, or the service itself. */
function place(step) {
  const last = step.what.split(/[:/]/).at(-1);
  if (step.service === "cloudchamber") return { kind: "other", title: "command line", name: "" };
  if (step.service === "ec2" && step.name.includes(" /")) return { kind: "ec2", title: "instance", name: last };
  if (step.service === "s3" && step.what) return { kind: "s3", title: "bucket", name: step.what.split("/")[0] };
  if (step.service === "rds" && step.what) return { kind: "rds", title: "database", name: last };
  if (step.service === "lambda" && step.what) return { kind: "lambda", title: "function", name: step.what.split(":")[1] ?? last };
  return { kind: tone(step.service), title: "service", name: step.service };
}

function caller(step) {
  if (step.service === "ec2" && step.name.includes(" /")) return { kind: "person", title: "browser", name: "" };
  return { kind: "person", title: "caller", name: step.who || "anonymous" };
}

/** Nodes with their layer, and edges with the numbers of their steps. */
export function wire(steps, order) {
  const nodes = new Map();
  const edges = new Map();
  const at = new Map();
  const node = (found, layer) => {
    const id = `${found.kind} ${found.title} ${found.name}`;
    if (!nodes.has(id)) nodes.set(id, { ...found, id, layer });
    return nodes.get(id);
  };
  for (const step of steps) {
    if (step.service === "logs" && at.has(step.parent_id)) continue; // its own output tells nothing of the wiring
    const parent = at.get(step.parent_id);
    const from = parent ?? node(caller(step), 0);
    const to = node(place(step), from.layer + 1);
    at.set(step.id, to);
    if (from === to) continue;
    const id = `${from.id} > ${to.id}`;
    if (!edges.has(id)) edges.set(id, { from, to, numbers: [], who: new Set(), failed: false });
    const edge = edges.get(id);
    edge.numbers.push(order.get(step.id));
    if (step.who && parent) edge.who.add(step.who);
    edge.failed ||= Boolean(step.error);
  }
  return { nodes: [...nodes.values()], edges: [...edges.values()] };
}

function lay(nodes, edges) {
  const top = edges.some((edge) => edge.to.layer <= edge.from.layer) ? TOP : 8;
  const layers = [];
  for (const node of nodes) (layers[node.layer] ??= []).push(node);
  const rows = Math.max(...layers.map((layer) => layer?.length ?? 0));
  layers.forEach((layer, x) =>
    layer.forEach((node, y) => {
      node.x = 2 + x * (WIDTH + GAP_X);
      node.y = top + (y + (rows - layer.length) / 2) * (HEIGHT + GAP_Y);
    }),
  );
  return { width: layers.length * (WIDTH + GAP_X) - GAP_X + 4, height: top + rows * (HEIGHT + GAP_Y) - GAP_Y + top };
}

function drawNode(node) {
  const group = shape("g", { class: `node ${node.kind}` });
  group.append(
    shape("title", {}, `${node.title} ${node.name}`),
    shape("rect", { x: node.x, y: node.y, width: WIDTH, height: HEIGHT, rx: 6 }),
    shape("text", { x: node.x + 12, y: node.y + (node.name ? 19 : 28), class: "kind" }, node.title),
    shape("text", { x: node.x + 12, y: node.y + 36 }, cut(node.name, 17)),
  );
  return group;
}

function ahead({ from, to }) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x - 7, to.y + HEIGHT / 2];
  return { path: `M${x1} ${y1} C${x1 + 45} ${y1} ${x2 - 45} ${y2} ${x2} ${y2}`, x: (x1 + x2) / 2, y: (y1 + y2) / 2 };
}

/** An edge to an earlier layer goes around the boxes, above those of the upper half, so that none hides it. */
function around({ from, to, middle }) {
  const up = to.y + HEIGHT / 2 <= middle;
  const [x1, x2] = [from.x + WIDTH / 2, to.x + WIDTH / 2 + 20];
  const [y1, y2] = up ? [from.y, to.y - 8] : [from.y + HEIGHT, to.y + HEIGHT + 8];
  const far = up ? Math.min(y1, y2) - AROUND : Math.max(y1, y2) + AROUND;
  return { path: `M${x1} ${y1} C${x1} ${far} ${x2} ${far} ${x2} ${y2}`, x: (x1 + x2) / 2, y: (y1 + y2) / 8 + far * 0.75 };
}

function drawEdge(edge) {
  const { path, x, y } = edge.to.x <= edge.from.x ? around(edge) : ahead(edge);
  const group = shape("g", { class: `edge ${edge.failed ? "failed" : ""}` });
  const numbers = edge.numbers.sort((a, b) => a - b);
  const text = numbers.length > 4 ? `${numbers.slice(0, 3).join(", ")} … ${numbers.at(-1)}` : numbers.join(", ");
  const who = [...edge.who].join(", ");
  group.append(
    shape("title", {}, `${numbers.length} steps${who ? ` as ${who}` : ""}`),
    shape("path", { d: path, "marker-end": `url(#${edge.failed ? "bad" : "head"})` }),
    shape("text", { x, y: y - 6, class: "numbers" }, text),
    shape("text", { x, y: y + 14, class: "who" }, cut(who.replace(/^role\//, "").replace(/ \([^)]*\)$/, ""), 16)),
  );
  return group;
}

function arrow(id) {
  const marker = shape("marker", { id, viewBox: "0 0 8 8", refX: 2, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" });
  marker.append(shape("path", { d: "M0 0 L8 4 L0 8 z", class: `tip ${id}` }));
  return marker;
}

export function drawWiring(steps, order) {
  const { nodes, edges } = wire(steps, order);
  const { width, height } = lay(nodes, edges);
  const svg = shape("svg", { class: "wiring", viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  const told = edges.map((edge) => `${edge.from.title} ${edge.from.name} calls ${edge.to.title} ${edge.to.name} as step ${edge.numbers.join(", ")}`);
  svg.setAttribute("aria-label", `Wiring: ${told.join("; ")}`);
  const defs = shape("defs", {});
  defs.append(arrow("head"), arrow("bad"));
  svg.append(defs, ...edges.map((edge) => drawEdge({ ...edge, middle: height / 2 })), ...nodes.map(drawNode));
  return svg;
}
