"use strict";
// One pane for each set of masks: the picture, its masks, and what the pointer does there.
// All panes have one size and one view, so that a place is at the same point in each.

const stage = $("stage");
const view = { scale: 1, x: 0, y: 0, fitted: true };
let pointer = null; // the place of the pointer in the pane that it is over
let pointed = -1; // the set of this pane; -1 while the pointer is elsewhere
let picked = null; // the mask that was clicked last: its set and number

const panes = names.map((name, s) => {
  const box = make("div", undefined, "pane"), head = make("p", undefined, "pane-head");
  const count = make("span"), tip = make("p", "", "tip");
  const scene = make("canvas"), marks = make("canvas", undefined, "marks");
  marks.tabIndex = 0;
  marks.setAttribute("role", "img");
  marks.setAttribute("aria-label", "Picture with masks");
  marks.setAttribute("aria-describedby", "keys");
  head.append(make("strong", name), count);
  head.hidden = !several;
  tip.hidden = true;
  box.append(scene, marks, head, tip);
  return { set: s, box, scene, marks, count, tip, cut: null, hovered: -1, pinned: -1 };
});
$("panes").replaceChildren(...panes.map((pane) => pane.box));

// ---------------------------------------------------------------- drawing

let pending = false;
function draw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    if (!current) return;
    for (const pane of panes) {
      drawScene(pane);
      drawMarks(pane);
    }
  });
}

function prepare(canvas) {
  const ratio = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  context.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
  context.lineCap = "round";
  return context;
}

function line(context, path, width, colour) {
  context.lineWidth = width / view.scale;
  context.strokeStyle = colour;
  context.stroke(path);
}

function drawScene({ scene, cut }) {
  const context = prepare(scene);
  context.imageSmoothingEnabled = view.scale < 4; // further in, one wants to see the pixels
  context.imageSmoothingQuality = "high";
  if (current.picture) context.drawImage(current.picture, 0, 0, current.w, current.h);
  else { context.fillStyle = "#22262c"; context.fillRect(0, 0, current.w, current.h); }
  if (!$("show-masks").checked) return;
  context.imageSmoothingEnabled = false;
  context.globalAlpha = Number($("opacity").value) / 100;
  context.drawImage(cut.fill, 0, 0);
  context.globalAlpha = 1;
  if (!$("show-borders").checked) return;
  const thin = clamp(view.scale / 1.5, 0.5, 1);
  line(context, cut.borders, 2.6 * thin, "rgba(8, 10, 14, 0.55)");
  line(context, cut.borders, thin, "rgba(255, 255, 255, 0.8)");
}

function shapeOf(mask) {
  if (mask.shape === undefined) mask.shape = silhouette(mask.runs, current.h);
  return mask.shape;
}

function drawMarks({ set, marks, hovered, pinned }) {
  const context = prepare(marks), masks = current.sets[set];
  context.imageSmoothingEnabled = false;
  const pin = pinned >= 0 ? shapeOf(masks[pinned]) : null;
  if (pin) { // everything else steps back
    context.fillStyle = "rgba(9, 11, 15, 0.6)";
    context.fillRect(0, 0, current.w, current.h);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(pin.bitmap, pin.x, pin.y);
    context.globalCompositeOperation = "source-over";
    line(context, pin.path, 4.5, "rgba(9, 11, 15, 0.9)");
    line(context, pin.path, 2, "#ffffff");
  }
  const hover = hovered >= 0 && hovered !== pinned ? shapeOf(masks[hovered]) : null;
  if (hover) {
    context.globalAlpha = pin ? 0.12 : 0.22;
    context.drawImage(hover.bitmap, hover.x, hover.y);
    context.globalAlpha = 1;
    line(context, hover.path, 3.6, "rgba(9, 11, 15, 0.8)");
    line(context, hover.path, 1.4, "#ffffff");
  }
  const asked = masks[hover ? hovered : pinned]?.prompt;
  if (asked) drawPrompt(context, asked);
  if (pointed >= 0 && pointed !== set) drawCross(context);
}

/** What a mask was asked for with: its box, and its clicks, green inside and red outside. */
function drawPrompt(context, { points, box }) {
  if (box.length) {
    const path = new Path2D();
    path.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    line(context, path, 4.5, "rgba(9, 11, 15, 0.8)");
    line(context, path, 2, "#ffd84d");
  }
  for (const [x, y, label] of points) {
    const path = new Path2D();
    path.arc(x, y, 5 / view.scale, 0, 2 * Math.PI);
    context.fillStyle = label ? "#3ddc84" : "#ff5a5f";
    context.fill(path);
    line(context, path, 1.5, "#ffffff");
  }
}

