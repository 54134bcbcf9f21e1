/* The playground: runs a prompt with one or two settings, shows each token in the colour of its probability and what
   might have stood in its place. All that comes from documents or decoders goes into text nodes. The prompt and the
   settings that were changed stand in the address. */

import { eventsOf } from "./events.js";

const $ = (id) => document.getElementById(id);
const form = $("prompt-form");
const words = $("sides").dataset;
const sides = ["a", "b"].map((name) => document.querySelector(`[data-side="${name}"]`));
const PROMPT = ["kind", "collection", "passages", "mode", "system", "text", "prompt"];
const LONGEST_ADDRESS = 6000;
const WHOLE = new Set(["seed", "top_k", "max_tokens", "n", "no_repeat_ngram_size", "logprobs", "best_of"]);
let running = null; // AbortController

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

const language = document.documentElement.lang;
const number = (value, digits = 0) => value.toLocaleString(language, { maximumFractionDigits: digits });
const share = (value) => value.toLocaleString(language, { style: "percent", maximumFractionDigits: value < 0.1 ? 1 : 0 });
const percent = (value) => (value < 0.0005 ? `< ${share(0.001)}` : share(value));

/* ---- settings ---- */

const controlsOf = (side) => [...side.querySelector("form").elements].filter((control) => control.name);
const isChanged = (control) => (control.type === "checkbox" ? control.checked : control.value.trim() !== (control.dataset.default ?? ""));

function settingsOf(side) {
  const settings = {};
  for (const control of controlsOf(side)) {
    const text = control.type === "checkbox" ? String(control.checked) : control.value.trim();
    if (text === "" || text === "false") continue;
    if (control.name === "stop") settings.stop = text.split("\n").filter(Boolean);
    else if (control.name === "logit_bias") settings.logit_bias = biases(text);
    else settings[control.name] = control.type === "checkbox" ? true : WHOLE.has(control.name) ? Math.trunc(Number(text)) : Number(text);
  }
  if (settings.best_of > 1) {
    settings.use_beam_search = true;
    for (const name of ["temperature", "top_k", "top_p", "min_p", "typical_p"]) delete settings[name]; // beams do not draw
  } else delete settings.best_of;
  return settings;
}

function biases(text) {
  return Object.fromEntries(text.split(/[,;\n]/).filter((pair) => pair.trim()).map((pair) => {
    const [token, bias] = pair.split(":");
    return [token.trim(), Number(bias)];
  }));
}

function tellChanges(side) {
  const changed = controlsOf(side).filter(isChanged);
  for (const control of controlsOf(side)) control.closest(".field").classList.toggle("unusual", changed.includes(control));
  const names = changed.map((control) => side.querySelector(`label[for="${control.id}"]`).firstChild.textContent.trim() || control.name);
  side.querySelector(".changed").textContent = names.length ? words.changed.replace("{names}", names.join(", ")) : "";
}

/* ---- the address ---- */

function remember() {
  const state = new URLSearchParams();
  for (const name of PROMPT) if (form.elements[name]?.value && isShown(form.elements[name])) state.set(name, form.elements[name].value);
  if (form.elements.compare.checked) state.set("compare", "1");
  sides.forEach((side, at) => {
    for (const control of controlsOf(side)) if (isChanged(control)) state.set(`${"ab"[at]}.${control.name}`, control.type === "checkbox" ? "1" : control.value);
  });
  if (String(state).length > LONGEST_ADDRESS) state.delete("text");
  history.replaceState(null, "", `?${state}`);
}

function recall() {
  const state = new URLSearchParams(location.search);
  for (const name of PROMPT) {
    const control = form.elements[name];
    const value = state.get(name);
    if (control && value !== null && (control.tagName !== "SELECT" || [...control.options].some((option) => option.value === value))) control.value = value;
  }
  form.elements.compare.checked = state.get("compare") === "1";
  sides.forEach((side, at) => {
    for (const control of controlsOf(side)) {
      const value = state.get(`${"ab"[at]}.${control.name}`);
      if (control.type === "checkbox") control.checked = value === "1";
      else if (value !== null) control.value = value;
    }
    tellChanges(side);
  });
}

const isShown = (element) => !element.closest("[data-kinds]") || !element.closest("[data-kinds]").hidden;

function arrange() {
  const kind = form.elements.kind.value;
  for (const part of form.querySelectorAll("[data-kinds]")) part.hidden = !part.dataset.kinds.split(" ").includes(kind);
  form.elements.text.required = kind === "text";
  const two = form.elements.compare.checked;
  sides[1].hidden = !two;
  $("sides").classList.toggle("two", two);
}

/* ---- a run ---- */

class Run {
  constructor(side) {
    this.side = side;
    this.output = side.querySelector(".output");
    this.figures = side.querySelector(".figures");
    this.choices = [];
    this.count = 0;
    this.logs = [];
    this.began = performance.now();
    this.output.replaceChildren();
    side.querySelector(".problem").replaceChildren();
    this.figures.textContent = "";
  }

