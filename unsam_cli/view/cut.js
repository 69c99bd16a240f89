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
  const fine = crowded() || allMasks().some(graded);
  const wanted = [mode, fine ? "granularity" : null, usable[0]];
  const chosen = wanted.find((name) => usable.includes(name));
  $("mode").replaceChildren(...usable.map((name) => {
    const option = make("option", orders[name].name);
    option.value = name;
    return option;
  }));
  $("mode").value = chosen;
  $("mode").disabled = usable.length < 2;
  offerStops();
}

function offerStops() {
  const finest = level.value === level.max;
  current.stops = stopsOf($("mode").value);
  level.max = String(Math.max(0, current.stops.length - 1));
  if (!moved) level.value = String(openingStop());
  else if (finest) level.value = level.max;
  level.disabled = current.stops.length < 2;
}

/** Where a picture opens: with all masks if they are few, else in the middle of the slider. */
function openingStop() {
  const { key } = orders[$("mode").value];
  const counts = current.stops.map((stop) => Math.max(
    ...current.sets.map((masks) => masks.filter((mask) => key(mask) <= stop + 1e-9).length)));
  const last = counts.length - 1;
  if (last < 0 || counts[last] <= FEW) return Math.max(0, last);
  const good = [...counts.keys()].filter((k) => counts[k] >= ENOUGH && counts[k] <= FEW);
  good.sort((a, b) => Math.abs(a - last / 2) - Math.abs(b - last / 2));
  return good[0] ?? Math.max(0, counts.filter((count) => count <= FEW).length - 1);
}

function offerScores() {
  const scores = allMasks().map((mask) => mask.score).filter((score) => score !== undefined);
  const low = Math.min(...scores), high = Math.max(...scores);
  $("score-control").hidden = !(scores.length > 1 && low < high && low >= 0 && high <= 1);
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
  const floor = scoreFloor();
  const shown = masks.map((mask) =>
    order.key(mask) <= stop + 1e-9 && (mask.score === undefined || mask.score >= floor));
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
  draw();
}

function setLevel(value) {
  moved = true;
  level.value = String(clamp(value, 0, Number(level.max)));
  recut();
}
