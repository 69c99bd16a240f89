"use strict";
// The report: opening images, search, keys and controls.

let ticket = 0;

async function openImage(index, wanted = {}) {
  const mine = ++ticket;
  const opened = await decodeImage(images[index]);
  if (mine !== ticket) return; // another image was asked for meanwhile
  current = opened;
  picked = null;
  active = clamp(wanted.set ?? active, 0, names.length - 1);
  for (const pane of panes) pane.hovered = pane.pinned = -1;
  $("message").textContent = current.picture ? "" : current.problem;
  $("message").hidden = Boolean(current.picture);
  for (const item of $("images").children) item.removeAttribute("aria-current");
  const item = $("images").children[index];
  item.setAttribute("aria-current", "true");
  item.scrollIntoView({ block: "nearest", inline: "nearest" });
  $("position").textContent = `${index + 1} / ${images.length}`;
  $("previous").disabled = index === 0;
  $("next").disabled = index === images.length - 1;
  describeImage();
  describeMask();
  showCrumbs();
  offerModes();
  offerFilters();
  offerSorts();
  fit();
  recut();
  if (wanted.mask !== undefined) pin(active, indexOf(wanted.mask), true);
  remember();
}

// Ids are compared as text: beyond 53 bits they are stored as text.
const indexOf = (id) => current.sets[active].findIndex((mask) => String(mask.id) === id);

const step = (by) => {
  const index = clamp(current.index + by, 0, images.length - 1);
  if (index !== current.index) openImage(index);
};

function remember() {
  const { pinned } = panes[active];
  const mask = pinned >= 0 ? `&mask=${current.sets[active][pinned].id}` : "";
  const file = mask && active ? `&file=${active + 1}` : "";
  try { history.replaceState(null, "", `#image=${current.index + 1}${file}${mask}`); } catch { /* sandboxed */ }
}

function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const first = 1 + Math.max(0, images.findIndex((meta) => meta.counts.some(Boolean)));
  const index = clamp((Number(wanted.get("image")) || first) - 1, 0, images.length - 1);
  const set = (Number(wanted.get("file")) || 1) - 1;
  return openImage(Math.floor(index), { set: Math.floor(set), mask: wanted.get("mask") ?? undefined });
}

// ---------------------------------------------------------------- search

let found = [], chosen = 0;

function find(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const hits = [];
  const number = /^-?\d+$/.test(wanted) ? Number(wanted) : null;
  for (const meta of number === null ? [] : images) {
    meta.ids.forEach((ranges, set) => {
      if (!ranges.some(([first, last]) => first <= number && number <= last)) return;
      const note = several ? `${meta.name} \u00b7 ${names[set]}` : meta.name;
      hits.push({ index: meta.index, set, mask: wanted, text: `Mask ${wanted}`, note });
    });
  }
  for (const meta of images) {
    if (hits.length >= 30) break;
    if (!meta.name.toLowerCase().includes(wanted)) continue;
    const count = meta.counts.reduce((sum, n) => sum + n, 0);
    hits.push({ index: meta.index, text: meta.name, note: plural(count, "mask") });
  }
  return hits;
}

function offer() {
  found = find($("search").value);
  chosen = 0;
  const rows = found.map((hit, k) => {
    const row = make("li", hit.text);
    row.id = `result-${k}`;
    row.role = "option";
    row.append(make("span", hit.note, "faint"));
    row.addEventListener("pointerdown", (event) => { event.preventDefault(); go(k); });
    return row;
  });
  const nothing = $("search").value.trim() && !rows.length;
  $("results").replaceChildren(...(nothing ? [make("li", "Nothing found", "faint")] : rows));
  $("results").hidden = !rows.length && !nothing;
  $("search").setAttribute("aria-expanded", String(!$("results").hidden));
  mark();
}

function mark() {
  found.forEach((_, k) => $(`result-${k}`).setAttribute("aria-selected", String(k === chosen)));
  if (found.length) {
    $("search").setAttribute("aria-activedescendant", `result-${chosen}`);
    $(`result-${chosen}`).scrollIntoView({ block: "nearest" });
  } else $("search").removeAttribute("aria-activedescendant");
}

