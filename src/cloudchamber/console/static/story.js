// SPDX-License-Identifier: Apache-2.0
// The whole story of a decision, and the policy that a role or user needs; each is fetched when somebody opens it.

import { make } from "./wiring.js";

const get = async (path) => {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error((await reply.text()).trim());
  return reply.json();
};

/** A `<details>` whose inside is made at its first opening. */
function later(title, fill) {
  const details = make("details");
  details.append(make("summary", title));
  details.addEventListener("toggle", async () => {
    if (!details.open || details.dataset.filled) return;
    details.dataset.filled = "yes";
    const inside = make("div", "", "story");
    details.append(inside);
    try {
      await fill(inside);
    } catch (error) {
      inside.append(make("div", error.message, "error"));
    }
  });
  return details;
}

function code(text) {
  const box = make("div", "", "code");
  const copy = make("button", "copy");
  copy.type = "button";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "copied";
  });
  box.append(copy, make("pre", text));
  return box;
}

function chapter({ title, lines, code: text }, first) {
  const parts = [make("h3", title, first ? (title === "ALLOWED" ? "allowed" : "error") : "")];
  if (lines.length) parts.push(make("pre", lines.join("\n"), "lines"));
  if (text) parts.push(code(text));
  return parts;
}

/** Why IAM decided so: the decision with this number of a step. */
export const drawWhy = (step, index) =>
  later("why", async (inside) => {
    const told = await get(`api/why/${encodeURIComponent(step.id)}`);
    for (const [number, one] of (told.stories[index] ?? []).entries()) inside.append(...chapter(one, number === 0));
  });

/** The least-privilege policy of a user or role, by its ARN. */
export const drawNeeded = (entity) =>
  later(`what ${entity.split(":").at(-1)} needs`, async (inside) => {
    const told = await get(`api/policy/${encodeURIComponent(entity)}`);
    const { recorded, proof } = told;
    const unused = told.granted.filter((one) => !one.used.length);
    inside.append(
      make("div", `from ${recorded.decisions} recorded decisions, ${recorded.different} different ones; ${proof.holds ? "proved" : "NOT proved"}: ${proof.refused.length} of ${proof.replayed} would be denied, each of its ${proof.parts} parts is ${proof.idle.length ? "not " : ""}needed`, proof.holds ? "allowed" : "error"),
      code(JSON.stringify(told.policy, null, 2)),
    );
    if (told.reasons.length) inside.append(make("pre", told.reasons.map((one) => `${one.sid}: ${one.resource.split(":").at(-1)}: ${one.why}`).join("\n"), "lines"));
    if (unused.length) inside.append(make("h3", "granted and never used"), make("pre", unused.map((one) => `${one.action} on ${one.resource}`).join("\n"), "lines"));
    if (told.denied.length) inside.append(make("h3", "asked for and denied"), make("pre", told.denied.map((one) => `${one.action} on ${one.resource}`).join("\n"), "lines"));
    inside.append(make("div", `to put it in force: cloudchamber policy ${told.name} --prove --apply`, "dim"));
  });
