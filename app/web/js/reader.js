/* A document as a page of its own: the span stands in the middle of the screen. */
const span = document.getElementById("span");
if (span) {
  span.scrollIntoView({ block: "center" });
  span.focus({ preventScroll: true });
}