function go(k) {
  const hit = found[k];
  if (!hit) return;
  leaveSearch();
  if (hit.index !== current.index) openImage(hit.index, hit);
  else if (hit.mask !== undefined) {
    active = hit.set;
    pin(active, indexOf(hit.mask), true);
  }
}

function leaveSearch() {
  $("search").value = "";
  offer();
  panes[active].marks.focus();
}

// ---------------------------------------------------------------- events

const keys = {
  ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: up, ArrowDown: down,
  "[": () => setLevel(Number(level.value) - 1), "]": () => setLevel(Number(level.value) + 1),
  n: () => walk(1), p: () => walk(-1),
  " ": () => $("show-masks").click(), b: () => $("show-borders").click(),
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit,
  t: () => nextTheme(), "/": () => $("search").focus(), "?": () => $("help").showModal(), Escape: () => pin(active, -1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open || !current) return;
  // What has the focus keeps its own keys: text all of them, a slider the arrows, a switch Space.
  const { target, key } = event;
  if (target.matches("input[type=search], select")) return;
  if (target.matches("input[type=range]") && key.length > 1 && key !== "Escape") return;
  if (target.matches("button, input[type=checkbox]") && key === " ") return;
  const action = keys[key.length === 1 ? key.toLowerCase() : key];
  if (!action) return;
  event.preventDefault();
  action();
});

$("search").addEventListener("input", offer);
$("search").addEventListener("focus", offer);
$("search").addEventListener("blur", () => { $("results").hidden = true; });
$("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") go(chosen);
  else if (event.key === "Escape") leaveSearch();
  else if (["ArrowDown", "ArrowUp"].includes(event.key) && found.length) {
    chosen = (chosen + (event.key === "ArrowDown" ? 1 : -1) + found.length) % found.length;
    mark();
  } else return;
  event.preventDefault();
});

level.addEventListener("input", () => {
  moved = true;
  recut();
});
$("score").addEventListener("input", () => {
  scored = true;
  recut();
});
$("area").addEventListener("input", recut);
$("stage-of").addEventListener("change", recut);
$("sort").addEventListener("change", listMasks);
$("masks-more").addEventListener("click", () => {
  everyRow = true;
  listMasks();
});
$("mode").addEventListener("change", () => {
  mode = $("mode").value;
  offerStops();
  recut();
});
$("opacity").addEventListener("input", () => {
  $("opacity-text").textContent = `${$("opacity").value} %`;
  draw();
});
for (const id of ["show-masks", "show-borders"]) $(id).addEventListener("change", () => current && draw());
// After the mouse lets go of a slider, the arrow keys belong to the picture again.
for (const id of ["level", "score", "area", "opacity"]) $(id).addEventListener("pointerup", () => panes[active].marks.focus());
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("zoom-in").addEventListener("click", () => zoom(1.25));
$("zoom-out").addEventListener("click", () => zoom(0.8));
$("zoom-fit").addEventListener("click", fit);
$("help-open").addEventListener("click", () => $("help").showModal());
addEventListener("hashchange", () => { if (images.length) fromAddress(); });
new ResizeObserver(() => { if (current) { if (view.fitted) fit(); else draw(); } }).observe(stage);

// ---------------------------------------------------------------- light and dark

const THEMES = { "": "as the system", light: "light", dark: "dark" };

function useTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  $("theme").title = `Colours: ${THEMES[theme]} (T)`;
  $("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
}

function nextTheme() {
  const every = Object.keys(THEMES), now = document.documentElement.dataset.theme ?? "";
  const theme = every[(every.indexOf(now) + 1) % every.length];
  useTheme(theme);
  $("status").textContent = `Colours: ${THEMES[theme]}`;
  try { localStorage.setItem("unsam-theme", theme); } catch { /* not allowed for this page */ }
}

let kept = "";
try { kept = localStorage.getItem("unsam-theme") ?? ""; } catch { /* not allowed for this page */ }
useTheme(kept in THEMES ? kept : "");
$("theme").addEventListener("click", nextTheme);

$("opacity-text").textContent = `${$("opacity").value} %`;
listImages();
if (images.length) fromAddress();
else $("message").textContent = "This report holds no images.";
