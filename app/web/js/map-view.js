/* A canvas that shows a plane from -1 to 1, moved and zoomed by pointer, wheel and code.
   Tells by events on the canvas: view-moved, view-pointed {x, y}, view-clicked {x, y, touch, aside}. */

const LARGEST = 60; // times the whole plane
const MARGIN = 28; // pixels around the whole plane

export class View {
  /* draw(pen, place, scale): pen of the canvas, place(point) -> [x, y] in pixels, scale: 1 shows everything. */
  constructor(canvas, draw) {
    Object.assign(this, { canvas, paint: draw, xs: [], ys: [], halfX: 1, halfY: 1, x: 0, y: 0, scale: 1, pointers: new Map(), asked: false });
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
    this.listen();
  }

  points(xs, ys) {
    const half = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0.05);
    Object.assign(this, { xs, ys, halfX: half(xs), halfY: half(ys) });
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth; this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * ratio); this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    this.draw();
  }

  /* Pixels of the plane's unit in each direction. A wide box shows a wide plane: up to twice its shape. */
  get units() {
    const x = Math.max(1, this.width / 2 - MARGIN) / this.halfX;
    const y = Math.max(1, this.height / 2 - MARGIN) / this.halfY;
    return [Math.min(x, 2 * y) * this.scale, Math.min(y, 2 * x) * this.scale];
  }

  toScreen(x, y) {
    const [unitX, unitY] = this.units;
    return [this.width / 2 + (x - this.x) * unitX, this.height / 2 - (y - this.y) * unitY];
  }

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      const pen = this.canvas.getContext("2d");
      pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      pen.clearRect(0, 0, this.width, this.height);
      const [unitX, unitY] = this.units;
      const place = (point) => [this.width / 2 + (this.xs[point] - this.x) * unitX, this.height / 2 - (this.ys[point] - this.y) * unitY];
      this.paint(pen, place, this.scale);
    });
  }

  moveBy(right, down) {
    const [unitX, unitY] = this.units;
    this.x -= right / unitX; this.y += down / unitY;
    this.moved();
  }

  /* factor: 0 shows everything. The place under (x, y), by default the middle, stays where it is. */
  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    if (!factor) { this.x = 0; this.y = 0; this.scale = 1; return this.moved(); }
    const [beforeX, beforeY] = this.units;
    this.scale = Math.min(LARGEST, Math.max(0.5, this.scale * factor));
    const [afterX, afterY] = this.units;
    this.x += (x - this.width / 2) * (1 / beforeX - 1 / afterX); this.y -= (y - this.height / 2) * (1 / beforeY - 1 / afterY);
    this.moved();
  }

  moved() {
    this.x = Math.min(1, Math.max(-1, this.x)); this.y = Math.min(1, Math.max(-1, this.y));
    this.draw();
    this.tell("view-moved");
  }

  /* The point nearest to (x, y) within so many pixels, or -1. */
  nearest(x, y, within = 12) {
    let best = -1;
    let least = within ** 2;
    for (let point = 0; point < this.xs.length; point += 1) {
      const [px, py] = this.toScreen(this.xs[point], this.ys[point]);
      const apart = (px - x) ** 2 + (py - y) ** 2;
      if (apart < least) { least = apart; best = point; }
    }
    return best;
  }

  /* The points in sight, of a set if there is one, from the middle outwards. */
  inSight(among) {
    const seen = [];
    for (let point = 0; point < this.xs.length; point += 1) {
      const [x, y] = this.toScreen(this.xs[point], this.ys[point]);
      const inside = x >= 0 && y >= 0 && x <= this.width && y <= this.height;
      if (inside && (!among || among.has(point))) seen.push([(x - this.width / 2) ** 2 + (y - this.height / 2) ** 2, point]);
    }
    return seen.sort((one, other) => one[0] - other[0]).map(([, point]) => point);
  }

  state() { return this.scale === 1 && !this.x && !this.y ? "" : [this.x, this.y, this.scale].map((value) => value.toFixed(3)).join(","); }

  restore(text) {
    const [x, y, scale] = (text || "").split(",").map(Number);
    if (![x, y, scale].every(Number.isFinite)) return;
    Object.assign(this, { x, y, scale: Math.min(LARGEST, Math.max(0.5, scale)) });
  }

  tell(name, detail = {}) { this.canvas.dispatchEvent(new CustomEvent(name, { detail })); }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => { if (!this.pointers.size) this.tell("view-pointed", { x: -99, y: -99 }); });
    canvas.addEventListener("dblclick", (event) => this.zoomBy(2, event.offsetX, event.offsetY));
    // Else the page could not be scrolled past the map.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.offsetX, event.offsetY);
    }, { passive: false });
  }

  down(event) {
    if (event.button > 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.travelled = this.pointers.size > 1 ? Infinity : 0;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    const now = { x: event.offsetX, y: event.offsetY };
    if (!before) return this.tell("view-pointed", now);
    this.travelled += Math.hypot(now.x - before.x, now.y - before.y);
    if (this.travelled < 4) return undefined; // a click with an unsteady hand
    this.canvas.classList.add("moving");
    this.pointers.set(event.pointerId, now);
    if (this.pointers.size === 1) return this.moveBy(now.x - before.x, now.y - before.y);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
    const length = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
    return this.zoomBy(length(now) / length(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
  }

  up(event) {
    const known = this.pointers.delete(event.pointerId);
    this.canvas.classList.remove("moving");
    if (!known || this.travelled >= 4 || event.type === "pointercancel") return;
    const aside = event.ctrlKey || event.metaKey || event.button === 1;
    this.tell("view-clicked", { x: event.offsetX, y: event.offsetY, touch: event.pointerType === "touch", aside });
  }
}