/** The place that the pointer is at in another pane. */
function drawCross(context) {
  const x = (pointer.x - view.x) / view.scale, y = (pointer.y - view.y) / view.scale;
  const path = new Path2D(), inner = 3 / view.scale, outer = 11 / view.scale;
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    path.moveTo(x + dx * inner, y + dy * inner);
    path.lineTo(x + dx * outer, y + dy * outer);
  }
  line(context, path, 4.5, "rgba(9, 11, 15, 0.9)");
  line(context, path, 2, "#ffd84d");
}

// ---------------------------------------------------------------- the view

/** Lay the panes out in as many columns as make the picture largest. */
function arrange() {
  const width = stage.clientWidth, height = stage.clientHeight;
  const sizes = names.map((_, k) => {
    const columns = k + 1, rows = Math.ceil(names.length / columns);
    return Math.min(width / columns / current.w, height / rows / current.h);
  });
  const columns = 1 + sizes.indexOf(Math.max(...sizes));
  $("panes").style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
}

function fit() {
  arrange();
  const { clientWidth: width, clientHeight: height } = panes[0].box, margin = 20;
  view.scale = Math.max(0.01, Math.min((width - margin) / current.w, (height - margin) / current.h));
  view.x = (width - current.w * view.scale) / 2;
  view.y = (height - current.h * view.scale) / 2;
  view.fitted = true;
  draw();
}

function zoom(factor, x = panes[0].box.clientWidth / 2, y = panes[0].box.clientHeight / 2) {
  const scale = clamp(view.scale * factor, 0.02, 64);
  moveView(x - ((x - view.x) * scale) / view.scale, y - ((y - view.y) * scale) / view.scale, scale);
}

function moveView(x, y, scale = view.scale) {
  Object.assign(view, { x, y, scale, fitted: false });
  draw();
}

/** The pixel under the pointer, as a column-major position; -1 outside the picture. */
function pixelAt({ x, y }) {
  const column = Math.floor((x - view.x) / view.scale), row = Math.floor((y - view.y) / view.scale);
  const inside = column >= 0 && row >= 0 && column < current.w && row < current.h;
  return inside ? column * current.h + row : -1;
}

const pick = (pane, pixel) =>
  (pixel >= 0 && $("show-masks").checked ? pane.cut.map[pixel] - 1 : -1);

// ---------------------------------------------------------------- pointing and pinning

/** Mark what is under the pointer of one pane, and what is at the same place in the others. */
function hover(set) {
  const pixel = set < 0 ? -1 : pixelAt(pointer);
  const changed = panes.map((pane) => {
    const before = pane.hovered;
    pane.hovered = pick(pane, pixel);
    showTip(pane);
    return before !== pane.hovered;
  }).some(Boolean);
  pointed = pixel < 0 ? -1 : set;
  if (set >= 0) panes[set].marks.style.cursor = panes[set].hovered >= 0 ? "pointer" : "default";
  if (changed && set >= 0 && set !== active && panes[active].pinned < 0) {
    active = set;
    relist();
  }
  if (changed && panes[active].pinned < 0) describeMask();
  if (changed || several) draw();
}

function showTip({ set, tip, hovered, box }) {
  tip.hidden = hovered < 0;
  if (hovered < 0) return;
  const mask = current.sets[set][hovered];
  tip.textContent = `mask ${mask.id} \u00b7 ${share(mask.area)}`;
  const right = pointer.x > box.clientWidth - 140;
  tip.style.left = `${pointer.x + (right ? -14 : 16)}px`;
  tip.style.top = `${clamp(pointer.y + 16, 0, box.clientHeight - 34)}px`;
  tip.style.translate = right ? "-100%" : "0";
}

/** Highlight a mask as if the pointer were over it, and its twins; -1 for none. */
function point(set, k) {
  for (const pane of panes) pane.hovered = k < 0 ? -1 : twinOf(set, k, pane.set);
  draw();
}

/** Pin a mask, and in the other panes the masks of the same object; -1 lets go. */
function pin(set, k, reveal = false) {
  if (set !== active) relist();
  active = set;
  for (const pane of panes) pane.pinned = twinOf(set, k, pane.set);
  const mask = current.sets[set][k];
  if (mask && reveal && !panes[set].cut.shown[k]) {
    const key = orders[$("mode").value].key(mask);
    const stop = current.stops.findIndex((value) => value + 1e-9 >= key);
    if (stop > Number(level.value)) setLevel(stop);
  }
  describeMask();
  showCrumbs();
  markRow();
  $("status").textContent = mask ? `Mask ${mask.id} pinned` : "No mask pinned";
  remember();
  draw();
}