  async go(request, signal) {
    this.output.setAttribute("aria-busy", "true");
    try {
      const response = await fetch("/playground/runs", { method: "POST", signal, body: JSON.stringify(request), headers: { "Content-Type": "application/json", "HX-Request": "true" } });
      if (!response.ok) return this.error(await response.text());
      for await (const { name, data } of eventsOf(response)) this[name](data);
    } catch {
      if (signal.aborted) this.figures.textContent = `${this.summary()} · ${words.stopped}`;
      else this.side.querySelector(".problem").replaceChildren(make("p", { className: "notice problem", textContent: $("problem").dataset.unreachable }));
    } finally { this.output.setAttribute("aria-busy", "false"); }
    return undefined;
  }

  /* Markup of the service's own template, which escapes what it is given. */
  error(markup) { this.side.querySelector(".problem").innerHTML = markup; }

  passages(passages) {
    if (!passages.length) this.output.append(make("p", { className: "notice", textContent: words.nothing }));
    this.given = passages;
  }

  prompt({ messages, grounded }) {
    const list = make("dl", { className: "shown" }, ...messages.flatMap((turn) => [make("dt", { textContent: turn.role }), make("dd", { textContent: turn.content })]));
    this.output.append(make("details", {}, make("summary", { className: "facts", textContent: words.prompt }), list));
    if (grounded) this.output.append(make("p", { className: "facts", textContent: words.grounded }));
  }

  box(choice) {
    if (!this.choices[choice]) {
      this.choices[choice] = make("div", { className: "tokens", tabIndex: 0 });
      this.choices[choice].setAttribute("role", "group");
      this.choices[choice].setAttribute("aria-label", words.answer);
      this.output.append(this.choices[choice]);
    }
    return this.choices[choice];
  }

  tokens({ choice, tokens }) {
    const box = this.box(choice);
    for (const token of tokens) {
      if (token.p !== undefined) this.logs.push(Math.log(Math.max(token.p, 1e-9)));
      this.count += 1;
      box.append(tokenElement(token));
    }
  }

  choice({ choice, finish }) {
    const box = this.box(choice);
    if (finish === "length") box.append(make("small", { className: "facts", textContent: ` … ${words.long}` }));
  }

  usage(counts) { this.counts = counts; }

  trace(trace) {
    this.output.append(make("h3", { textContent: words.answer }));
    this.tokens({ choice: 0, tokens: trace.tokens });
    const fate = trace.withheld ? words.withheld : words.told;
    const facts = [[`${words.confidence} (${fate})`, trace.confidence]];
    if (trace.threshold) facts.push([words.threshold, trace.threshold]);
    for (const name of ["answering", "likelihood", "verdict", "coverage"]) if (trace.signals) facts.push([words[name], trace.signals[name]]);
    this.output.append(make("h3", { textContent: words.sure }), odds(facts.map(([text, p]) => ({ text, p }))));
    const textOf = (passage) => this.given?.find((each) => each.number === passage) || { text: "" };
    if (trace.rivals.length) this.output.append(make("h3", { textContent: words.rivals }), odds(trace.rivals.map((rival) => ({ text: rival.text, note: `[${rival.number}]`, p: rival.p }))));
    this.output.append(make("h3", { textContent: words.passages }), odds(trace.passages.map((each) => ({ text: textOf(each.number).text, note: `[${each.number}]`, title: textOf(each.number).title, p: each.p, own: each.number === trace.passage }))));
    this.counts = { prompt: trace.read };
  }

  ended({ took_ms }) {
    this.took = took_ms;
    this.figures.textContent = this.summary();
  }

  summary() {
    const seconds = (this.took ?? performance.now() - this.began) / 1000;
    const parts = [`${number(this.counts?.tokens ?? this.count)} ${words.tokens}`, `${number(seconds, 2)} ${words.seconds}`];
    if (this.counts?.tokens) parts.push(`${number(this.counts.tokens / seconds, 1)} ${words.each}`);
    if (this.logs.length) {
      const mean = this.logs.reduce((sum, log) => sum + log, 0) / this.logs.length;
      parts.push(`${words.mean} ${percent(Math.exp(mean))}`, `${words.perplexity} ${number(Math.exp(-mean), 2)}`);
    }
    if (this.counts?.prompt) parts.push(`${number(this.counts.prompt)} ${words.read}${this.counts.cached ? ` (${number(this.counts.cached)} ${words.cached})` : ""}`);
    return parts.join(" · ");
  }
}

function tokenElement(token) {
  const element = make("span", { textContent: token.end ? "■" : token.t });
  if (token.p !== undefined) element.className = `p${[0.05, 0.2, 0.5, 0.8].filter((bound) => token.p >= bound).length}`;
  if (token.end) element.classList.add("end");
  element.token = token;
  return element;
}

