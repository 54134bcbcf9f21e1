/* Files on their way into a collection: a request a file, so that each tells its own end; a job for many files
   and large ones, which goes on when the page is closed. Without this script the form sends them by itself. */

const MANY_FILES = 10;
const LARGE_BYTES = 1024 * 1024;
const AT_ONCE = 2;
const FILES_A_JOB = 200;
const TRIES = 4;

const form = document.getElementById("upload");
const list = document.getElementById("upload-list");
const active = new Set();
let queue = [];

if (form) {
  document.getElementById("upload-folder-field").hidden = false;
  document.getElementById("upload-send").hidden = true;
  document.getElementById("upload-files").required = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["upload-files", "upload-folder"]) {
    document.getElementById(id).addEventListener("change", ({ target }) => {
      add([...target.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
      target.value = "";
    });
  }
  for (const kind of ["dragenter", "dragover"]) form.addEventListener(kind, hover);
  for (const kind of ["dragleave", "drop"]) form.addEventListener(kind, () => form.classList.remove("over"));
  form.addEventListener("drop", async (event) => {
    event.preventDefault();
    add(await dropped(event.dataTransfer));
  });
  document.getElementById("uploads-stop").addEventListener("click", stop);
  document.addEventListener("htmx:afterSettle", ({ target }) => {
    if (target.closest("#upload-list") && !list.querySelector("section.job[hx-trigger]")) showDocuments();
  });
  addEventListener("beforeunload", (event) => { if (active.size || queue.length) event.preventDefault(); });
}

function hover(event) {
  event.preventDefault();
  form.classList.add("over");
}

/* What was dropped, folders with all that they hold; hidden files are left where they are. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, name: file.name }));
  return (await Promise.all(entries.map(walk))).flat();
}

async function walk(entry) {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [{ file, name: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {  // a reader gives at most a hundred at a time
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map(walk))).flat();
}

function add(found) {
  const files = found.filter(({ name }) => !name.split("/").some((part) => part.startsWith(".")));
  if (!files.length) return;
  document.getElementById("uploads").hidden = false;
  const rows = files.map(makeRow);
  const good = rows.filter(check);
  const alone = good.length > MANY_FILES ? [] : good.filter((row) => row.file.size <= LARGE_BYTES);
  queue.push(...alone.map((row) => [row]), ...batches(good.filter((row) => !alone.includes(row))));
  work();
}

/* Rows in groups that one request may carry. */
function batches(rows) {
  const room = 0.9 * form.dataset.maxRequestBytes;
  const groups = [];
  let bytes = Infinity;
  for (const row of rows) {
    if (bytes + row.file.size > room || groups.at(-1).length >= FILES_A_JOB) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1).push(row);
    bytes += row.file.size;
  }
  return groups.map((group) => Object.assign(group, { job: true }));
}

function check(row) {
  const { dataset } = form;
  const limit = Math.min(dataset.maxFileBytes, dataset.maxRequestBytes);
  if (row.file.size > limit) fail(row, dataset.large);
  else if (row.file.size === 0) fail(row, dataset.empty);
  else return true;
  return false;
}

function makeRow({ file, name }) {
  const item = document.createElement("li");
  const line = document.createElement("p");
  const status = document.createElement("span");
  const bar = document.createElement("progress");
  status.className = "facts";
  status.textContent = form.dataset.waiting;
  line.append(name, " ", status);
  bar.className = "bar";
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", name);
  item.append(line, bar);
  list.append(item);
  return { file, name, item, status, bar };
}

function work() {
  while (active.size < AT_ONCE && queue.length) send(queue.shift());
  summarise();
  if (!active.size) showDocuments();
}

function send(rows, tries = 1) {
  const request = new XMLHttpRequest();
  const body = new FormData();
  for (const { file, name, status } of rows) {
    body.append("file", file, name);
    status.textContent = form.dataset.sending;
  }
  request.upload.onprogress = ({ loaded }) => showSent(rows, loaded);
  request.upload.onload = () => rows.forEach(showReading);
  request.onload = () => answered(rows, request, tries);
  request.onerror = () => end(request, () => rows.forEach((row) => fail(row, form.dataset.broken, true)));
  request.onabort = () => end(request, () => rows.forEach((row) => fail(row, form.dataset.stopped, true)));
  request.open("POST", rows.job ? form.dataset.job : form.action);
  request.setRequestHeader("HX-Request", "true");
  active.add(request);
  request.send(body);
}

/* The bytes of a request are those of its files, one after the other. */
function showSent(rows, loaded) {
  for (const { file, bar } of rows) {
    bar.value = Math.min(Math.max(loaded / file.size, 0), 1);
    loaded -= file.size;
  }
}

function showReading({ status, bar }) {
  status.textContent = form.dataset.reading;
  bar.removeAttribute("value");
}

function answered(rows, request, tries) {
  const busy = request.status === 429 || request.status === 503;
  if (busy && tries < TRIES) {
    const wait_s = Number(request.getResponseHeader("Retry-After")) || 1;
    setTimeout(() => {
      active.delete(request);
      if (rows[0].item.isConnected) send(rows, tries + 1);
    }, wait_s * 1000);
    return;
  }
  end(request, () => {
    if (request.status >= 400) rows.forEach((row) => refuse(row, request));
    else if (rows.job) follow(rows, request.responseText);
    else show(rows[0], request.responseText);
  });
}

function end(request, act) {
  active.delete(request);
  act();
  work();
}

/* The reply is markup of ours: the outcome of the file, the job, or the problem. */
function show(row, markup) {
  row.item.dataset.done = "";
  window.htmx.swap(row.item, markup, { swapStyle: "innerHTML" });
}

function refuse(row, request) {
  const { name } = row;
  show(row, request.responseText);
  row.item.dataset.failed = "";
  row.item.prepend(name);
  offerAgain(row);
}

function follow(rows, markup) {
  const [first, ...rest] = rows;
  rest.forEach(({ item }) => item.remove());
  first.item.dataset.files = rows.length;
  show(first, markup);
}

function fail(row, reason, again = false) {
  row.item.dataset.failed = "";
  row.bar.remove();
  row.status.textContent = reason;
  row.status.className = "worse";
  if (again) offerAgain(row);
}

function offerAgain({ file, name, item }) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = form.dataset.again;
  button.addEventListener("click", () => {
    item.remove();
    add([{ file, name }]);
  });
  item.append(button);
}

function stop() {
  const waiting = queue.flat();
  queue = [];
  waiting.forEach((row) => fail(row, form.dataset.stopped, true));
  active.forEach((request) => request.abort());
}

function summarise() {
  const items = [...list.children];
  const all = items.reduce((sum, { dataset }) => sum + Number(dataset.files || 1), 0);
  const failed = items.filter((item) => "failed" in item.dataset || item.querySelector(".outcome .tag.bad")).length;
  const done = items.reduce((sum, { dataset }) => sum + ("done" in dataset ? Number(dataset.files || 1) : 0), 0);
  const text = `${form.dataset.summary} ${done} / ${failed} / ${all}`;
  const summary = document.getElementById("uploads-summary");
  if (summary.textContent !== text) summary.textContent = text;
  document.getElementById("uploads-stop").hidden = !(active.size || queue.length);
}

/* The list of documents as it is now. */
function showDocuments() {
  window.htmx.ajax("GET", location.pathname + location.search, {
    target: "#documents", select: "#documents", swap: "outerHTML",
  });
}
