/* The map of a collection: points from the JSON API on a canvas, zoomed and moved, coloured by cluster or by a field
   of the metadata. What documents say goes into text nodes only. What is shown stands in the address. */
import { View } from "./map-view.js";

const $ = (id) => document.getElementById(id);
const box = $("map");
const canvas = $("map-canvas");
const form = $("map-form");
const status = $("map-status");
const api = `/v1/collections/${encodeURIComponent(box.dataset.collection)}`;
const COLOURS = 12;
const STEPS = 7; // of the scale of a number
let shown = null; // the reply that is drawn
let colouring = null; // what each point's colour is: see `colourBy`
let solo = null; // the group that stands out
let found = null; // places of the points that a search found
let chosen = -1; // the point under the pointer, or chosen by a key

const view = new View(canvas, draw);

/* ---- the reply ---- */

async function load() {
  const wanted = new URLSearchParams({ points: form.elements.points.value });
  if (form.elements.field.value) wanted.set("field", form.elements.field.value);
  status.textContent = box.dataset.drawing;
  box.setAttribute("aria-busy", "true");
  const reply = await ask(`${api}/map?${wanted}`);
  box.setAttribute("aria-busy", "false");
  if (!reply) return;
  shown = reply;
  solo = null; chosen = -1;
  offerFields(reply.fields);
  colouring = reply.values ? colourBy(reply.values) : byCluster();
  view.points(reply.points.x, reply.points.y);
  say(box.dataset.shown, { points: reply.points.x.length, passages: reply.passages, release: reply.release });
  makeLegend(); makeList();
  if (form.elements.q.value) await find(); else { found = null; view.draw(); }
}

async function ask(address, options = {}) {
  $("problem").replaceChildren();
  try {
    const response = await fetch(address, options);
    const body = await response.json();
    if (response.ok) return body;
    complain(body.detail || body.title);
  } catch { complain($("problem").dataset.unreachable); }
  status.textContent = "";
  return null;
}

function complain(text) {
  $("problem").replaceChildren(make("p", { className: "notice problem", textContent: text }));
}

function say(message, values) {
  status.textContent = message.replace(/\{(\w+)\}/g, (_, name) => number(values[name]));
}

const number = (value) => (typeof value === "number" ? value.toLocaleString(document.documentElement.lang) : value);

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function offerFields(fields) {
  const select = form.elements.field;
  const before = select.value;
  select.replaceChildren(select.options[0], ...fields.map((field) => new Option(field, field)));
  if (before && !fields.includes(before)) select.append(new Option(before, before));
  select.value = before;
}

/* ---- colours: groups with a name, a colour's variable and a number of points ---- */

function byCluster() {
  const groups = shown.clusters.map((cluster, place) => ({ name: cluster.words.join(", ") || `${place + 1}`, colour: `--map-${place % COLOURS}`, points: cluster.points }));
  return { groups, of: (point) => shown.points.cluster[point] };
}

function colourBy(values) {
  const { document: owner } = shown.points;
  if (values.kind === "number") return byNumber(values, owner);
  const groups = values.labels.map((name, place) => ({ name, colour: `--map-${place % COLOURS}`, points: 0 }));
  const rarer = groups.push({ name: box.dataset.rarer, colour: "--edge", points: 0 }) - 1;
  const none = groups.push({ name: box.dataset.none, colour: "--rule", points: 0 }) - 1;
  const of = owner.map((document) => {
    const value = values.of[document];
    return value === null ? none : value < 0 ? rarer : value;
  });
  for (const group of of) groups[group].points += 1;
  return { groups, of: (point) => of[point], value: (point) => groups[of[point]].name };
}

/* Each step of the scale holds as many documents as the others, or one far value would leave the rest alike. */
function byNumber(values, owner) {
  const sorted = values.of.filter((value) => value !== null).sort((one, other) => one - other);
  const bounds = Array.from({ length: STEPS }, (_, step) => sorted[Math.floor((step * sorted.length) / STEPS)]);
  const groups = bounds.map((_, step) => ({ colour: `--map-s${step}`, points: 0 }));
  groups.push({ name: box.dataset.none, colour: "--rule", points: 0 });
  const of = owner.map((document) => (values.of[document] === null ? STEPS : bounds.findLastIndex((bound) => values.of[document] >= bound)));
  for (const group of of) groups[group].points += 1;
  return { groups, of: (point) => of[point], scale: [...bounds, sorted.at(-1)], value: (point) => number(values.of[owner[point]] ?? box.dataset.none) };
}

/* ---- drawing ---- */

