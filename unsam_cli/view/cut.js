"use strict";
// The cut through the hierarchy: which masks the slider and the filters show.

const FEW = 60; // masks that one picture shows at first
const ENOUGH = 9;
const level = $("level");
let mode = null; // the order that the user chose
let moved = false; // whether the user has moved the slider

// Each order gives a mask its place between coarse and fine; what has none is always shown.
const orders = {
  depth: { name: "Depth", key: (mask) => mask.depth, text: (stop) => `depth ${stop}` },
  granularity: {
    name: "Granularity",
    key: (mask) => (mask.granularity === undefined ? -Infinity : -mask.granularity),
    text: (stop) => `granularity from ${rounded(-stop)}`,
  },
  level: {
    name: "Merge level",
    key: (mask) => (mask.level === undefined ? -Infinity : mask.level),
    text: (stop) => `level up to ${rounded(stop)}`,
  },
};

const allMasks = () => current.sets.flat();

function stopsOf(name) {
  const keys = allMasks().map(orders[name].key).filter(Number.isFinite);
  if (name !== "granularity") return [...new Set(keys)].sort((a, b) => a - b);
  return keys.length ? Array.from({ length: 19 }, (_, k) => -(20 - k) / 20) : [];
}

const graded = (mask) => typeof mask.prompt?.granularity === "number";
const crowded = () => current.sets.some((masks) => masks.length > FEW);

function offerModes() {
  const usable = Object.keys(orders).filter((name) => stopsOf(name).length > 1);
  if (!usable.length) usable.push("depth");
  const chosen = [mode, openingMode(usable), usable[0]].find((name) => usable.includes(name));
  $("mode").replaceChildren(...usable.map((name) => {
    const option = make("option", orders[name].name);
    option.value = name;
    return option;
  }));
  $("mode").value = chosen;
  $("mode").disabled = usable.length < 2;
  offerStops();
}

/** The order that a picture opens with: one that shows a fair number of masks, if they are many. */
function openingMode(usable) {
  if (allMasks().some(graded)) return "granularity";
  if (!crowded()) return usable[0];
  const fair = (name) => fairStops(countsOf(name)).length;
  const known = ["granularity", "level", "depth"].filter((name) => usable.includes(name));
  return known.find(fair) ?? known[0];
}

function offerStops() {
  const finest = level.value === level.max;
  current.stops = stopsOf($("mode").value);
  level.max = String(Math.max(0, current.stops.length - 1));
  if (!moved) level.value = String(openingStop());
  else if (finest) level.value = level.max;
  level.disabled = current.stops.length < 2;
}

/** How many masks each stop of an order shows: most and fewest of the pictures side by side.
 *
 * What has no place in the order is shown at every stop, and does not count; nor do pictures with
 * next to nothing as the fewest.
 */
function countsOf(name) {
  const sets = current.sets.map((masks) => masks.map(orders[name].key).filter(Number.isFinite));
  return stopsOf(name).map((stop) => {
    const counts = sets.map((places) => places.filter((place) => place <= stop + 1e-9).length);
    const fewest = counts.filter((_, s) => sets[s].length >= ENOUGH);
    return { most: Math.max(...counts), fewest: Math.min(...fewest) };
  });
}

/** The stops with 9 to 60 masks: in all pictures rather than in one, the middle of the slider first. */
function fairStops(counts) {
  const far = (k) => Math.abs(k - (counts.length - 1) / 2);
  const sparse = (k) => Number(counts[k].fewest < ENOUGH);
  return [...counts.keys()].filter((k) => counts[k].most >= ENOUGH && counts[k].most <= FEW)
    .sort((a, b) => sparse(a) - sparse(b) || far(a) - far(b));
}

/** Where a picture opens: with all masks if they are few, else in the middle of the slider. */
function openingStop() {
  const counts = countsOf($("mode").value), last = counts.length - 1;
  if (last < 0 || counts[last].most <= FEW) return Math.max(0, last);
  return fairStops(counts)[0] ?? Math.max(0, counts.filter(({ most }) => most <= FEW).length - 1);
}

