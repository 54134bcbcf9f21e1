"use strict";
/* The page of Footnote. Documents are a stranger's text: everything is put in as text nodes, never as markup.
   The state lives in the address: ?c=collection&q=question&m=mode, and &d=document&v=version&s=start&e=end while a
   document is open. Offsets are Unicode code points, so texts are cut with points(), never with slice(). */

const SHORT_QUOTE = 60; // characters; a longer quote is shown alone
const AROUND = 70; // characters on each side of a short one
const CONTEXT_POINTS = 6000; // of text around a quote; a screen holds about 3000
const $ = (id) => document.getElementById(id);
const points = (text) => Array.from(text);
let running = null; // AbortController of the question that is being answered

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/* A line break after a long line is where an editor or a PDF wrapped it. A space takes its place, so offsets stay. */
const reflow = (text) => text.replace(/([^\n]{60,})\n(?![\s#>*|+\-\d])/g, "$1 ");

/* A link that opens a document at a hit or a citation; as a link it can be copied and opened in another tab. */
function placeLink(found, attributes, ...children) {
  const open = (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    openReader(found);
  };
  return el("a", { href: addressOf(found), onclick: open, ...attributes }, ...children);
}

/* ---- the address ---- */

function readAddress() {
  const query = new URLSearchParams(location.search);
  const place = query.get("d") && {
    document_id: query.get("d"), version: Number(query.get("v")),
    start: Number(query.get("s")), end: Number(query.get("e")),
  };
  return { question: query.get("q") || "", collection: query.get("c"), mode: query.get("m") || "hybrid", place };
}

function addressOf(place) {
  const query = new URLSearchParams({ c: $("collection").value, q: $("question").value.trim() });
  if ($("mode").value !== "hybrid") query.set("m", $("mode").value);
  if (place) {
    for (const [short, value] of [["d", place.document_id], ["v", place.version], ["s", place.start], ["e", place.end]])
      query.set(short, value);
  }
  return "?" + query;
}

function writeAddress(place) {
  const address = addressOf(place);
  if (address !== location.search) history.pushState(null, "", address);
}

/* ---- the API ---- */

class Failure extends Error {
  constructor(problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }
}

async function call(path, options = {}) {
  const headers = { ...options.headers };
  const key = sessionStorage.getItem("key");
  if (key) headers.Authorization = "Bearer " + key;
  const response = await fetch(path, { ...options, headers });
  if (!response.ok) throw new Failure(await response.json().catch(() => ({ title: response.statusText })));
  return response;
}

const inCollection = (rest) => `/v1/collections/${encodeURIComponent($("collection").value)}/${rest}`;

async function* answerEvents(body, signal) {
  const response = await call(inCollection("answer"), {
    method: "POST", signal, body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
  });
  let rest = "";
  for await (const chunk of chunks(response.body.pipeThrough(new TextDecoderStream()))) {
    const frames = (rest + chunk).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const field = (name) => frame.split("\n").find((line) => line.startsWith(name + ": "))?.slice(name.length + 2);
      if (field("event")) yield { name: field("event"), data: JSON.parse(field("data")) };
    }
  }
}

async function* chunks(stream) { // not every browser can iterate a stream itself
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

/* ---- asking ---- */

async function ask() {
  const question = $("question").value.trim();
  if (!question || !$("collection").value) return;
  running?.abort();
  const mine = (running = new AbortController());
  clear();
  setBusy(true);
  say("Searching…");
  try {
    const body = { question, mode: $("mode").value, explain: true };
    let streamed = "";
    for await (const { name, data } of answerEvents(body, mine.signal)) {
      if (name === "search_results") showFound(data);
      else if (name === "message") showDraft((streamed += data.delta));
      else if (name === "final_answer") showAnswer(data);
      else if (name === "error") throw new Failure(data);
    }
  } catch (failure) {
    if (mine.signal.aborted) { if (mine === running) showStopped(); } else showProblem(failure);
  } finally {
    if (mine === running) setBusy(false);
  }
}

function clear() {
  for (const id of ["answer-body", "footnotes", "hits", "answer-facts", "fusion"]) $(id).replaceChildren();
  for (const id of ["answer", "results", "problem", "quote"]) $(id).hidden = true;
  $("answer").className = "";
  $("results-title").textContent = "Passages";
}

function setBusy(busy) {
  $("stop").hidden = !busy;
  $("go").hidden = busy;
  $("answer").setAttribute("aria-busy", busy);
}

/* brief: for screen readers only, because the page shows the same in its own words */
function say(text, brief = false) {
  $("status").textContent = text;
  $("status").className = brief ? "hidden" : "";
}

function showStopped() {
  $("answer").classList.add("stopped");
  say("Stopped.");
}

function showProblem(failure) {
  say("");
  const problem = failure instanceof Failure ? failure.problem
    : { title: "No connection", detail: "The service did not answer.", next: "Check that it runs, then ask again." };
  const facts = [["found", problem.found], ["expected", problem.expected], ["next", problem.next]];
  $("problem").replaceChildren(
    el("strong", {}, problem.title || "Error"), el("p", {}, problem.detail || ""),
    el("dl", {}, ...facts.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
  );
  $("problem").hidden = false;
  $("unlock").hidden = problem.status !== 401;
}

/* ---- passages ---- */

function showFound(found) {
  say(found.hits.length ? `${count(found.hits.length, "passage")} found. Reading…` : "Nothing found.");
  $("hits").replaceChildren(...found.hits.map(hitItem));
  $("results").hidden = !found.hits.length;
  if (found.fusion) {
    const weights = `meaning ${found.fusion.dense_weight.toFixed(2)}, words ${found.fusion.lexical_weight.toFixed(2)}`;
    $("fusion").textContent = [`Weights: ${weights}`, ...found.fusion.reasons].join(" · ");
  }
}

function hitItem(hit) {
  const title = hit.title || hit.document_id;
  const where = [...hit.heading_path.filter((heading) => heading !== title), hit.page && `page ${hit.page}`].filter(Boolean);
  const item = el("li", { class: "hit" },
    el("h3", {}, placeLink(hit, {}, title)),
    where.length ? el("p", { class: "where" }, where.join(" › ")) : null,
    el("p", { class: "passage" }, reflow(hit.text)),
    el("details", { class: "why" }, el("summary", {}, `why · ${hit.score.toFixed(3)}`), whyTable(hit)),
  );
  item.hit = hit;
  return item;
}

function whyTable(hit) {
  const { dense_score, dense_rank, lexical_score, lexical_rank, fused_score } = hit.explain;
  const row = (name, score, rank) => el("tr", {}, el("th", { scope: "row" }, name),
    el("td", {}, score === null ? "not found" : score.toFixed(4)), el("td", {}, rank === null ? "–" : String(rank)));
  return el("table", {},
    el("thead", {}, el("tr", {}, ...["side", "score", "rank"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, row("meaning (dense)", dense_score, dense_rank), row("words (BM25)", lexical_score, lexical_rank),
      row("fused", fused_score, null)));
}

function markQuotes(citations) {
  for (const item of $("hits").children) {
    const hit = item.hit;
    const inside = citations.filter((c) => holds(hit, c)).sort((a, b) => a.start - b.start);
    if (inside.length) item.querySelector(".passage").replaceChildren(...marked(hit, inside));
  }
}

function marked(hit, citations) {
  const text = points(reflow(hit.text));
  const parts = [];
  let at = 0;
  for (const { start, end } of citations) {
    const [from, to] = [Math.max(start - hit.start, at), end - hit.start];
    if (to <= from) continue;
    parts.push(text.slice(at, from).join(""), el("mark", {}, text.slice(from, to).join("")));
    at = to;
  }
  return [...parts, text.slice(at).join("")];
}

/* ---- the answer ---- */

function showDraft(text) {
  $("answer").hidden = false;
  $("answer").className = "draft";
  $("answer-body").replaceChildren(el("p", { class: "lead" }, text));
}

const SHOW = { answered: showAnswered, passages_only: showPassagesOnly, not_found: showNotFound };

function showAnswer(reply) {
  $("answer").hidden = false;
  $("answer").className = reply.status;
  SHOW[reply.status](reply);
  $("footnotes").replaceChildren(...reply.citations.map(footnote));
  markQuotes(reply.citations);
  const facts = [`${Math.round(reply.took_ms)} ms`];
  if (reply.confidence !== null) facts.unshift(`confidence ${Math.round(reply.confidence * 100)} %`);
  if (reply.model) facts.push(reply.model);
  $("answer-facts").textContent = facts.join(" · ");
}

function showAnswered(reply) {
  say(`Answered with ${count(reply.citations.length, "footnote")}.`, true);
  const paragraph = el("p", { class: "lead" });
  let at = 0;
  for (const sentence of reply.sentences) { // the answer's own text stands between the sentences
    const from = Math.max(reply.answer.indexOf(sentence.text, at), at);
    paragraph.append(reply.answer.slice(at, from), sentenceSpan(sentence, reply.citations));
    at = from + sentence.text.length;
  }
  paragraph.append(reply.answer.slice(at));
  $("answer-body").replaceChildren(paragraph);
}

function showPassagesOnly(reply) {
  say("No answer was written. The closest sentences are shown.", true);
  $("answer-body").replaceChildren(
    el("p", { class: "note" }, "No answer of its own: these are the sentences that come closest."),
    el("ul", { class: "closest" }, ...reply.sentences.map((s) => el("li", {}, sentenceSpan(s, reply.citations)))));
}

function showNotFound() {
  const near = $("hits").children.length > 0;
  say("Not in this collection.", true);
  $("answer-body").replaceChildren(
    el("p", { class: "lead" }, "Not in this collection."),
    el("p", { class: "note" }, near ? "Nothing here answers the question. The nearest passages are below."
      : "Nothing here comes near the question."));
  $("results-title").textContent = "Nearest passages";
}

function sentenceSpan(sentence, citations) {
  const span = el("span", { class: sentence.supported ? "supported" : "unsupported" }, sentence.text);
  const chips = sentence.citations.map((number) => chip(citations.find((citation) => citation.number === number)));
  if (!sentence.supported) chips.push(el("span", { class: "warning" }, "no source"));
  return el("span", {}, span, ...chips);
}

function chip(citation) {
  const label = `Footnote ${citation.number}: ${citation.title || citation.document_id}`;
  const node = placeLink(citation, { class: "chip", "aria-label": label, "aria-describedby": "quote" }, `${citation.number}`);
  for (const event of ["mouseenter", "focus"]) node.addEventListener(event, () => showQuote(node, citation));
  for (const event of ["mouseleave", "blur"]) node.addEventListener(event, hideQuote);
  return node;
}

function footnote(citation) {
  const source = (citation.title || citation.document_id) + (citation.page ? `, page ${citation.page}` : "");
  const [before, after] = around(citation);
  return el("li", { value: citation.number },
    el("span", { class: "around" }, before), placeLink(citation, {}, el("q", {}, reflow(citation.quote))),
    el("span", { class: "around" }, after), " ", el("cite", {}, source));
}

/* A short quote says little alone: the words of its own line that stand before and after it. */
function around(citation) {
  const hit = [...$("hits").children].map((item) => item.hit).find((candidate) => holds(candidate, citation));
  if (!hit || citation.quote.length > SHORT_QUOTE) return ["", ""];
  const text = points(reflow(hit.text));
  const before = text.slice(0, citation.start - hit.start).join("").split("\n").pop();
  const after = text.slice(citation.end - hit.start).join("").split("\n")[0];
  return [
    before.length > AROUND ? `… ${before.slice(-AROUND).replace(/^\S*\s/, "")}` : before,
    after.length > AROUND ? `${after.slice(0, AROUND).replace(/\s\S*$/, "")} …` : after,
  ];
}

function holds(hit, citation) {
  return citation.document_id === hit.document_id && citation.version === hit.version
    && citation.start >= hit.start && citation.end <= hit.end;
}

function showQuote(anchor, citation) {
  const box = $("quote");
  box.querySelector("q").textContent = reflow(citation.quote);
  box.querySelector("cite").textContent = (citation.title || citation.document_id) + (citation.page ? `, page ${citation.page}` : "");
  box.hidden = false;
  const place = anchor.getBoundingClientRect();
  const left = Math.min(Math.max(8, place.left - 24), document.documentElement.clientWidth - box.offsetWidth - 8);
  const below = place.bottom + 8 + box.offsetHeight < innerHeight;
  box.style.left = `${left + scrollX}px`;
  box.style.top = `${(below ? place.bottom + 8 : place.top - 8 - box.offsetHeight) + scrollY}px`;
}

function hideQuote() {
  $("quote").hidden = true;
}

/* ---- the document ---- */

const reader = { place: null, from: 0, to: 0, length: 0 };

async function openReader(found) {
  const { document_id, version, start, end, title } = found;
  hideQuote();
  reader.place = { document_id, version, start, end };
  writeAddress(reader.place);
  try {
    const part = await readText(Math.max(0, start - CONTEXT_POINTS), end);
    const after = await readText(end, Math.min(end + CONTEXT_POINTS, part.length));
    showDocument({ ...part, end: after.end, text: part.text + after.text }, title || document_id);
  } catch (failure) {
    closeReader();
    showProblem(failure);
  }
}

async function readText(start, end) {
  const { document_id, version } = reader.place;
  const query = new URLSearchParams({ version, start, end });
  return (await call(inCollection(`text/${encodeURIComponent(document_id)}?${query}`))).json();
}

function showDocument(part, title) {
  const { document_id, version, start, end } = reader.place;
  const text = points(reflow(part.text));
  const cut = (from, to) => text.slice(Math.max(0, from - part.start), to - part.start).join("");
  const quote = el("mark", { tabindex: "-1" }, cut(start, end));
  Object.assign(reader, { from: part.start, to: part.end, length: part.length });
  $("reader-title").textContent = title;
  $("reader-place").textContent = `version ${version} · characters ${start}–${end} of ${part.length}`;
  $("reader-original").href = inCollection(`originals/${encodeURIComponent(document_id)}?version=${version}`);
  $("reader-text").replaceChildren(cut(part.start, start), quote, cut(end, part.end));
  showMoreButtons();
  if (!$("reader").open) $("reader").showModal();
  quote.scrollIntoView({ block: "center" });
  quote.focus({ preventScroll: true });
}

function showMoreButtons() {
  $("reader-earlier").hidden = reader.from === 0;
  $("reader-later").hidden = reader.to >= reader.length;
}

async function showEarlier() {
  const part = await readText(Math.max(0, reader.from - CONTEXT_POINTS), reader.from);
  const below = $("reader-scroll").scrollHeight - $("reader-scroll").scrollTop;
  $("reader-text").prepend(reflow(part.text));
  reader.from = part.start;
  showMoreButtons();
  $("reader-scroll").scrollTop = $("reader-scroll").scrollHeight - below; // what was read stays where it was
}

async function showLater() {
  const part = await readText(reader.to, Math.min(reader.to + CONTEXT_POINTS, reader.length));
  $("reader-text").append(reflow(part.text));
  reader.to = part.end;
  showMoreButtons();
}

function closeReader() {
  if ($("reader").open) $("reader").close();
}

/* ---- start ---- */

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

async function loadCollections(wanted) {
  const { collections } = await (await call("/v1/collections")).json();
  $("unlock").hidden = true;
  $("collection").replaceChildren(...collections.map((collection) => {
    const option = el("option", { value: collection.name }, collection.name);
    option.facts = `${count(collection.documents, "document")}, ${count(collection.chunks, "passage")}`;
    return option;
  }));
  if (wanted && collections.some((collection) => collection.name === wanted)) $("collection").value = wanted;
  showSize();
  if (!collections.length) say("There is no collection yet. Make one with: footnote ingest PATH --collection NAME");
}

function showSize() {
  $("size").textContent = $("collection").selectedOptions[0]?.facts || "";
}

async function follow() { // the address
  const { question, collection, mode, place } = readAddress();
  if (collection) $("collection").value = collection;
  showSize();
  const changed = $("question").value.trim() !== question || $("mode").value !== mode || $("results").hidden;
  $("question").value = question;
  $("mode").value = mode;
  document.title = question ? `${question} – Footnote` : "Footnote";
  if (!question) { running?.abort(); clear(); say(""); } else if (changed) ask();
  if (place) await openReader(place); else closeReader();
}

async function start() {
  try {
    await loadCollections(readAddress().collection);
    await follow();
  } catch (failure) {
    showProblem(failure);
  }
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  writeAddress(null);
  document.title = `${$("question").value.trim()} – Footnote`;
  ask();
});
$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("key").value.trim());
  $("key").value = "";
  $("problem").hidden = true;
  start();
});
$("stop").addEventListener("click", () => running?.abort());
$("collection").addEventListener("change", showSize);
$("reader-close").addEventListener("click", closeReader);
$("reader-earlier").addEventListener("click", showEarlier);
$("reader-later").addEventListener("click", showLater);
$("reader").addEventListener("click", (event) => { if (event.target === $("reader")) closeReader(); });
$("reader").addEventListener("close", () => { if (readAddress().place) writeAddress(null); });
addEventListener("popstate", follow);
addEventListener("keydown", (event) => {
  if (event.key === "Escape") { hideQuote(); if (!$("reader").open) running?.abort(); }
  if (event.key === "/" && !event.target.matches("input, select, textarea")) { event.preventDefault(); $("question").focus(); }
});
start();