function draw(pen, place, scale) {
  if (!shown) return;
  const style = getComputedStyle(box);
  const colour = (name) => style.getPropertyValue(name).trim();
  const palette = colouring.groups.map((group) => colour(group.colour));
  const crowd = shown.points.x.length < 600 ? 3.4 : shown.points.x.length < 2500 ? 2.8 : 2.2;
  const radius = Math.min(8, crowd + Math.log2(Math.max(1, scale)) * 0.9);
  const apart = (point) => (solo === null || colouring.of(point) === solo) && (!found || found.has(point));
  for (const front of [false, true]) {
    for (let point = 0; point < shown.points.x.length; point += 1) {
      if (apart(point) !== front) continue;
      const [x, y] = place(point);
      if (x < -9 || y < -9 || x > view.width + 9 || y > view.height + 9) continue;
      pen.globalAlpha = front ? 0.82 : 0.13;
      pen.fillStyle = palette[colouring.of(point)];
      pen.beginPath();
      pen.arc(x, y, front && found ? radius + 1.5 : radius, 0, 2 * Math.PI);
      pen.fill();
    }
  }
  pen.globalAlpha = 1;
  if (form.elements.names.checked) drawNames(pen, colour);
  if (chosen >= 0) ring(pen, ...place(chosen), radius + 3, colour("--ink"));
}

function drawNames(pen, colour) {
  const size = parseFloat(getComputedStyle(document.documentElement).fontSize);
  pen.font = `600 ${size * 0.8}px ${getComputedStyle(status).fontFamily}`;
  pen.textAlign = "center"; pen.textBaseline = "middle"; pen.lineJoin = "round"; pen.lineWidth = 4;
  const taken = [];
  for (const cluster of shown.clusters) {
    const name = cluster.words.join(", ");
    const [x, y] = view.toScreen(cluster.x, cluster.y);
    const half = pen.measureText(name).width / 2 + 6;
    if (x - half < 0 || x + half > view.width || y < 12 || y > view.height - 12) continue;
    if (taken.some((other) => Math.abs(other.x - x) < other.half + half && Math.abs(other.y - y) < size * 1.4)) continue;
    taken.push({ x, y, half });
    pen.strokeStyle = colour("--raised"); pen.strokeText(name, x, y);
    pen.fillStyle = colour("--ink"); pen.fillText(name, x, y);
  }
}

function ring(pen, x, y, radius, colour) {
  pen.strokeStyle = colour; pen.lineWidth = 2;
  pen.beginPath(); pen.arc(x, y, radius, 0, 2 * Math.PI); pen.stroke();
}

/* ---- legend and list ---- */

function makeLegend() {
  $("map-legend-title").textContent = form.elements.field.value || $("map-legend-title").dataset.cluster;
  const items = colouring.scale ? [scaleItem()] : [];
  colouring.groups.forEach((group, place) => { if (group.name && group.points) items.push(legendItem(group, place)); });
  $("map-legend").replaceChildren(...items);
  paintLegend();
}

function legendItem(group, place) {
  const dot = make("span", { className: "dot" });
  dot.dataset.colour = group.colour;
  const button = make("button", { type: "button" }, dot, group.name, make("span", { className: "count", textContent: number(group.points) }));
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    solo = solo === place ? null : place;
    for (const each of $("map-legend").querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button && solo !== null));
    view.draw();
  });
  return make("li", {}, button);
}

function scaleItem() {
  const item = make("span", { className: "scale" }, number(colouring.scale[0]));
  for (let step = 0; step < STEPS; step += 1) { const part = make("i"); part.dataset.colour = `--map-s${step}`; item.append(part, number(colouring.scale[step + 1])); }
  return make("li", {}, item);
}

function paintLegend() {
  const style = getComputedStyle(box);
  for (const dot of $("map-legend").querySelectorAll("[data-colour]")) dot.style.background = style.getPropertyValue(dot.dataset.colour);
}

function makeList() {
  $("map-list").hidden = false;
  $("map-clusters").replaceChildren(...shown.clusters.flatMap((cluster) => [
    make("h3", { textContent: `${cluster.words.join(", ")} (${number(cluster.points)} ${box.dataset.passages})` }),
    make("ul", {}, ...cluster.typical.map((point) => make("li", {}, make("a", { href: address(point), textContent: titleOf(point) }), ` – ${shown.points.line[point]}`))),
  ]));
}

/* ---- points ---- */

const titleOf = (point) => {
  const document = shown.points.document[point];
  return shown.documents.title[document] || shown.documents.id[document] || box.dataset.untitled;
};