// Fractions of the image; below the first all masks are shown.
const AREAS = [0, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
let scored = false; // whether the user has moved the slider of scores

function offerFilters() {
  const scores = allMasks().map((mask) => mask.score).filter((score) => score !== undefined);
  const low = Math.min(...scores), high = Math.max(...scores);
  $("score-control").hidden = !(scores.length > 1 && low < high && low >= 0 && high <= 1);
  if (!scored) $("score").value = String(Math.ceil(100 * openingScore()));
  const stages = [...new Set(allMasks().map((mask) => mask.stage).filter(Boolean))].sort();
  const before = $("stage-of").value;
  $("stage-of").replaceChildren(...["", ...stages].map((stage) => {
    const option = make("option", stage || "all");
    option.value = stage;
    return option;
  }));
  $("stage-of").value = stages.includes(before) ? before : "";
  $("stage-control").hidden = stages.length < 2;
  $("area").max = String(AREAS.length - 1);
}

/** The score of the last of few masks, where no stop of the slider shows as few. */
function openingScore() {
  const stop = current.stops[Number(level.value)] ?? Infinity, { key } = orders[$("mode").value];
  const lasts = current.sets.map((masks) => {
    const scores = masks.filter((mask) => mask.score !== undefined && key(mask) <= stop + 1e-9)
      .map((mask) => mask.score);
    return scores.length > FEW ? scores.sort((a, b) => b - a)[FEW - 1] : 0;
  });
  return moved || $("score-control").hidden ? 0 : Math.max(...lasts);
}

/** The test of the filters for a mask. */
function filter() {
  const floor = scoreFloor(), least = AREAS[Number($("area").value)] * current.width * current.height;
  const stage = $("stage-control").hidden ? "" : $("stage-of").value;
  return (mask) => (mask.score ?? 1) >= floor && mask.area >= least && (!stage || mask.stage === stage);
}

/** Of one question's answers, asked for at several granularities, show the finest alone. */
function keepOneAnswer(masks, shown) {
  const finest = new Map();
  masks.forEach((mask, k) => {
    if (!shown[k] || !graded(mask)) return;
    const question = JSON.stringify([mask.prompt.points, mask.prompt.box]);
    const before = finest.get(question) ?? k;
    const finer = mask.prompt.granularity <= masks[before].prompt.granularity;
    const [kept, dropped] = finer ? [k, before] : [before, k];
    shown[dropped] = false;
    shown[kept] = true;
    finest.set(question, kept);
  });
}

const scoreFloor = () => ($("score-control").hidden ? 0 : Number($("score").value) / 100);

/** What the controls show of one set: which masks, and their map, tint and borders. */
function cutOf(masks) {
  const { w, h, stops } = current;
  const order = orders[$("mode").value];
  const stop = stops.length ? stops[Number(level.value)] : Infinity;
  const passes = filter();
  const shown = masks.map((mask) => order.key(mask) <= stop + 1e-9 && passes(mask));
  if (order === orders.granularity) keepOneAnswer(masks, shown);
  const map = new Int32Array(w * h);
  masks.forEach((mask, k) => { if (shown[k]) paint(map, mask.runs, k + 1); });
  // What a whole keeps beside its shown parts is tinted fainter, so that the parts stand out.
  const whole = masks.map((mask) => mask.children.some((k) => shown[k]));
  const colours = Uint32Array.from([0, ...masks.map((mask, k) => {
    const rgb = parseInt(mask.color.slice(1), 16);
    const bgr = ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16);
    return (((whole[k] ? 0x66 : 0xff) << 24) | bgr) >>> 0;
  })]);
  const count = shown.filter(Boolean).length;
  return { map, shown, count, fill: tint(map, w, h, colours), borders: edges(map, w, h) };
}

function recut() {
  const { sets, stops } = current;
  const text = stops.length ? orders[$("mode").value].text(stops[Number(level.value)]) : "";
  panes.forEach((pane, s) => {
    pane.cut = cutOf(sets[s]);
    const count = `${pane.cut.count} of ${plural(sets[s].length, "mask")}`;
    pane.count.textContent = count;
    pane.marks.setAttribute("aria-label", `${current.name}, ${names[s]}: ${count} shown`);
  });
  level.setAttribute("aria-valuetext", text);
  const counts = several ? [] : [panes[0].count.textContent];
  $("level-text").textContent = [text, ...counts].filter(Boolean).join(" \u00b7 ");
  $("score-text").textContent = rounded(scoreFloor());
  const least = AREAS[Number($("area").value)];
  $("area-text").textContent = least ? `${rounded(100 * least)} %` : "all";
  $("area").setAttribute("aria-valuetext", $("area-text").textContent);
  relist();
  draw();
}

function setLevel(value) {
  moved = true;
  level.value = String(clamp(value, 0, Number(level.max)));
  recut();
}