function click(set) {
  const masks = current.sets[set], { pinned } = panes[set];
  const k = pick(panes[set], pixelAt(pointer));
  const same = k >= 0 && picked?.set === set && picked.k === k;
  const again = same && pinned >= 0 && (pinned === k || ancestors(masks, k).includes(pinned));
  picked = { set, k };
  // At the root the walk starts again with the smallest mask.
  pin(set, again && masks[pinned].parent >= 0 ? masks[pinned].parent : k);
}

function up() {
  const { pinned } = panes[active];
  if (pinned < 0) setLevel(Number(level.value) - 1);
  else if (current.sets[active][pinned].parent >= 0) pin(active, current.sets[active][pinned].parent);
}

function down() {
  const masks = current.sets[active], { pinned } = panes[active];
  if (pinned < 0) { setLevel(Number(level.value) + 1); return; }
  const { children } = masks[pinned]; // from large to small
  const pixel = pointed >= 0 ? pixelAt(pointer) : -1;
  const under = children.find((k) => pixel >= 0 && covers(masks[k].runs, pixel));
  if (children.length) pin(active, under ?? children[0], true);
}

function walk(by) {
  const { cut, pinned } = panes[active];
  const shown = [...cut.shown.keys()].filter((k) => cut.shown[k]);
  if (!shown.length) return;
  const at = shown.indexOf(pinned);
  const next = at < 0 ? (by > 0 ? 0 : shown.length - 1) : (at + by + shown.length) % shown.length;
  pin(active, shown[next]);
}

// ---------------------------------------------------------------- mouse, wheel and fingers

const fingers = new Map(); // the place of every pointer that is down
let drag = null;

const placeIn = (pane, event) => {
  const box = pane.box.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
};

/** The middle of two fingers, and how far they are apart. */
function spread() {
  const [a, b] = [...fingers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
}

function pinch(before) {
  const now = spread();
  view.x += now.x - before.x;
  view.y += now.y - before.y;
  zoom(now.apart / before.apart, now.x, now.y);
}

function movePointer(pane, event) {
  if (!current) return;
  const before = fingers.size === 2 ? spread() : null;
  pointer = placeIn(pane, event);
  if (fingers.has(event.pointerId)) fingers.set(event.pointerId, pointer);
  if (before) { pinch(before); return; }
  if (!drag) { hover(pane.set); return; }
  drag.moved ||= Math.hypot(pointer.x - drag.x, pointer.y - drag.y) > 4;
  if (!drag.moved) return;
  pane.marks.style.cursor = "grabbing";
  moveView(drag.left + pointer.x - drag.x, drag.top + pointer.y - drag.y);
}

function pressPointer(pane, event) {
  if (!current || event.button !== 0 || fingers.size === 2) return;
  pointer = placeIn(pane, event);
  fingers.set(event.pointerId, pointer);
  // Two fingers zoom; what they leave behind is no click.
  drag = { ...pointer, left: view.x, top: view.y, moved: fingers.size > 1 };
  pane.marks.setPointerCapture(event.pointerId);
}

function liftPointer(pane, event) {
  if (!fingers.delete(event.pointerId) || !drag) return;
  const { moved: dragged } = drag;
  if (fingers.size) { // the other finger drags on from where it is
    drag = { ...[...fingers.values()][0], left: view.x, top: view.y, moved: true };
    return;
  }
  drag = null;
  if (!dragged && event.type === "pointerup") click(pane.set);
  pane.marks.style.cursor = pane.hovered >= 0 ? "pointer" : "default";
}

for (const pane of panes) {
  const on = (type, act, options) =>
    pane.marks.addEventListener(type, (event) => act(pane, event), options);
  on("pointermove", movePointer);
  on("pointerdown", pressPointer);
  on("pointerup", liftPointer);
  on("pointercancel", liftPointer);
  on("pointerleave", () => { if (current && !drag) hover(-1); });
  on("wheel", (_, event) => {
    if (!current) return;
    event.preventDefault();
    const { x, y } = placeIn(pane, event);
    zoom(Math.exp(-clamp(event.deltaY, -100, 100) * 0.002), x, y);
  }, { passive: false });
}