function address(point) {
  const { document, start, end } = shown.points;
  const id = shown.documents.id[document[point]].split("/").map(encodeURIComponent).join("/");
  const span = new URLSearchParams({ v: shown.documents.version[document[point]], s: start[point], e: end[point] });
  return `/collections/${encodeURIComponent(box.dataset.collection)}/documents/${id}?${span}#span`;
}

function choose(point, aloud = false) {
  chosen = point;
  canvas.classList.toggle("over", point >= 0);
  const tip = $("map-tip");
  tip.hidden = point < 0;
  view.draw();
  if (point < 0) return;
  const [title, line, more] = tip.children;
  title.textContent = titleOf(point);
  line.textContent = shown.points.line[point];
  const names = shown.clusters[shown.points.cluster[point]].words.join(", ");
  more.textContent = colouring.value ? `${form.elements.field.value}: ${colouring.value(point)} · ${names}` : names;
  if (aloud) status.textContent = `${title.textContent}. ${line.textContent}`;
  placeTip(tip, ...view.toScreen(shown.points.x[point], shown.points.y[point]));
}

function placeTip(tip, x, y) {
  const left = Math.min(Math.max(6, x + 14), view.width - tip.offsetWidth - 6);
  const below = y + 14 + tip.offsetHeight < view.height;
  tip.style.left = `${left}px`;
  tip.style.top = `${Math.max(6, below ? y + 14 : y - 14 - tip.offsetHeight)}px`;
}

function step(by) {
  const order = view.inSight(found);
  if (!order.length) return;
  const at = order.indexOf(chosen);
  choose(order[(at < 0 ? (by > 0 ? 0 : order.length - 1) : at + by + order.length) % order.length], true);
}

/* ---- finding ---- */

async function find() {
  const query = form.elements.q.value.trim();
  found = null;
  if (query && shown) {
    const reply = await ask(`${api}/search`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ query, limit: 50 }) });
    if (!reply) return;
    const places = new Map(shown.points.start.map((start, point) => [JSON.stringify([shown.documents.id[shown.points.document[point]], start]), point]));
    found = new Set(reply.hits.map((hit) => places.get(JSON.stringify([hit.document_id, hit.start]))).filter((point) => point !== undefined));
    say(box.dataset.found, { shown: found.size, hits: reply.hits.length });
  }
  view.draw();
}

/* ---- the address ---- */

function remember() {
  const state = new URLSearchParams();
  for (const name of ["field", "points", "q"]) if (form.elements[name].value) state.set(name, form.elements[name].value);
  if (!form.elements.names.checked) state.set("names", "0");
  const place = view.state();
  if (place) state.set("at", place);
  history.replaceState(null, "", `?${state}`);
}

function recall() {
  const state = new URLSearchParams(location.search);
  const field = state.get("field");
  if (field) { form.elements.field.append(new Option(field, field)); form.elements.field.value = field; }
  if ([...form.elements.points.options].some((option) => option.value === state.get("points"))) form.elements.points.value = state.get("points");
  form.elements.q.value = state.get("q") || "";
  form.elements.names.checked = state.get("names") !== "0";
  view.restore(state.get("at"));
}

/* ---- what people do ---- */

form.addEventListener("submit", (event) => { event.preventDefault(); find().then(remember); });
form.addEventListener("change", (event) => {
  remember();
  if (event.target.name === "names") view.draw();
  else if (event.target.name !== "q") load();
});
form.elements.q.addEventListener("input", () => { if (!form.elements.q.value) find().then(remember); });
for (const button of box.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => view.zoomBy({ in: 1.6, out: 1 / 1.6, all: 0 }[button.dataset.zoom]));
canvas.addEventListener("view-moved", () => { choose(-1); remember(); });
canvas.addEventListener("view-pointed", (event) => choose(view.nearest(event.detail.x, event.detail.y)));
canvas.addEventListener("view-clicked", (event) => {
  const point = view.nearest(event.detail.x, event.detail.y, event.detail.touch ? 22 : 12);
  if (point < 0) return;
  if (event.detail.touch && point !== chosen) choose(point); // the first touch tells, the second opens
  else if (event.detail.aside) window.open(address(point), "_blank", "noopener");
  else location.assign(address(point));
});
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const pan = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  const zoom = { "+": 1.6, "=": 1.6, "-": 1 / 1.6, 0: 0 }[event.key];
  if (pan) view.moveBy(...pan);
  else if (zoom !== undefined) view.zoomBy(zoom);
  else if (event.key === "n" || event.key === "p") step(event.key === "n" ? 1 : -1);
  else if (event.key === "Enter" && chosen >= 0) location.assign(address(chosen));
  else if (event.key === "Escape") choose(-1);
  else return;
  event.preventDefault();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { paintLegend(); view.draw(); });

recall();
load();