function odds(rows) {
  const table = make("table", { className: "odds" });
  for (const { text, note, title, p, own, code } of rows) {
    const bar = make("meter", { min: 0, max: 1, value: p });
    bar.setAttribute("aria-hidden", "true");
    const shown = code ? make("td", {}, make("code", { textContent: text })) : make("td", { className: "text" }, ...(title ? [make("small", { textContent: title })] : []), make("span", { textContent: text }));
    const row = table.insertRow();
    if (own) row.className = "own";
    if (note !== undefined) row.append(make("td", { className: "note", textContent: note }));
    row.append(shown, make("td", { className: "bar" }, bar), make("td", { className: "number", textContent: percent(p) }));
  }
  return table;
}

/* ---- what might have stood there ---- */

const visible = (text) => text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/ /g, "␣") || "∅";

function showTip(element) {
  const tip = $("token-tip");
  const token = element.token;
  for (const other of document.querySelectorAll(".tokens .at")) other.classList.remove("at");
  element.classList.add("at");
  if (token.p === undefined) return hideTip();
  const title = make("p", {}, make("strong", { textContent: token.end ? words.end : visible(token.t) }), ` ${percent(token.p)}`);
  if (token.copied !== undefined && !token.end) title.append(` · ${words.copied} ${percent(token.copied)}`);
  const rows = (token.top || []).map(([text, p, end]) => ({ text: end ? words.end : visible(text), code: true, p, own: Math.abs(p - token.p) < 1e-9 }));
  const rest = 1 - rows.reduce((sum, row) => sum + row.p, 0);
  if (rows.length && rest > 0.0005) rows.push({ text: words.other, p: rest });
  tip.replaceChildren(title, odds(rows));
  tip.hidden = false;
  const place = element.getBoundingClientRect();
  const left = Math.min(Math.max(8, place.left), document.documentElement.clientWidth - tip.offsetWidth - 8);
  const below = place.bottom + 8 + tip.offsetHeight < innerHeight;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(below ? place.bottom + 6 : place.top - 6 - tip.offsetHeight) + scrollY}px`;
  return undefined;
}

function hideTip() { $("token-tip").hidden = true; }

function walk(box, by) {
  const tokens = [...box.children].filter((child) => child.token);
  const at = tokens.findIndex((token) => token.classList.contains("at"));
  const next = tokens[Math.min(tokens.length - 1, Math.max(0, at + by))];
  if (!next) return;
  showTip(next);
  next.scrollIntoView({ block: "nearest" });
  box.setAttribute("aria-label", `${words.answer}: ${next.textContent} ${$("token-tip").textContent}`);
}

/* ---- two settings ---- */

function compare(first, second) {
  const [one, other] = [first, second].map((run) => [...(run.choices[0]?.children || [])].filter((child) => child.token));
  const at = one.findIndex((token, place) => token.textContent !== other[place]?.textContent);
  const place = at < 0 && other.length > one.length ? one.length : at;
  if (place < 0) return;
  for (const token of [one[place], other[place]]) if (token) { token.classList.add("differs"); token.title = words.differs; }
}

/* ---- what people do ---- */

async function run() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const prompt = Object.fromEntries(PROMPT.filter((name) => form.elements[name] && isShown(form.elements[name])).map((name) => [name, form.elements[name].value]));
  if (prompt.passages) prompt.passages = Math.trunc(Number(prompt.passages));
  $("stop").hidden = false;
  hideTip();
  const runs = sides.filter((side) => !side.hidden).map((side) => {
    // The answers shall be in sight; what was changed stands in the summary.
    if (form.elements.compare.checked || window.matchMedia("(max-width: 62rem)").matches) side.querySelector(".settings").open = false;
    return [new Run(side), side];
  });
  await Promise.all(runs.map(([each, side]) => each.go({ ...prompt, ...settingsOf(side) }, signal)));
  if (signal === running.signal) $("stop").hidden = true;
  if (runs.length === 2 && !signal.aborted) compare(runs[0][0], runs[1][0]);
}

form.addEventListener("submit", (event) => { event.preventDefault(); remember(); run(); });
form.addEventListener("change", () => { arrange(); remember(); });
form.elements.prompt.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
$("stop").addEventListener("click", () => running?.abort());
$("reset").addEventListener("click", () => { for (const side of sides) { side.querySelector("form").reset(); tellChanges(side); } remember(); });
for (const side of sides) {
  side.addEventListener("input", () => { tellChanges(side); remember(); });
  side.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); form.requestSubmit(); });
  side.addEventListener("mouseover", (event) => { if (event.target.token) showTip(event.target); });
  side.addEventListener("mouseout", (event) => { if (event.target.token) { event.target.classList.remove("at"); hideTip(); } });
  side.addEventListener("click", (event) => { if (event.target.token) showTip(event.target); });
  side.addEventListener("focusout", hideTip);
  side.addEventListener("keydown", (event) => {
    const box = event.target.closest(".tokens");
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") hideTip();
    if (!box || !by) return;
    event.preventDefault();
    walk(box, by);
  });
}
recall();
arrange();
