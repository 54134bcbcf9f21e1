/* What every page has: keys, and focus that follows what htmx put in. */

const typing = (target) => target.closest("input, select, textarea, [contenteditable]");

/* "/" goes to the search box, as on most pages with one. */
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const box = document.querySelector("input[type=search]");
  if (box) { event.preventDefault(); box.focus(); box.select(); }
});

/* Times come in UTC, for those without scripts; people read their own. */
const local = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
function showLocalTimes(place) {
  for (const time of place.querySelectorAll("time[datetime]:not([title])")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    time.title = time.textContent;
    time.textContent = local.format(moment);
  }
}
showLocalTimes(document);
document.addEventListener("htmx:load", (event) => showLocalTimes(event.detail.elt));

/* A new try clears what went wrong before; a connection that broke says so in the same place. */
const problem = document.getElementById("problem");
document.addEventListener("htmx:beforeRequest", () => problem.replaceChildren());
document.addEventListener("htmx:sendError", () => {
  const notice = document.createElement("p");
  notice.className = "notice problem";
  notice.textContent = problem.dataset.unreachable;
  problem.replaceChildren(notice);
});
