/* The first page: puts in the answer as it comes, shows quotes on hover, opens documents beside the answer.
   All markup comes from the service's templates, which escape what documents say. */

import { eventsOf } from "./events.js";

const $ = (id) => document.getElementById(id);
const answer = $("answer");
const status = $("status");
let running = null; // AbortController of the answer that is being written

/* ---- the answer as it comes ---- */

const PUT_IN = {
  found(markup) {
    replace($("found"), markup);
    if (answer.getAttribute("aria-busy") === "true") status.textContent = status.dataset.reading;
  },
  draft(words) {
    const lead = answer.querySelector(".draft") || answer.appendChild(Object.assign(document.createElement("p"), { className: "lead draft" }));
    lead.append(words);
  },
  answer(markup) {
    answer.setAttribute("aria-busy", "false");
    replace(answer, markup);
    status.textContent = status.dataset.done;
    status.className = "hidden";
  },
  error(markup) {
    replace($("problem"), markup);
    status.textContent = "";
  },
};

function replace(place, markup) {
  place.innerHTML = markup;
  window.htmx?.process(place);
}

/* Back and reload show the last answer again; only asking asks. */
function keep() {
  const kept = { address: location.search, answer: answer.innerHTML, found: $("found").innerHTML };
  try { sessionStorage.setItem("answer", JSON.stringify(kept)); } catch { /* full or forbidden: it is asked again */ }
}

function restore() {
  if (performance.getEntriesByType("navigation")[0]?.type === "navigate") return false;
  const kept = JSON.parse(sessionStorage.getItem("answer") || "null");
  if (kept?.address !== location.search) return false;
  replace(answer, kept.answer);
  replace($("found"), kept.found);
  answer.setAttribute("aria-busy", "false");
  status.textContent = "";
  return true;
}

async function ask(address) {
  running = new AbortController();
  setBusy(true);
  try {
    const response = await fetch(address, { signal: running.signal, headers: { "HX-Request": "true" } });
    if (!response.ok) return PUT_IN.error(await response.text());
    for await (const { name, data } of eventsOf(response)) PUT_IN[name](data);
    if (answer.firstElementChild) keep();
  } catch (failure) {
    if (running.signal.aborted) showStopped(); else showUnreachable();
  } finally {
    setBusy(false);
  }
}

function setBusy(busy) {
  $("stop").hidden = !busy;
  answer.setAttribute("aria-busy", String(busy));
}

function showStopped() {
  answer.querySelector(".draft")?.classList.add("stopped");
  status.textContent = status.dataset.stopped;
}

function showUnreachable() {
  const notice = Object.assign(document.createElement("p"), { className: "notice problem", textContent: $("problem").dataset.unreachable });
  $("problem").replaceChildren(notice);
  status.textContent = "";
}

/* ---- quotes ---- */

function showQuote(chip) {
  const box = $("quote");
  box.querySelector("q").textContent = chip.dataset.quote;
  box.querySelector("cite").textContent = chip.dataset.source;
  box.hidden = false;
  const place = chip.getBoundingClientRect();
  const left = Math.min(Math.max(8, place.left - 24), document.documentElement.clientWidth - box.offsetWidth - 8);
  const below = place.bottom + 8 + box.offsetHeight < innerHeight;
  box.style.left = `${left + scrollX}px`;
  box.style.top = `${(below ? place.bottom + 8 : place.top - 8 - box.offsetHeight) + scrollY}px`;
}

function hideQuote() {
  $("quote").hidden = true;
}

/* ---- the document beside the answer ---- */

async function openReader(address) {
  hideQuote();
  try {
    const response = await fetch(address, { headers: { "HX-Request": "true" } });
    replace($("reader"), await response.text());
  } catch {
    return showUnreachable();
  }
  if (!$("reader").open) $("reader").showModal();
  const span = $("reader").querySelector("#span");
  span?.scrollIntoView({ block: "center" });
  span?.focus({ preventScroll: true });
}

function closeReader() {
  if ($("reader").open) $("reader").close();
}

/* ---- what people do ---- */

const chipOf = (event) => event.target.closest?.(".chip");

if ($("reader")) {
  for (const event of ["mouseover", "focusin"]) document.addEventListener(event, (e) => chipOf(e) && showQuote(chipOf(e)));
  for (const event of ["mouseout", "focusout"]) document.addEventListener(event, (e) => chipOf(e) && hideQuote());
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.place");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    history.pushState({ reader: true }, "", link.getAttribute("href"));
    openReader(link.getAttribute("href"));
  });
  $("reader").addEventListener("click", (event) => {
    if (event.target === $("reader") || event.target.closest("[data-close]")) { event.preventDefault(); closeReader(); }
  });
  $("reader").addEventListener("close", () => { if (history.state?.reader) history.back(); });
  addEventListener("popstate", () => {
    if (history.state?.reader) openReader(location.href);
    else closeReader();
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    hideQuote();
    if (!$("reader").open) running?.abort();
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("ask").addEventListener("submit", () => { running?.abort(); dropEmpty(); });
  addRows();
  if (answer?.dataset.events && !restore()) ask(answer.dataset.events);
}

/* An address without fields that say nothing; they are back when the page is. */
function dropEmpty() {
  const rows = [...document.querySelectorAll(".condition")].filter((row) => !row.querySelector("input").value.trim());
  const said = [...$("ask").elements].filter((field) => field.name && field.value === "");
  for (const field of [...rows.flatMap((row) => [...row.querySelectorAll("input, select")]), ...said.filter((field) => !field.closest(".condition"))]) {
    field.disabled = true;
    setTimeout(() => { field.disabled = false; }, 0);
  }
}

/* A row that is filled in makes room for the next one. */
function addRows() {
  document.querySelector(".filter").addEventListener("input", () => {
    const rows = document.querySelectorAll(".condition");
    const last = rows[rows.length - 1];
    if (!last.querySelector("input").value.trim()) return;
    const next = last.cloneNode(true);
    for (const input of next.querySelectorAll("input")) input.value = "";
    last.after(next);
  });
}
